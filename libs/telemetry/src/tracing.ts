/**
 * Turns tracing on, if the environment asks for it: OTEL_EXPORTER_OTLP_ENDPOINT (or OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) is
 * where spans go. Otherwise nothing of the SDK is loaded, and the calls of the API do nothing.
 */

export interface TracingOptions {
  /** `service.name` of the spans, for example "slimfast-agent". OTEL_SERVICE_NAME goes before it. */
  readonly service: string;
  readonly version: string;
  /** Default: that of the process. */
  readonly env?: Readonly<Record<string, string | undefined>>;
}

export interface Tracing {
  /** Runs `body` in a span of its own: what is called from it belongs to it. */
  run<Result>(span: string, body: () => Promise<Result>): Promise<Result>;
  /** Sends what has not been sent, for at most 2 s. Never fails: traces are not worth an exit code. May be called twice. */
  stop(): Promise<void>;
}

const OFF: Tracing = { run: (_, body) => body(), stop: async () => {} };

export async function startTracing(options: TracingOptions): Promise<Tracing> {
  const env = options.env ?? process.env;
  if (!env.OTEL_EXPORTER_OTLP_ENDPOINT && !env.OTEL_EXPORTER_OTLP_TRACES_ENDPOINT) return OFF;
  if (env.OTEL_SDK_DISABLED === "true") return OFF;
  const { exportTraces } = await import("./exporting.js");
  return exportTraces(options.service, options.version);
}
