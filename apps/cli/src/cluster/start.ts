/**
 * Brings a cluster up, step by step; each step is recorded before it is taken. If one fails, everything is taken down
 * again and the step's own error is thrown.
 */

import { existsSync, mkdirSync, renameSync } from "node:fs";
import { join } from "node:path";
import { connectController, SlimFastError } from "@slimfast/client";
import { CliError } from "../exit-codes.js";
import { agentCommand, controllerCommand } from "../paths.js";
import { type DaemonOptions, startDaemon, waitUntilReady } from "../process/daemon.js";
import { identityOf } from "../process/identity.js";
import { runSteps, type Step, sayProgress, type Verbosity } from "../progress.js";
import { openConsoleSocket } from "./console-socket.js";
import { prepareJoin } from "./joining.js";
import { withMissingFeatures } from "./missing-features.js";
import { type ClusterPlan, controllerAddress, DEFAULT_NETWORK, type NodePlan } from "./plan.js";
import { isRevivable, revive } from "./revive.js";
import { type ClusterState, isIntact, logDirectory, readState, withLock, writeState } from "./state-file.js";
import { stopLocked } from "./stop.js";
import { removalOf, strayNamespaces } from "./strays.js";
import { createNodeNetns, createWire } from "./wire.js";

/**
 * @param attendance attended: this process takes the cluster down; if it is killed before, the next `up` does
 * @throws CliError `busy` if one is up in this run directory. What a crashed run has left there is removed first.
 */
export async function startCluster(
  plan: ClusterPlan,
  verbosity: Verbosity,
  attendance: "attended" | "detached",
): Promise<void> {
  requireRoot();
  await withLock(plan.runDir, async () => {
    const left = readState(plan.runDir);
    if (left && isIntact(left)) {
      throw new CliError("busy", `a cluster of ${left.plan.nodes.length} nodes is up already`, {
        remedy: "use it, or end it with: slimfast down",
      });
    }
    if (left) {
      if (verbosity === "normal") sayProgress("removing what an earlier run has left");
      await stopLocked(left, "quiet");
    }
    requireNoStrays(plan.runDir);
    mkdirSync(logDirectory(plan.runDir), { recursive: true, mode: 0o700 });
    const state: ClusterState = {
      version: 1,
      plan,
      attendant: attendance === "attended" ? identityOf(process.pid) : null,
      phase: "starting",
      processes: [],
    };
    writeState(state);
    try {
      await runSteps(startSteps(state), verbosity);
    } catch (error) {
      await stopLocked(state, "quiet");
      throw await withMissingFeatures(error);
    }
    state.phase = "up";
    writeState(state);
  });
}

/**
 * Starts again what has ended of a cluster that is up; its endpoints and connections have gone on.
 *
 * @returns what was started again; null if there is no such cluster in this run directory
 */
export async function reviveCluster(runDir: string, verbosity: Verbosity): Promise<string[] | null> {
  const left = readState(runDir);
  if (!left || isIntact(left) || !isRevivable(left)) return null;
  requireRoot();
  return withLock(runDir, async () => {
    const state = readState(runDir);
    if (!state || !isRevivable(state)) return null;
    return revive(state, verbosity, async ({ node: name, logPath }) => {
      // What the one that has ended said last is worth keeping.
      if (existsSync(logPath)) renameSync(logPath, `${logPath}.1`);
      const node = state.plan.nodes.find((candidate) => candidate.name === name);
      await (node ? startAgent(state, node) : startController(state));
    });
  });
}

function requireRoot(): void {
  if (process.geteuid?.() !== 0) {
    throw new CliError("failed", "a cluster needs network namespaces and BPF, and those need root", {
      remedy: "run this as root, for example with sudo",
    });
  }
}

/** What goes wrong later is undone by name, and must not hit what was there before. */
function requireNoStrays(runDir: string): void {
  const strays = strayNamespaces(runDir);
  if (strays.length === 0) return;
  throw new CliError("failed", `there are network namespaces that no cluster accounts for: ${strays.join(", ")}`, {
    remedy: removalOf(strays),
  });
}

