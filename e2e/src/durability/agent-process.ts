/** A node's agent and keeper, and the controller, as processes: found, killed, started again, and what they leave. */
import { readdirSync, readFileSync, readlinkSync } from "node:fs";
import { join } from "node:path";
import { keeperPids } from "@slimfast/cli";
import type { Cluster } from "../fixture/cluster.js";
import type { NodeProcesses } from "../fixture/holdings.js";
import { until } from "../fixture/until.js";

/** Of a node whose agent runs. */
export async function pidsOf(cluster: Cluster, node: string): Promise<NodeProcesses> {
  const status = await cluster.status();
  const agent = status.nodes.find(({ name }) => name.endsWith(node))?.agent?.pid;
  if (agent === undefined) throw new Error(`${node} has no agent`);
  return { agent, keeper: keeperOf(cluster, node) };
}

function keeperOf(cluster: Cluster, node: string): number {
  const [pid, ...more] = keeperPids(join(cluster.runDir, `${cluster.tag}${node}`));
  if (pid === undefined || more.length > 0)
    throw new Error(`${node} has ${pid === undefined ? 0 : 1 + more.length} keepers`);
  return pid;
}

/** As the cluster's state file has it. */
export function controllerPid(cluster: Cluster): number {
  const state = JSON.parse(readFileSync(join(cluster.runDir, "cluster.json"), "utf8")) as {
    processes: readonly { role: string; pid: number }[];
  };
  const controller = state.processes.find(({ role }) => role === "controller");
  if (!controller) throw new Error("there is no controller");
  return controller.pid;
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
