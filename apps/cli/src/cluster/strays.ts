/** Network namespaces that bear the names of a cluster's, although no state file explains them. */
import { existsSync, readdirSync } from "node:fs";
import { planCluster, runDirTag } from "./plan.js";

/** For a run directory that has no state file: `up` would fail on them, and must not take them for its own. */
export function strayNamespaces(runDir: string): string[] {
  return existsSync("/run/netns") ? namespacesOf(runDir, readdirSync("/run/netns")) : [];
}

/** Those among `names` that are named after the nodes of this run directory, their endpoints and routers, or its wire. */
export function namespacesOf(runDir: string, names: readonly string[]): string[] {
  const { wireNetns } = planCluster(runDir, 1, { first: 1, count: 1 });
  const ofNode = new RegExp(`^sfr?-${runDirTag(runDir)}node-\\d+(-|$)`);
  return names.filter((name) => name === wireNetns || ofNode.test(name)).sort();
}

/** The remedy. */
export function removalOf(strays: readonly string[]): string {
  return `if nothing else uses them: ${strays.map((name) => `ip netns delete ${name}`).join("; ")}`;
}
