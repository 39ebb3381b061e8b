/**
 * The one error class of this package, and the one place where gRPC's errors become it.
 *
 * Callers decide by `code` and `details`; the message is for people and may change.
 */
import { ClientError, Status } from "nice-grpc-common";
import { RichClientError } from "nice-grpc-error-details";

/** What went wrong, without regard to the transport. */
export type ErrorCode =
  | "cancelled"
  | "unknown"
  | "invalid_argument"
  | "deadline_exceeded"
  | "not_found"
  | "already_exists"
  | "permission_denied"
  | "resource_exhausted"
  | "failed_precondition"
  | "aborted"
  | "out_of_range"
  | "unimplemented"
  | "internal"
  | "unavailable"
  | "data_loss"
  | "unauthenticated";

/** A field of the request that was refused. */
export interface FieldViolation {
  /** Path of the field in the request, in the .proto file's spelling, for example `network.prefix`. */
  readonly field: string;
  /** What is wrong with it. */
  readonly description: string;
}

/** The resource that is missing or in the way. */
export interface ResourceDetail {
  /** For example `node`, `network`, `endpoint`, `policy` or `port`. */
  readonly type: string;
  /** Its name; `NETWORK/NAME` for an endpoint, `NODE:PORT` or `NODE:FIRST-LAST` for ports. */
  readonly name: string;
  /** Who holds it, for example `endpoint/blue/web`; empty where that does not apply. */
  readonly owner: string;
  /** What the matter with it is. */
  readonly description: string;
}

/** A condition that has to hold before the call can succeed. */
export interface PreconditionViolation {
  /** Kind of the condition, for example `NETWORK_NOT_EMPTY`. */
  readonly type: string;
  /** What it is about, for example `network/blue`. */
  readonly subject: string;
  readonly description: string;
}

/** google.rpc.ErrorInfo: why, for programs. */
export interface ErrorReason {
  /** A constant such as `PORTS_TAKEN` or `REVISION_EXPIRED`; empty where the server gave none. */
  readonly reason: string;
  /** What belongs to it, for example `free_first`. */
  readonly metadata: Readonly<Record<string, string>>;
}

/** What the server said beyond code and message. Lists are empty where it said nothing. */
export interface ErrorDetails {
  readonly fieldViolations: readonly FieldViolation[];
  readonly resources: readonly ResourceDetail[];
  readonly preconditionViolations: readonly PreconditionViolation[];
  readonly info: ErrorReason;
}

const NO_DETAILS: ErrorDetails = {
  fieldViolations: [],
  resources: [],
  preconditionViolations: [],
  info: { reason: "", metadata: {} },
};

/** Every failure of a call, and every refused option, is one of these. */
export class SlimFastError extends Error {
  override readonly name = "SlimFastError";
  readonly code: ErrorCode;
  readonly details: ErrorDetails;

  constructor(code: ErrorCode, message: string, options: { details?: Partial<ErrorDetails>; cause?: unknown } = {}) {
    super(message, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.details = { ...NO_DETAILS, ...options.details };
  }

  /** The resource that is missing or in the way; null where the failure is not about one. */
  get resource(): ResourceDetail | null {
    return this.details.resources[0] ?? null;
  }

  /** What the caller can do about it, in one sentence for people; null where the message says it all. */
  get remedy(): string | null {
    return remedyOf(this);
  }
}

function remedyOf({ code, details }: SlimFastError): string | null {
  const freeFirst = details.info.metadata.free_first;
  if (details.info.reason === "PORTS_TAKEN" && freeFirst) return `the nearest free block begins at port ${freeFirst}`;
  switch (code) {
    case "aborted":
      return "it was changed meanwhile: read it again and repeat the change with its new etag";
    case "unauthenticated":
      return "call with a token that is valid";
    case "permission_denied":
      return "call with a token of a role, and for networks, that allow it";
    default:
      return null;
  }
}

const CODE_OF_STATUS: Readonly<Record<number, ErrorCode>> = {
  [Status.CANCELLED]: "cancelled",
  [Status.UNKNOWN]: "unknown",
  [Status.INVALID_ARGUMENT]: "invalid_argument",
  [Status.DEADLINE_EXCEEDED]: "deadline_exceeded",
  [Status.NOT_FOUND]: "not_found",
  [Status.ALREADY_EXISTS]: "already_exists",
  [Status.PERMISSION_DENIED]: "permission_denied",
  [Status.RESOURCE_EXHAUSTED]: "resource_exhausted",
  [Status.FAILED_PRECONDITION]: "failed_precondition",
  [Status.ABORTED]: "aborted",
  [Status.OUT_OF_RANGE]: "out_of_range",
  [Status.UNIMPLEMENTED]: "unimplemented",
  [Status.INTERNAL]: "internal",
  [Status.UNAVAILABLE]: "unavailable",
  [Status.DATA_LOSS]: "data_loss",
  [Status.UNAUTHENTICATED]: "unauthenticated",
};

function detailsOf(error: RichClientError): ErrorDetails {
  const fieldViolations: FieldViolation[] = [];
  const resources: ResourceDetail[] = [];
  const preconditionViolations: PreconditionViolation[] = [];
  let info = NO_DETAILS.info;
  for (const detail of error.extra) {
    switch (detail.$type) {
      case "google.rpc.BadRequest":
        for (const { field, description } of detail.fieldViolations) fieldViolations.push({ field, description });
        break;
      case "google.rpc.ResourceInfo":
        resources.push({
          type: detail.resourceType,
          name: detail.resourceName,
          owner: detail.owner,
          description: detail.description,
        });
        break;
      case "google.rpc.PreconditionFailure":
        for (const { type, subject, description } of detail.violations) {
          preconditionViolations.push({ type, subject, description });
        }
        break;
      case "google.rpc.ErrorInfo":
        info = { reason: detail.reason, metadata: { ...detail.metadata } };
        break;
      default: // A kind that this version does not know: code and message still tell the essential.
        break;
    }
  }
  return { fieldViolations, resources, preconditionViolations, info };
}

/** gRPC wraps the system's message in words about its own inner life. */
function plainReason(details: string): string {
  return details
    .replace(/^No connection established\. Last error: (Error: )?/, "")
    .replace(/\.? Resolution note: *$/, "");
}

/** Turns whatever a call threw into a {@link SlimFastError}; one that is already is returned as it is. */
export function toSlimFastError(error: unknown, address: string): SlimFastError {
  if (error instanceof SlimFastError) return error;
  if (error instanceof ClientError) {
    const code = CODE_OF_STATUS[error.code] ?? "unknown";
    const details = error instanceof RichClientError ? detailsOf(error) : NO_DETAILS;
    // gRPC's own text for these names neither the address nor the method; a server that ran out of time says of what.
    const message =
      code === "unavailable"
        ? `${address} is unavailable: ${plainReason(error.details)}`
        : code === "deadline_exceeded"
          ? `${address} did not answer in time: ${error.path}: ${error.details}`
          : error.details;
    return new SlimFastError(code, message, { details, cause: error });
  }
  if (error instanceof Error && error.name === "AbortError") {
    return new SlimFastError("cancelled", "the call was cancelled", { cause: error });
  }
  return new SlimFastError("internal", error instanceof Error ? error.message : String(error), { cause: error });
}
