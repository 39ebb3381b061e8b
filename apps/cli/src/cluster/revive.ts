/**
 * Starts again what of a cluster that is up has ended: its nodes have gone on without their agents, and their next agents take
 * them over.
 */
import { existsSync } from "node:fs";
import { isAlive } from "../process/identity.js";
import { sayProgress, type Verbosity } from "../progress.js";
import { type ClusterState, type ProcessRecord, writeState } from "./state-file.js";
import { netnsPath } from "./wire.js";

/** Whether the cluster was up and is whole but for some of its processes, and nobody is about to take it down. */
export function isRevivable(state: ClusterState): boolean {
  const { plan, phase, attendant, processes } = state;
  if (phase !== "up" || (attendant !== null && !isAlive(attendant))) return false;
  return processes.length === plan.nodes.length + 1 && plan.nodes.every((node) => existsSync(netnsPath(node.netns)));
}

/** Processes of the cluster that have ended. */
export function endedProcesses(state: ClusterState): ProcessRecord[] {
  return state.processes.filter((record) => !isAlive(record));
}

/** `agent of node-1`, `controller`. */
export function describeProcess({ node }: Pick<ProcessRecord, "node">): string {
  return node === null ? "the controller" : `the agent of ${node}`;
}

/**
 * @param start - starts one process and records it; the record of the one that has ended is gone by then
 * @returns what was started again
 */
export async function revive(
  state: ClusterState,
  verbosity: Verbosity,
  start: (ended: ProcessRecord) => Promise<void>,
): Promise<string[]> {
  const ended = endedProcesses(state);
  const again = async (record: ProcessRecord) => {
    if (verbosity === "normal") sayProgress(`starting ${describeProcess(record)} again`);
    state.processes = state.processes.filter((other) => other !== record);
    try {
      await start(record);
    } catch (error) {
      // What cannot be started now is what the next attempt starts.
      const isRecorded = state.processes.some((other) => other.node === record.node && other.role === record.role);
      if (!isRecorded) state.processes.push(record);
      writeState(state);
      throw error;
    }
  };
  const controllers = ended.filter(({ node }) => node === null);
  const agents = ended.filter(({ node }) => node !== null);
  // The controller first: agents look for it. All agents at a time: each waits for the kernel, and for the controller.
  for (const group of [controllers, agents]) {
    const failed = (await Promise.allSettled(group.map(again))).find((result) => result.status === "rejected");
    if (failed) throw failed.reason;
  }
  return [...controllers, ...agents].map(describeProcess);
}
