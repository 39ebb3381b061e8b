/** The OpenTelemetry SDK with OTLP over HTTP; loaded only where traces are wanted. */
import { context, type Span, SpanKind, SpanStatusCode, trace } from "@opentelemetry/api";
import { OTLPTraceExporter } from "@opentelemetry/exporter-trace-otlp-http";
import { defaultResource, resourceFromAttributes } from "@opentelemetry/resources";
import { BatchSpanProcessor, NodeTracerProvider } from "@opentelemetry/sdk-trace-node";
import type { Tracing } from "./tracing.js";

/** How long an ending program waits for a collector that does not answer. */
const STOP_TIMEOUT_MS = 2_000;
const SEND_INTERVAL_MS = 1_000;

export function exportTraces(service: string, version: string): Tracing {
  // What the environment says (OTEL_SERVICE_NAME, OTEL_RESOURCE_ATTRIBUTES) is in the default resource.
  const named = process.env.OTEL_SERVICE_NAME ? {} : { "service.name": service };
  const resource = defaultResource().merge(resourceFromAttributes({ ...named, "service.version": version }));
  const provider = new NodeTracerProvider({
    resource,
    spanProcessors: [new BatchSpanProcessor(new OTLPTraceExporter(), { scheduledDelayMillis: SEND_INTERVAL_MS })],
  });
  // With the W3C propagator and contexts that follow promises, which are this provider's defaults.
  provider.register();
  const tracer = trace.getTracer("@slimfast/telemetry");
  const open = new Set<Span>();
  let stopped: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    // A program may end within the body that its span is around: `slimfast run` ends as its command did.
    for (const span of open) span.end();
    open.clear();
    let timer: NodeJS.Timeout | undefined;
    const tooLong = new Promise<void>((resolve) => {
      timer = setTimeout(resolve, STOP_TIMEOUT_MS);
    });
    await Promise.race([provider.shutdown().catch(() => undefined), tooLong]);
    clearTimeout(timer);
  };
  return {
    run: async (name, body) => {
      const span = tracer.startSpan(name, { kind: SpanKind.INTERNAL });
      open.add(span);
      try {
        return await context.with(trace.setSpan(context.active(), span), body);
      } catch (error) {
        span.setStatus({ code: SpanStatusCode.ERROR });
        throw error;
      } finally {
        if (open.delete(span)) span.end();
      }
    },
    stop: () => {
      stopped ??= stop();
      return stopped;
    },
  };
}
