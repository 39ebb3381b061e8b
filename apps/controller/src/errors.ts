/**
 * The errors of the controller. They know nothing of the transport: `services/edge.ts` alone turns them into gRPC
 * statuses.
 */

export type ClusterErrorCode =
  | "invalid_argument"
  | "not_found"
  | "already_exists"
  | "failed_precondition"
  | "resource_exhausted"
  | "aborted"
  | "out_of_range"
  | "unavailable"
  | "unauthenticated"
  | "permission_denied";

export interface FieldViolation {
  /** Path in the request, in the .proto file's spelling. */
  readonly field: string;
  readonly description: string;
}

export interface ResourceReference {
  readonly type: "node" | "network" | "endpoint" | "policy" | "reservation" | "port" | "token" | "connection";
  readonly name: string;
  /** Who holds it, where that is the point. */
  readonly owner?: string;
}

export interface Precondition {
  readonly type: string;
  readonly subject: string;
}

/** For programs: why, as a word that does not change, and what belongs to it. */
export interface ErrorReason {
  readonly reason: string;
  readonly metadata?: Readonly<Record<string, string>>;
}

export interface ClusterErrorDetails {
  readonly fields?: readonly FieldViolation[];
  readonly resource?: ResourceReference;
  readonly precondition?: Precondition;
  readonly reason?: ErrorReason;
}

/** A request that cannot be done, with what its caller needs to know to do better. */
export class ClusterError extends Error {
  override readonly name = "ClusterError";
  readonly code: ClusterErrorCode;
  readonly details: ClusterErrorDetails;

  constructor(code: ClusterErrorCode, message: string, details: ClusterErrorDetails = {}, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
    this.details = details;
  }
}

/** A field is malformed. */
export function invalidField(field: string, description: string): ClusterError {
  return new ClusterError("invalid_argument", `${field} ${description}`, { fields: [{ field, description }] });
}

export function notFound(type: ResourceReference["type"], name: string): ClusterError {
  return new ClusterError("not_found", `there is no ${type} ${JSON.stringify(name)}`, { resource: { type, name } });
}

/** The controller cannot start: its listen address, its state directory or what lies there is not usable. */
export class StartupError extends Error {
  override readonly name = "StartupError";
  readonly code: "address_refused" | "address_in_use" | "state_locked" | "state_unusable";

  constructor(code: StartupError["code"], message: string, cause?: unknown) {
    super(message, cause === undefined ? undefined : { cause });
    this.code = code;
  }
}
