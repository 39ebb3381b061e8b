/** The targets, in one place, and whether a run met them. Pure. */

import type { LeakReport } from "./holdings.js";
import type { HookCosts } from "./hook-costs.js";
import type { SetupReport } from "./setup.js";

export type Relation = "<=" | "<" | ">=";

export interface TargetResult {
  readonly name: string;
  readonly figure: number;
  readonly relation: Relation;
  readonly limit: number;
  /** "x": a ratio. */
  readonly unit: "x" | "ns" | "" | "KiB";
  readonly met: boolean;
}

export interface Measured {
  readonly setup: SetupReport;
  /** Null where it was left out; it has no targets then. */
  readonly hooks: HookCosts | null;
  readonly leaks: LeakReport | null;
}

/** JavaScript's heap grows in steps of up to 4 MiB in each of the two agents, and then stays (docs/performance.md). */
const RESIDENT_KIB_ALLOWED = 8 * 1024;

export function evaluateTargets({ setup, hooks, leaks }: Measured): TargetResult[] {
  const { ratios } = setup;
  const overVxlan = Math.round((setup.setup.preload.p50Us / setup.setup.vxlan.p50Us) * 1_000) / 1_000;
  const results = [
    result("setup p50, preload to host", ratios.preload.setup, "<=", 1.1, "x"),
    result("setup p50, notify to host", ratios.notify.setup, "<=", 1.7, "x"),
    result("setup p50, preload to VXLAN", overVxlan, "<", 1, "x"),
  ];
  for (const tier of ["preload", "notify"] as const) {
    const { requestResponse, bulk } = ratios[tier];
    if (requestResponse !== null) {
      results.push(result(`round trip p50, ${tier} to host`, requestResponse, "<=", 1.05, "x"));
    }
    if (bulk !== null) results.push(result(`throughput, ${tier} to host`, bulk, ">=", 0.97, "x"));
  }
  if (hooks) {
    results.push(result("ingress hook, packet that is no SYN", Math.round(hooks.ingressNonSynNs), "<=", 50, "ns"));
    results.push(result("all hooks, SYN", Math.round(hooks.syn.totalNs), "<=", 1_500, "ns"));
  }
  if (leaks) {
    const of = `left by ${leaks.connections} connections`;
    results.push(result(`descriptors ${of}`, leaks.descriptors, "<=", 0, ""));
    results.push(result(`sockets ${of}`, leaks.sockets, "<=", 0, ""));
    results.push(result(`map entries ${of}`, leaks.mapEntries, "<=", 0, ""));
    results.push(
      result("memory of the agents, second half of them", leaks.residentKib, "<=", RESIDENT_KIB_ALLOWED, "KiB"),
    );
  }
  return results;
}

function result(
  name: string,
  figure: number,
  relation: Relation,
  limit: number,
  unit: TargetResult["unit"],
): TargetResult {
  return { name, figure, relation, limit, unit, met: isMet(figure, relation, limit) };
}

function isMet(figure: number, relation: Relation, limit: number): boolean {
  switch (relation) {
    case "<=":
      return figure <= limit;
    case "<":
      return figure < limit;
    case ">=":
      return figure >= limit;
  }
}
