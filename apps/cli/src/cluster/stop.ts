/**
 * Takes a cluster down: exactly what its state file names, whether it is up, half up or crashed. Every step is safe to
 * repeat, and a step that fails does not keep the others from being taken; its error is thrown at the end, and the state
 * file stays so that the next `down` tries again.
 */
import { existsSync, readdirSync, readFileSync, rmdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { removeContainers } from "../demo/oci-container.js";
import { CliError, messageOf } from "../exit-codes.js";
import { CLI_MAIN } from "../paths.js";
import { exec, tryExec } from "../process/exec.js";
import { isAlive, type ProcessIdentity, processesInNetns, terminate } from "../process/identity.js";
import { runSteps, type Step, type Verbosity } from "../progress.js";
import { cgroup2Mount } from "./cgroup.js";
import { mountsBelow } from "./mounts.js";
import { controllerSocket, type NodePlan } from "./plan.js";
import { agentsOf, controllersOf } from "./processes.js";
import { type ClusterState, isBarelyBegun, readState, removeState, withLock, writeState } from "./state-file.js";
import { deleteNetns, netnsPath } from "./wire.js";

/** The core's record of what it has changed on the host; absent after a clean exit. */
const JOURNAL = "journal.json";
/** An agent detaches its endpoints before it ends; it limits itself to half of this. */
const AGENT_GRACE_MS = 10_000;
const CONTROLLER_GRACE_MS = 5_000;
/** Programs in endpoints get this long between SIGTERM and SIGKILL. */
const WORKLOAD_GRACE_MS = 2_000;

/** @returns Whether there was anything to take down. */
export async function stopCluster(runDir: string, verbosity: Verbosity): Promise<boolean> {
  if (!readState(runDir) && !isBarelyBegun(runDir)) return false;
  return withLock(runDir, async () => {
    const state = readState(runDir);
    if (!state) {
      removeState(runDir);
      return false;
    }
    await stopLocked(state, verbosity);
    return true;
  });
}

/** As {@link stopCluster}, for a caller that holds the lock. */
export async function stopLocked(state: ClusterState, verbosity: Verbosity): Promise<void> {
  const { plan } = state;
  state.phase = "stopping";
  writeState(state);
  const failures: string[] = [];
  // Later steps must be tried although an earlier one has failed.
  const attempt = (title: string, body: () => Promise<void> | void): Step => ({
    title,
    run: async () => {
      try {
        await body();
      } catch (error) {
        failures.push(messageOf(error));
      }
    },
  });
  await runSteps(
    [
      attempt("stopping what runs in endpoints", async () => {
        await removeContainers(plan.runDir);
        await stopWorkloads(plan.nodes);
      }),
      attempt("stopping the agents", async () => {
        const stubborn = await terminate(running(state, "agent", agentsOf(plan)), AGENT_GRACE_MS);
        if (stubborn.length > 0 && verbosity === "normal") {
          process.stderr.write(`slimfast: agents that did not end by themselves: ${stubborn.length}\n`);
        }
      }),
      attempt("stopping the controller", async () => {
        await terminate(running(state, "controller", controllersOf(plan)), CONTROLLER_GRACE_MS);
      }),
      ...plan.nodes.map((node) => attempt(`removing ${node.name}`, () => removeNode(node))),
      attempt("removing the wire", () => deleteNetns(plan.wireNetns)),
    ],
    verbosity,
  );
  if (failures.length > 0) {
    throw new CliError("failed", `the cluster could not be removed completely:\n  ${failures.join("\n  ")}`, {
      remedy: "what is left is still recorded; try again with: slimfast down",
    });
  }
  removeFiles(state);
}

/** Those that are recorded, and those that were started by an `up` that was killed before it could record them. */
function running(
  state: ClusterState,
  role: "agent" | "controller",
  found: readonly ProcessIdentity[],
): ProcessIdentity[] {
  const recorded = state.processes.filter((record) => record.role === role && isAlive(record));
  return [...recorded, ...found.filter(({ pid }) => !recorded.some((record) => record.pid === pid))];
}

/** Names of the node's endpoint namespaces (`sf-NODE-…`) and router namespaces (`sfr-NODE-…`). */
function derivedNetns(node: NodePlan): { endpoints: string[]; routers: string[] } {
  const names = existsSync("/run/netns") ? readdirSync("/run/netns") : [];
  return {
    endpoints: names.filter((name) => name.startsWith(`sf-${node.name}-`)),
    routers: names.filter((name) => name.startsWith(`sfr-${node.name}-`)),
  };
}

async function stopWorkloads(nodes: readonly NodePlan[]): Promise<void> {
  const running = nodes.flatMap((node) =>
    derivedNetns(node).endpoints.flatMap((name) => processesInNetns(netnsPath(name))),
  );
  await terminate(running, WORKLOAD_GRACE_MS);
}

async function removeNode(node: NodePlan): Promise<void> {
  await recoverNode(node);
  // What still runs in the node's namespace was started for this cluster: a benchmark, for example.
  if (existsSync(netnsPath(node.netns))) await terminate(processesInNetns(netnsPath(node.netns)), WORKLOAD_GRACE_MS);
  const { endpoints, routers } = derivedNetns(node);
  for (const name of [...endpoints, ...routers, node.netns]) await deleteNetns(name);
  removeCgroup(node.cgroup);
  await unmountBelow(node.runDir);
  rmSync(node.runDir, { recursive: true, force: true });
}

/** The BPF file system of a node whose journal nobody could follow: its directory cannot be removed while it is mounted. */
async function unmountBelow(directory: string): Promise<void> {
  for (const mount of mountsBelow(directory)) {
    // What is pinned goes first: other mount namespaces may have the mount, too. The kernel's own two files stay.
    for (const pin of readdirSync(mount).filter((name) => !name.endsWith(".debug"))) {
      rmSync(join(mount, pin), { recursive: true, force: true });
    }
    await exec("umount", ["--lazy", mount]);
  }
}

/**
 * What an agent that was killed has left in its journal. In the node's own namespace, since the journal names sysctls of
 * that one. If it fails (the addon does not load, for example), the rest of the removal covers the same ground: all that
 * a journal names is in the node's namespace or directory, or bears the node's name.
 */
async function recoverNode(node: NodePlan): Promise<void> {
  if (!existsSync(join(node.runDir, JOURNAL)) || !existsSync(netnsPath(node.netns))) return;
  await tryExec(process.execPath, [CLI_MAIN, "recover-node", node.runDir], { netns: node.netns });
}

/** Innermost first; a cgroup that others still use stays. */
function removeCgroup(cgroup: string): void {
  const mount = cgroup2Mount();
  if (mount === null) return;
  const path = join(mount, cgroup);
  if (existsSync(path)) removeCgroupTree(path);
  const parent = join(mount, cgroup.split("/")[0] ?? cgroup);
  if (existsSync(parent) && subdirectories(parent).length === 0 && isEmptyCgroup(parent)) rmdirSync(parent);
}

function removeCgroupTree(path: string): void {
  for (const child of subdirectories(path)) removeCgroupTree(join(path, child));
  rmdirSync(path);
}

function subdirectories(path: string): string[] {
  return readdirSync(path, { withFileTypes: true })
    .filter((entry) => entry.isDirectory())
    .map((entry) => entry.name);
}

function isEmptyCgroup(path: string): boolean {
  return readFileSync(join(path, "cgroup.procs"), "utf8").trim() === "";
}

function removeFiles(state: ClusterState): void {
  const { runDir } = state.plan;
  rmSync(controllerSocket(runDir), { force: true });
  rmSync(join(runDir, "state"), { recursive: true, force: true });
  removeState(runDir);
}
