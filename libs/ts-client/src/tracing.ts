/**
 * A span for each call that is no stream, and its context in the metadata (W3C `traceparent`). Without an OpenTelemetry SDK
 * in the program, which is not this package's to bring, it does nothing.
 */
import { context, propagation, SpanKind, SpanStatusCode, type TextMapSetter, trace } from "@opentelemetry/api";
import { type CallOptions, type ClientMiddlewareCall, Metadata } from "nice-grpc-common";
import { SlimFastError } from "./errors.js";

const SETTER: TextMapSetter<Metadata> = {
  set: (metadata, key, value) => {
    metadata.set(key, value);
  },
};

const tracer = trace.getTracer("@slimfast/client");

/** Around everything else, retries included. */
export async function* tracingMiddleware<Request, Response>(
  call: ClientMiddlewareCall<Request, Response>,
  options: CallOptions,
): AsyncGenerator<Response, Response | void, undefined> {
  if (call.requestStream || call.responseStream) return yield* call.next(call.request, options);
  const [, service = "", method = ""] = call.method.path.split("/");
  const attributes = { "rpc.system": "grpc", "rpc.service": service, "rpc.method": method };
  const span = tracer.startSpan(`${service}/${method}`, { kind: SpanKind.CLIENT, attributes });
  const metadata = Metadata(options.metadata);
  propagation.inject(trace.setSpan(context.active(), span), metadata, SETTER);
  try {
    return yield* call.next(call.request, { ...options, metadata });
  } catch (error) {
    span.setAttribute("error.type", error instanceof SlimFastError ? error.code : "unknown");
    span.setStatus({ code: SpanStatusCode.ERROR });
    throw error;
  } finally {
    span.end();
  }
}
