/** The one place where the agent's errors become gRPC statuses with google.rpc details. */
import { type ErrorCode, SlimFastError } from "@slimfast/client";
import { type CallContext, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import {
  BadRequest,
  type ErrorDetails,
  PreconditionFailure,
  ResourceInfo,
  RichServerError,
} from "nice-grpc-error-details";
import type { Logger } from "pino";
import { toSlimFastError } from "./errors.js";

const STATUS_OF_CODE: Readonly<Record<ErrorCode, Status>> = {
  cancelled: Status.CANCELLED,
  unknown: Status.UNKNOWN,
  invalid_argument: Status.INVALID_ARGUMENT,
  deadline_exceeded: Status.DEADLINE_EXCEEDED,
  not_found: Status.NOT_FOUND,
  already_exists: Status.ALREADY_EXISTS,
  permission_denied: Status.PERMISSION_DENIED,
  resource_exhausted: Status.RESOURCE_EXHAUSTED,
  failed_precondition: Status.FAILED_PRECONDITION,
  aborted: Status.ABORTED,
  out_of_range: Status.OUT_OF_RANGE,
  unimplemented: Status.UNIMPLEMENTED,
  internal: Status.INTERNAL,
  unavailable: Status.UNAVAILABLE,
  data_loss: Status.DATA_LOSS,
  unauthenticated: Status.UNAUTHENTICATED,
};

/** The gRPC error for a failure of the agent. */
export function statusOf(error: SlimFastError): RichServerError {
  const extra: ErrorDetails[] = [];
  const { fieldViolations, resources, preconditionViolations } = error.details;
  if (fieldViolations.length > 0) {
    extra.push(BadRequest.fromPartial({ fieldViolations: fieldViolations.map((violation) => ({ ...violation })) }));
  }
  for (const { type, name, owner, description } of resources) {
    extra.push(ResourceInfo.fromPartial({ resourceType: type, resourceName: name, owner, description }));
  }
  if (preconditionViolations.length > 0) {
    const violations = preconditionViolations.map((violation) => ({ ...violation }));
    extra.push(PreconditionFailure.fromPartial({ violations }));
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
    } catch (thrown) {
      if (thrown instanceof ServerError) throw thrown;
      const error = context.signal.aborted
        ? new SlimFastError("cancelled", "the call was cancelled", { cause: thrown })
        : toSlimFastError(thrown);
      if (error.code === "internal") log.error({ path, err: thrown }, "call failed");
      else log.info({ path, code: error.code, reason: error.message }, "call refused");
      throw statusOf(error);
    }
  };
}
