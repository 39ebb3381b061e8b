/** A node's agent and keeper, and the controller, as processes: found, killed, started again, and what they leave. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { keeperPids, reviveCluster } from "@slimfast/cli";
import type { Cluster } from "../fixture/cluster.js";
import type { NodeProcesses } from "../fixture/holdings.js";
import { until } from "../fixture/until.js";

/** Of a node whose agent runs, or has run last. */
export function pidsOf(cluster: Cluster, node: string): NodeProcesses {
  const agent = processesOf(cluster).find(({ role, node: name }) => role === "agent" && name?.endsWith(`-${node}`));
  if (!agent) throw new Error(`${node} has no agent`);
  return { agent: agent.pid, keeper: keeperOf(cluster, node) };
}

export function keepersOf(cluster: Cluster, node: string): readonly number[] {
  return keeperPids(join(cluster.runDir, `${cluster.tag}${node}`));
}

function keeperOf(cluster: Cluster, node: string): number {
  const [pid, ...more] = keepersOf(cluster, node);
  if (pid === undefined || more.length > 0)
    throw new Error(`${node} has ${pid === undefined ? 0 : 1 + more.length} keepers`);
  return pid;
}

export function controllerPid(cluster: Cluster): number {
  const controller = processesOf(cluster).find(({ role }) => role === "controller");
  if (!controller) throw new Error("there is no controller");
  return controller.pid;
}

interface Process {
  readonly role: string;
  readonly node: string | null;
  readonly pid: number;
}

/** As the cluster's state file has them. */
function processesOf(cluster: Cluster): readonly Process[] {
  const state = readFileSync(join(cluster.runDir, "cluster.json"), "utf8");
  return (JSON.parse(state) as { processes: readonly Process[] }).processes;
}

/** Kills the process and waits until it has ended. */
export async function kill(pid: number, signal: NodeJS.Signals = "SIGKILL"): Promise<void> {
  process.kill(pid, signal);
  await until(() => !isAlive(pid), `process ${pid} ends`);
}

function isAlive(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) [ZX]/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  } catch {
    return false;
  }
}

/** `up` finds a cluster that is up, and starts what has ended again. */
export async function startAgain(cluster: Cluster): Promise<readonly string[]> {
  const { revived } = await cluster.cli.json<{ revived: string[] }>("up", "--detach");
  return revived;
}

/** As `up` does, within this process: a thousand times that is a thousand command lines less. */
export async function revive(cluster: Cluster): Promise<void> {
  await reviveCluster(cluster.runDir, "quiet");
}

export interface Holdings {
  readonly descriptors: number;
  readonly threads: number;
}

/** What a process has open. */
export function holdingsOf(pid: number): Holdings {
  return {
    descriptors: readdirSync(`/proc/${pid}/fd`).length,
    threads: readdirSync(`/proc/${pid}/task`).length,
  };
}

/** Kinds of descriptors that a process has, for a message. */
export function descriptorsOf(pid: number): string[] {
  return readdirSync(`/proc/${pid}/fd`).flatMap((name) => {
    try {
      return [readlinkSync(`/proc/${pid}/fd/${name}`)];
    } catch {
      return [];
    }
  });
}
