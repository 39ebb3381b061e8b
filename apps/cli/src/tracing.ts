/**
 * The command as a trace: one span around all of it, sent before the process ends. Loads nothing unless traces are wanted:
 * `--help` must not wait.
 */
import { startTracing, type Tracing } from "@slimfast/telemetry/tracing";

let tracing: Tracing | undefined;

/** Runs the command in a span that is named after it. Without OTEL_EXPORTER_OTLP_ENDPOINT nothing but the command. */
export async function traced<Result>(command: string, version: string, body: () => Promise<Result>): Promise<Result> {
  tracing = await startTracing({ service: "slimfast-cli", version });
  return tracing.run(`slimfast ${command}`, body);
}

/** To be called before this process ends in a way that nothing comes after. */
export async function sendTraces(): Promise<void> {
  await tracing?.stop();
}
