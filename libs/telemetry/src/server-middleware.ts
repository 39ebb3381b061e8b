// biome-ignore-all lint/suspicious/noConfusingVoidType: nice-grpc says so of how a call ends
/**
 * A span for each call that a server answers, as a part of the trace that its caller says (W3C `traceparent` in the
 * metadata). Streams have none: they last as long as the programs. Must be outside of the conversion of errors.
 */
import { context, propagation, SpanKind, SpanStatusCode, type TextMapGetter, trace } from "@opentelemetry/api";
import { type CallContext, type Metadata, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc-common";

const GETTER: TextMapGetter<Metadata> = {
  keys: (metadata) => [...metadata].map(([key]) => key),
  get: (metadata, key) => {
    const value = metadata.get(key);
    return typeof value === "string" ? value : undefined;
  },
};

/** What is the server's fault, as OpenTelemetry's conventions for gRPC have it. */
const FAULTS: ReadonlySet<Status> = new Set([
  Status.UNKNOWN,
  Status.DEADLINE_EXCEEDED,
  Status.UNIMPLEMENTED,
  Status.INTERNAL,
  Status.UNAVAILABLE,
  Status.DATA_LOSS,
]);

const tracer = trace.getTracer("@slimfast/telemetry");

export function tracingServerMiddleware<Request, Response>(
  call: ServerMiddlewareCall<Request, Response>,
  callContext: CallContext,
): AsyncGenerator<Response, Response | void, undefined> {
  if (!call.requestStream && !call.responseStream) return withSpan(call, callContext);
  // Itself, not through a generator of ours: every message of the stream would pass it.
  return call.next(call.request as never, callContext);
}

async function* withSpan<Request, Response>(
  call: ServerMiddlewareCall<Request, Response>,
  callContext: CallContext,
): AsyncGenerator<Response, Response | void, undefined> {
  const parent = propagation.extract(context.active(), callContext.metadata, GETTER);
  const [, service = "", method = ""] = call.method.path.split("/");
  const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method };
  const span = tracer.startSpan(`${service}/${method}`, { kind: SpanKind.SERVER, attributes }, parent);
  const steps = call.next(call.request as never, callContext);
  let status = Status.OK;
  try {
    // Each step of a generator runs in the context of whoever asks for it.
    const step = await context.with(trace.setSpan(parent, span), () => steps.next());
    return step.value;
  } catch (error) {
    status = error instanceof ServerError ? error.code : Status.INTERNAL;
    throw error;
  } finally {
    span.setAttribute("rpc.grpc.status_code", status);
    if (FAULTS.has(status)) span.setStatus({ code: SpanStatusCode.ERROR });
    span.end();
  }
}
