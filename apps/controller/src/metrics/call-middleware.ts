/** Around every call: counts it, times it, and logs it at debug. Must be outside of the conversion of errors. */
import { type CallContext, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import type { Logger } from "pino";
import type { ControllerMetrics } from "./controller-metrics.js";

/** `/slimfast.v1.ClusterService/ListNodes` in its two parts. */
export function splitPath(path: string): { service: string; method: string } {
  const [, service = "", method = ""] = path.split("/");
  return { service, method };
}

/** Who calls, as authentication has found out; empty where it has not got that far. */
export type ActorOf = (context: CallContext) => string;

export function callMiddleware(metrics: ControllerMetrics, log: Logger, actorOf: ActorOf) {
  return async function* observeCall<Request, Response>(
    call: ServerMiddlewareCall<Request, Response>,
    context: CallContext,
  ) {
    const { service, method } = splitPath(call.method.path);
    const isStream = call.requestStream || call.responseStream;
    const startMs = performance.now();
    if (isStream) metrics.openStreams.inc({ service, method });
    let status: Status | undefined;
    try {
      const response = yield* call.next(call.request, context);
      status = Status.OK;
      return response;
    } catch (error) {
      status = error instanceof ServerError ? error.code : Status.INTERNAL;
      throw error;
    } finally {
      // A reader that goes away ends the call here, without an error.
      const code = Status[status ?? Status.CANCELLED] ?? "UNKNOWN";
      const durationMs = performance.now() - startMs;
      if (isStream) metrics.openStreams.dec({ service, method });
      else metrics.callSeconds.observe({ service, method }, durationMs / 1_000);
      metrics.calls.inc({ service, method, code });
      if (status === Status.UNAUTHENTICATED || status === Status.PERMISSION_DENIED)
        metrics.accessRefusals.inc({ code });
      if (log.isLevelEnabled("debug")) {
        const rounded = Math.round(durationMs * 1_000) / 1_000;
        log.debug({ service, method, code, durationMs: rounded, actor: actorOf(context), peer: context.peer }, "call");
      }
    }
  };
}
