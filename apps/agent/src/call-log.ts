/** A line of the log for each call on the local socket, at debug. Must be outside of the conversion of errors. */
import { type CallContext, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import type { Logger } from "pino";

export function callLogMiddleware(log: Logger) {
  return async function* logCall<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ) {
    if (!log.isLevelEnabled("debug")) return yield* call.next(call.request, context);
    const [, service, method] = call.method.path.split("/");
    const startMs = performance.now();
    // A reader that goes away ends the call without an error.
    let status = Status.CANCELLED;
    try {
      const response = yield* call.next(call.request, context);
      status = Status.OK;
      return response;
    } catch (error) {
      status = error instanceof ServerError ? error.code : Status.INTERNAL;
      throw error;
    } finally {
      const durationMs = Math.round((performance.now() - startMs) * 1_000) / 1_000;
      log.debug({ service, method, code: Status[status], durationMs, actor: "local", peer: context.peer }, "call");
    }
  };
}
