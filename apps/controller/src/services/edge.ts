/**
 * The one place where errors become gRPC statuses with google.rpc details.
 *
 * What is not a ClusterError is a fault of the controller: it is logged in full, and the caller learns only that.
 */
import { type CallContext, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import {
  BadRequest,
  type ErrorDetails,
  ErrorInfo,
  PreconditionFailure,
  ResourceInfo,
  RichServerError,
} from "nice-grpc-error-details";
import type { Logger } from "pino";
import { ClusterError, type ClusterErrorCode } from "../errors.js";

const STATUS_OF_CODE: Readonly<Record<ClusterErrorCode, Status>> = {
  invalid_argument: Status.INVALID_ARGUMENT,
  not_found: Status.NOT_FOUND,
  already_exists: Status.ALREADY_EXISTS,
  failed_precondition: Status.FAILED_PRECONDITION,
  resource_exhausted: Status.RESOURCE_EXHAUSTED,
  aborted: Status.ABORTED,
  out_of_range: Status.OUT_OF_RANGE,
  unavailable: Status.UNAVAILABLE,
  unauthenticated: Status.UNAUTHENTICATED,
  permission_denied: Status.PERMISSION_DENIED,
};

/** Whose reasons the ErrorInfo details name. */
const ERROR_DOMAIN = "slimfast";

/** The gRPC error for a ClusterError. */
export function statusOf(error: ClusterError): RichServerError {
  const { fields, resource, precondition, reason } = error.details;
  const extra: ErrorDetails[] = [];
  if (fields) extra.push(BadRequest.fromPartial({ fieldViolations: fields.map((violation) => ({ ...violation })) }));
  if (resource) {
    extra.push(
      ResourceInfo.fromPartial({
        resourceType: resource.type,
        resourceName: resource.name,
        owner: resource.owner ?? "",
        description: error.message,
      }),
    );
  }
  if (precondition) {
    extra.push(PreconditionFailure.fromPartial({ violations: [{ ...precondition, description: error.message }] }));
  }
  if (reason) {
    extra.push(
      ErrorInfo.fromPartial({ reason: reason.reason, domain: ERROR_DOMAIN, metadata: { ...reason.metadata } }),
    );
  }
  return new RichServerError(STATUS_OF_CODE[error.code], error.message, extra);
}

/** Middleware for every call: converts what it throws, and logs it. */
export function errorMiddleware(log: Logger) {
  return async function* convertErrors<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ) {
    const { path } = call.method;
    try {
      return yield* call.next(call.request, context);
    } catch (error) {
      if (error instanceof ClusterError) {
        log.info({ path, code: error.code, reason: error.message }, "call refused");
        throw statusOf(error);
      }
      if (error instanceof ServerError) throw error;
      const isAbort = error instanceof Error && error.name === "AbortError";
      // The caller has gone: nobody hears the status, and there is no fault to log.
      if (isAbort || context.signal.aborted) throw new ServerError(Status.CANCELLED, "the call was cancelled");
      log.error({ path, err: error }, "call failed");
      throw new ServerError(Status.INTERNAL, "internal error; the controller's log has the details");
    }
  };
}
