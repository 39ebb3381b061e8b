/** `slimfast up`. */
import { setTimeout as sleep } from "node:timers/promises";
import {
  type ClusterPlan,
  checkEndpointLimits,
  DEFAULT_NETWORK,
  parseFrontPorts,
  parseNodeCount,
  planCluster,
} from "../cluster/plan.js";
import { describeProcess, endedProcesses } from "../cluster/revive.js";
import { reviveCluster, startCluster } from "../cluster/start.js";
import { readState } from "../cluster/state-file.js";
import { stopCluster } from "../cluster/stop.js";
import { CliError } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";
import { logTail } from "../process/daemon.js";
import type { Verbosity } from "../progress.js";

/** How often a foreground `up` looks whether its processes still run. */
const WATCH_INTERVAL_MS = 1_000;
/** Of agents that end again and again. */
const RESTARTS_MAX = 5;

export interface UpOptions {
  readonly nodes: string;
  readonly frontPorts: string;
  readonly tls?: boolean;
  readonly endpointLimits?: string;
  readonly detach?: boolean;
  readonly json?: boolean;
}

export async function up(options: UpOptions): Promise<void> {
  const { nodes, frontPorts, tls, endpointLimits } = options;
  const plan = planCluster(runDirectory(), parseNodeCount(nodes), parseFrontPorts(frontPorts), {
    hasTls: tls,
    endpointLimits: endpointLimits === undefined ? undefined : checkEndpointLimits(endpointLimits),
  });
  const verbosity = options.json ? "quiet" : "normal";
  const revived = await reviveCluster(plan.runDir, verbosity);
  if (revived) {
    if (options.json) printJson({ ok: true, revived });
    else printLine(`Started again: ${revived.join(", ")}. Endpoints and connections have gone on meanwhile.`);
    return;
  }
  const watch = watchInterrupts();
  // A signal during start-up takes effect after it: half a cluster is harder to remove than a whole one.
  await startCluster(plan, verbosity, options.detach ? "detached" : "attended");
  if (options.detach && watch.signal.aborted) {
    await stopCluster(plan.runDir, verbosity);
    throw new CliError("interrupted", "interrupted; the cluster is down again");
  }
  if (options.json) printJson({ ok: true, ...describe(plan) });
  else printUp(plan, options.detach === true);
  if (options.detach) {
    watch.close();
    return;
  }
  const failure = await Promise.race([
    watch.interrupted.then(() => null),
    keepUp(plan.runDir, verbosity, watch.signal),
  ]);
  if (!options.json) process.stderr.write("\n");
  await stopCluster(plan.runDir, verbosity);
  watch.close();
  if (failure) throw failure;
}

function describe(plan: ClusterPlan) {
  return {
    runDir: plan.runDir,
    nodes: plan.nodes.map(({ name, netns, underlayAddress }) => ({ name, netns, underlayAddress })),
    frontPorts: plan.frontPorts,
    networks: [DEFAULT_NETWORK],
    ...(plan.tlsAddress === undefined ? {} : { tlsAddress: plan.tlsAddress }),
  };
}

function printUp(plan: ClusterPlan, detached: boolean): void {
  const [first] = plan.nodes;
  const last = plan.nodes.at(-1);
  printLine(
    `The cluster is up: ${plan.nodes.map((node) => node.name).join(", ")}; network ${DEFAULT_NETWORK.name} ${DEFAULT_NETWORK.prefix}`,
  );
  if (plan.tlsAddress !== undefined) printLine(`The agents have joined over TLS, at ${plan.tlsAddress} on the wire.`);
  printLine();
  printLine("Console: the address, and a token to log in with, are printed by ./slimfast console");
  printLine();
  printLine("Try:");
  printLine(`  ./slimfast run --node ${last?.name} --name web -- python3 -m http.server 80`);
  printLine(`  ./slimfast run --node ${first?.name} -- curl http://ADDRESS-OF-WEB/`);
  printLine("  ./slimfast status");
  printLine(detached ? "  ./slimfast down" : "\nCtrl-C ends it and removes everything.");
}

/**
 * Starts agents that have ended again, at most so often in a row. Resolves with an error when that does not help or the
 * controller has ended, with null when `signal` is aborted or somebody else has taken the cluster down.
 */
async function keepUp(runDir: string, verbosity: Verbosity, signal: AbortSignal): Promise<CliError | null> {
  let attempts = 0;
  while (!signal.aborted) {
    await sleep(WATCH_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    const state = readState(runDir);
    // Somebody has called `down`: nothing is left to stay for.
    if (state?.phase !== "up") return null;
    const [lost] = endedProcesses(state);
    if (!lost) attempts = 0;
    if (!lost || signal.aborted) continue;
    const failure = new CliError("failed", `${describeProcess(lost)} has ended:\n${logTail(lost.logPath)}`);
    if (lost.node === null || attempts === RESTARTS_MAX) return failure;
    attempts += 1;
    try {
      await reviveCluster(runDir, verbosity);
    } catch (error) {
      // Another command may be at it, or the agent may find next time what it lacks now.
      if (attempts === RESTARTS_MAX) return error instanceof CliError ? error : failure;
    }
  }
  return null;
}
