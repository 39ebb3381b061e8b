/** Processes and their descendants, out of /proc/PID/stat (proc_pid_stat(5)). */
import { readdirSync, readFileSync } from "node:fs";

export interface Relative {
  readonly pid: number;
  readonly parent: number;
}

/** Fields of /proc/PID/stat from the third on (state, parent …); the second is a name that may contain anything. */
export function fieldsAfterName(stat: string): string[] {
  return stat.slice(stat.lastIndexOf(")") + 2).split(" ");
}

/** What `parse` makes of each process's stat. Those that end meanwhile are left out. */
export function readProcesses<T>(parse: (pid: number, stat: string) => T): T[] {
  const found: T[] = [];
  for (const entry of readdirSync("/proc")) {
    if (!/^\d+$/.test(entry)) continue;
    try {
      found.push(parse(Number(entry), readFileSync(`/proc/${entry}/stat`, "latin1")));
    } catch {
      // It has ended meanwhile.
    }
  }
  return found;
}

/** Of `processes` the roots and all their descendants. One whose parent has ended is nobody's descendant any more. */
export function treesOf<T extends Relative>(processes: readonly T[], roots: readonly number[]): T[] {
  const children = new Map<number, T[]>();
  for (const process of processes) {
    const siblings = children.get(process.parent);
    if (siblings) siblings.push(process);
    else children.set(process.parent, [process]);
  }
  const found: T[] = [];
  const waiting = processes.filter(({ pid }) => roots.includes(pid));
  for (let process = waiting.pop(); process; process = waiting.pop()) {
    found.push(process);
    waiting.push(...(children.get(process.pid) ?? []));
  }
  return found;
}
