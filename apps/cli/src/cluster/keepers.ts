/** Keepers have no parent; which node one is of stands in its command line: `slimfast-keeper --detached RUN-DIR CGROUP`. */
import { readdirSync, readFileSync } from "node:fs";

/** Process ids of the keepers of a node's run directory: one, but while one takes another's place. */
export function keeperPids(runDir: string): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && isKeeperOf(entry, runDir))
    .map(Number);
}

function isKeeperOf(pid: string, runDir: string): boolean {
  try {
    const [program = "", , directory] = readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
    return program.endsWith("/slimfast-keeper") && directory === runDir;
  } catch {
    // It has ended meanwhile.
    return false;
  }
}
