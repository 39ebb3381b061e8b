/** `slimfast bench …`. */
import { cpus } from "node:os";
import { type Placement, twoNodes } from "../bench/configurations.js";
import type { LeakReport } from "../bench/holdings.js";
import type { HookCosts } from "../bench/hook-costs.js";
import { measureHooks } from "../bench/hooks.js";
import { agentPids, measureLeaks } from "../bench/leaks.js";
import { machineFacts } from "../bench/machine.js";
import { measureSetup, type SetupReport } from "../bench/setup.js";
import { hookTable, setupTable, targetTable } from "../bench/table.js";
import { evaluateTargets, type Measured } from "../bench/targets.js";
import { type ClusterPlan, DEFAULT_FRONT_PORTS, planCluster } from "../cluster/plan.js";
import { startCluster } from "../cluster/start.js";
import { stopCluster } from "../cluster/stop.js";
import { CliError, EXIT } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";
import { runSteps, type Step, type Verbosity } from "../progress.js";

export interface BenchOptions {
  readonly rounds: string;
  readonly connections: string;
  readonly requests: string;
  readonly bulkSeconds: string;
  readonly pin: string;
  readonly hookRounds: string;
  readonly leakConnections: string;
  readonly full?: boolean;
  readonly check?: boolean;
  readonly json?: boolean;
}

/** What the issue of a leak is judged by: `--full`. */
const FULL_LEAK_CONNECTIONS = 100_000;
/** Connections per round of the hooks' pass. */
const HOOK_CONNECTIONS = 5_000;

export async function benchSetup(options: BenchOptions): Promise<void> {
  const parsed = parse(options);
  const verbosity = options.json ? "quiet" : "normal";
  const plan = planCluster(`${runDirectory()}-bench`, 2, DEFAULT_FRONT_PORTS);
  const watch = watchInterrupts();
  const measured = await inCluster(plan, verbosity, () => measure(plan, parsed, verbosity, watch.signal))
    .catch((error: unknown) => {
      if (watch.signal.aborted) throw new CliError("interrupted", "interrupted");
      throw error;
    })
    .finally(() => watch.close());
  const targets = evaluateTargets(measured);
  const { setup, hooks, leaks } = measured;
  if (options.json) {
    const { rounds, connections, requests, bulkSeconds, placement } = parsed;
    const parameters = { rounds, connections, requests, bulkSeconds, placement };
    printJson({ ok: true, ...parameters, ...setup, hooks, leaks, machine: machineFacts(), targets });
  } else {
    printLine();
    printLine(setupTable(setup));
    if (hooks) printLine(`\n${hookTable(hooks)}`);
    printLine(`\n${targetTable(targets)}`);
  }
  if (options.check && targets.some(({ met }) => !met)) process.exitCode = EXIT.failed;
}

interface Parsed {
  readonly rounds: number;
  readonly connections: number;
  readonly requests: number;
  readonly bulkSeconds: number;
  readonly placement: Placement;
  readonly hookRounds: number;
  readonly leakConnections: number;
}

function parse(options: BenchOptions): Parsed {
  return {
    rounds: positive("--rounds", options.rounds, 1),
    connections: positive("--connections", options.connections, 1),
    requests: positive("--requests", options.requests, 0),
    bulkSeconds: positive("--bulk-seconds", options.bulkSeconds, 0),
    placement: parsePlacement(options.pin),
    hookRounds: positive("--hook-rounds", options.hookRounds, 0),
    leakConnections: options.full ? FULL_LEAK_CONNECTIONS : positive("--leak-connections", options.leakConnections, 0),
  };
}

async function inCluster<Result>(
  plan: ClusterPlan,
  verbosity: Verbosity,
  body: () => Promise<Result>,
): Promise<Result> {
  await startCluster(plan, verbosity, "attended");
  try {
    return await body();
  } finally {
    await stopCluster(plan.runDir, verbosity);
  }
}

async function measure(
  plan: ClusterPlan,
  options: Parsed,
  verbosity: Verbosity,
  signal: AbortSignal,
): Promise<Measured> {
  const nodes = twoNodes(plan);
  const results: { setup?: SetupReport; hooks?: HookCosts; leaks?: LeakReport } = {};
  const steps: Step[] = [
    {
      title: `measuring ${options.rounds} rounds`,
      run: async (note) => {
        results.setup = await measureSetup(plan, options, signal, note);
      },
    },
  ];
  if (options.hookRounds > 0) {
    const hookOptions = { rounds: options.hookRounds, connections: HOOK_CONNECTIONS };
    steps.push({
      title: "measuring what the BPF programs cost",
      run: async (note) => {
        results.hooks = await measureHooks(nodes, agentPids(plan.runDir, nodes), hookOptions, signal, note);
      },
    });
  }
  if (options.leakConnections > 0) {
    const leakOptions = { connections: options.leakConnections };
    steps.push({
      title: `looking for what ${options.leakConnections} connections leave behind`,
      run: async (note) => {
        results.leaks = await measureLeaks(nodes, agentPids(plan.runDir, nodes), leakOptions, signal, note);
      },
    });
  }
  await runSteps(steps, verbosity);
  const { setup, hooks = null, leaks = null } = results;
  if (!setup) throw new CliError("failed", "nothing was measured");
  return { setup, hooks, leaks };
}

/** @throws CliError `usage` */
function parsePlacement(pin: string): Placement {
  const count = cpus().length;
  switch (pin) {
    case "same":
      return { client: 0, server: 0 };
    case "apart":
      if (count < 2) throw new CliError("usage", "--pin apart: this machine has one CPU");
      return { client: 0, server: 1 };
    case "none":
      return null;
    default:
      throw new CliError("usage", `--pin ${pin}: must be same, apart or none`);
  }
}

function positive(option: string, text: string, minimum: number): number {
  const value = Number(text);
  const isWhole = Number.isInteger(value) || option === "--bulk-seconds";
  if (text === "" || !Number.isFinite(value) || value < minimum || !isWhole) {
    throw new CliError("usage", `${option} ${text}: must be a number of at least ${minimum}`);
  }
  return value;
}