function startSteps(state: ClusterState): Step[] {
  const { plan } = state;
  return [
    {
      title: `creating ${plan.nodes.length} nodes and the wire between them`,
      run: async () => {
        await createWire(plan);
        for (const [index, node] of plan.nodes.entries()) await createNodeNetns(plan, node, index);
      },
    },
    { title: "starting the controller", run: () => startController(state) },
    {
      title: `starting the agents of ${plan.nodes.map((node) => `${node.name} (${node.underlayAddress})`).join(", ")}`,
      run: () => startAgents(state),
    },
    { title: `creating network ${DEFAULT_NETWORK.name} (${DEFAULT_NETWORK.prefix})`, run: () => createNetwork(plan) },
  ];
}

/** The same every time, unless somebody else has it: then any. */
const CONSOLE_ADDRESSES = ["127.0.0.1:7080", "127.0.0.1:0"];

/** With TLS it is in the wire's namespace, where the nodes reach it; the console's socket is here all the same. */
async function startController(state: ClusterState): Promise<void> {
  const { runDir, tlsAddress, wireNetns } = state.plan;
  const console = tlsAddress === undefined ? undefined : await openConsoleSocket(CONSOLE_ADDRESSES);
  const args = [
    ...controllerCommand(),
    ...["--listen", controllerAddress(runDir)],
    ...(tlsAddress === undefined ? [] : [tlsAddress, "--tls"]),
    ...["--state-dir", join(runDir, "state")],
    ...["--http", console ? "fd:3" : CONSOLE_ADDRESSES.join()],
  ];
  const options: DaemonOptions = {
    name: "the controller",
    command: process.execPath,
    args,
    logPath: join(logDirectory(runDir), "controller.log"),
    ...(console ? { netns: wireNetns, descriptor: console.descriptor } : {}),
  };
  try {
    const { http } = await startRecorded(state, options, null);
    if (typeof http !== "string") throw new CliError("failed", "the controller did not say where the console is");
    state.consoleUrl = `${http}/`;
    writeState(state);
  } finally {
    console?.close();
  }
}

/** All at a time: each waits for the kernel, which verifies its programs, and for the controller. */
async function startAgents(state: ClusterState): Promise<void> {
  const started = await Promise.allSettled(state.plan.nodes.map((node) => startAgent(state, node)));
  // Not before all have started or failed: what comes next takes down those that are recorded.
  const failed = started.find((result) => result.status === "rejected");
  if (failed) throw failed.reason;
}

async function startAgent(state: ClusterState, node: NodePlan): Promise<void> {
  const { runDir, frontPorts, tlsAddress, endpointLimits } = state.plan;
  const joining = tlsAddress === undefined ? undefined : await prepareJoin(runDir, node);
  const options: DaemonOptions = {
    name: `the agent of ${node.name}`,
    command: process.execPath,
    args: [
      ...agentCommand(),
      ...["--node", node.name, "--underlay", node.underlayAddress],
      ...["--controller", tlsAddress ?? controllerAddress(runDir), "--run-dir", node.runDir],
      ...["--front-ports", `${frontPorts.first}:${frontPorts.count}`, "--cgroup", node.cgroup],
      ...(endpointLimits === undefined ? [] : ["--endpoint-limits", endpointLimits]),
      ...(joining?.args ?? []),
    ],
    logPath: join(logDirectory(runDir), `agent-${node.name}.log`),
    netns: node.netns,
  };
  try {
    await startRecorded(state, options, node.name);
  } finally {
    joining?.done();
  }
}

/** What the daemon said when it was ready. */
async function startRecorded(
  state: ClusterState,
  options: DaemonOptions,
  node: string | null,
): Promise<Readonly<Record<string, unknown>>> {
  const identity = startDaemon(options);
  state.processes.push({
    ...identity,
    role: node === null ? "controller" : "agent",
    node,
    logPath: options.logPath,
  });
  writeState(state);
  return await waitUntilReady(identity, options);
}

async function createNetwork(plan: ClusterPlan): Promise<void> {
  const controller = connectController({ address: controllerAddress(plan.runDir) });
  try {
    await controller.cluster.createNetwork({ network: { ...DEFAULT_NETWORK } });
  } catch (error) {
    // Kept by a controller whose state directory was kept.
    if (!(error instanceof SlimFastError && error.code === "already_exists")) throw error;
  } finally {
    controller.close();
  }
}
