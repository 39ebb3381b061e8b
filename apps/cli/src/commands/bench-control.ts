/** `slimfast bench control`: how the control plane distributes changes, at a size. */

import { defaultGenerators } from "../bench/control/agents-load.js";
import { ControlBenchmark } from "../bench/control/measure.js";
import type { ClusterShape, Load } from "../bench/control/shape.js";
import { controlTable, controlTargets, controlTargetTable } from "../bench/control/targets.js";
import { machineFacts } from "../bench/machine.js";
import { CliError, EXIT } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { runSteps } from "../progress.js";

export interface BenchControlOptions {
  readonly agents: string;
  readonly networks: string;
  readonly endpoints: string;
  readonly networksPerAgent: string;
  readonly changes: string;
  readonly seconds: string;
  readonly joins: string;
  readonly generators?: string;
  readonly store?: string;
  readonly check?: boolean;
  readonly json?: boolean;
}

export async function benchControl(options: BenchControlOptions): Promise<void> {
  const { shape, load } = parse(options);
  const watch = watchInterrupts();
  const benchmark = new ControlBenchmark(shape, load, options.store, watch.signal);
  try {
    await runSteps(benchmark.steps(), options.json ? "quiet" : "normal");
  } catch (error) {
    if (watch.signal.aborted) throw new CliError("interrupted", "interrupted");
    throw error;
  } finally {
    await benchmark.close();
    watch.close();
  }
  const report = benchmark.report();
  const targets = controlTargets(report);
  const ok = report.failures.length === 0;
  if (options.json) {
    printJson({ ok, ...shape, ...load, store: options.store ?? "sqlite", ...report, machine: machineFacts(), targets });
  } else {
    printLine();
    printLine(controlTable(report));
    printLine(`\n${controlTargetTable(targets)}`);
    for (const failure of report.failures.slice(0, 10)) printLine(`\nwrong: ${failure}`);
  }
  if (!ok || (options.check && targets.some(({ met }) => !met))) process.exitCode = EXIT.failed;
}

function parse(options: BenchControlOptions): { shape: ClusterShape; load: Load } {
  const shape = {
    agents: whole("--agents", options.agents, 1),
    networks: whole("--networks", options.networks, 1),
    endpoints: whole("--endpoints", options.endpoints, 1),
    networksPerAgent: whole("--networks-per-agent", options.networksPerAgent, 1),
  };
  if (shape.networks > shape.agents * shape.networksPerAgent) {
    throw new CliError(
      "usage",
      `--networks ${shape.networks}: some would have no node; at most ${shape.agents * shape.networksPerAgent} with these agents`,
    );
  }
  if (shape.endpoints < shape.networks) {
    throw new CliError("usage", `--endpoints ${shape.endpoints}: at least one for each network`);
  }
  const load = {
    changesPerSecond: whole("--changes", options.changes, 1),
    seconds: whole("--seconds", options.seconds, 1),
    joins: whole("--joins", options.joins, 0),
    generators:
      options.generators === undefined ? defaultGenerators(shape.agents) : whole("--generators", options.generators, 1),
  };
  if (load.generators > shape.agents) {
    throw new CliError(
      "usage",
      `--generators ${load.generators}: at most as many as there are agents, ${shape.agents}`,
    );
  }
  return { shape, load };
}

/** @throws CliError `usage` */
function whole(option: string, text: string, minimum: number): number {
  const value = Number(text);
  if (text === "" || !Number.isSafeInteger(value) || value < minimum) {
    throw new CliError("usage", `${option} ${text}: must be a whole number of at least ${minimum}`);
  }
  return value;
}
