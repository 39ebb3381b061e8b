/**
 * Processes of a cluster by their command lines, which name the run directory. Keepers have no parent and are in no state file; of
 * a controller or an agent that was started by an `up` that was killed the next moment, nothing else tells.
 */
import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { AGENT_MAIN, CONTROLLER_MAIN } from "../paths.js";
import { identityOf, type ProcessIdentity } from "../process/identity.js";
import type { ClusterPlan } from "./plan.js";

/** Process ids of the keepers of a node's run directory: one, but while one takes another's place. */
export function keeperPids(runDir: string): number[] {
  // `slimfast-keeper --detached RUN-DIR CGROUP`
  return pidsWhere(([program = "", , directory]) => program.endsWith("/slimfast-keeper") && directory === runDir);
}

/** Controllers that keep their state in the run directory. */
export function controllersOf(plan: ClusterPlan): ProcessIdentity[] {
  return daemonsOf(CONTROLLER_MAIN, "--state-dir", [join(plan.runDir, "state")]);
}

/** Agents of the cluster's nodes. */
export function agentsOf(plan: ClusterPlan): ProcessIdentity[] {
  return daemonsOf(
    AGENT_MAIN,
    "--run-dir",
    plan.nodes.map(({ runDir }) => runDir),
  );
}

/** Also those that `nsenter` is about to become. */
function daemonsOf(main: string, option: string, values: readonly string[]): ProcessIdentity[] {
  const isMeant = (line: readonly string[]) =>
    line.includes(main) && values.includes(line[line.indexOf(option) + 1] ?? "");
  return pidsWhere(isMeant)
    .map(identityOf)
    .filter((identity) => identity !== null);
}

function pidsWhere(isMeant: (commandLine: readonly string[]) => boolean): number[] {
  return readdirSync("/proc")
    .filter((entry) => /^\d+$/.test(entry) && isMeant(commandLineOf(entry)))
    .map(Number);
}

function commandLineOf(pid: string): readonly string[] {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, "utf8").split("\0");
  } catch {
    // It has ended meanwhile.
    return [];
  }
}
