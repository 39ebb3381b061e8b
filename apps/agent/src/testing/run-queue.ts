/** How long processes have waited for a CPU that others had: what a test's time owes to the machine, not to what it tests. */
import { readFileSync } from "node:fs";

/** Of each process's first thread, where Node.js runs JavaScript; since they were started. */
export function waitedForCpuMs(pids: readonly number[]): number {
  // Time on a CPU and time in the run queue, both in ns, and the number of turns (Documentation/scheduler/sched-stats).
  const waitedNs = pids.map((pid) => Number(readFileSync(`/proc/${pid}/schedstat`, "utf8").split(" ")[1]));
  return waitedNs.reduce((sum, ns) => sum + ns, 0) / 1e6;
}
