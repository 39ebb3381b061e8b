/** Results of made-up rounds, for the tests of what reads results. */
import { withGrowth } from "./growth.js";
import type { NetworkName } from "./networks/network.js";
import { type CaseResult, caseResult, RESULT_KIND, RESULT_VERSION, type SuiteResult } from "./result.js";
import { suiteTargets } from "./suite-targets.js";

/** The primary figure's rounds, by network; growing cases of one scenario only. */
export type Samples = Partial<Record<NetworkName, readonly number[]>>;

export function resultOf(cases: Readonly<Record<string, Samples>>): SuiteResult {
  const results = withGrowth(Object.entries(cases).map(([name, samples]) => caseOf(name, samples)));
  return {
    kind: RESULT_KIND,
    version: RESULT_VERSION,
    startedAt: "2026-01-02T03:04:05.000Z",
    elapsedSeconds: 7,
    revision: "0123abc",
    machine: {
      kernel: "6.18.0",
      cpus: 2,
      cpuModel: "A CPU <fast>",
      memoryMib: 2_048,
      node: "v20.19.0",
      sessionNice: 0,
    },
    programs: { wrk: "wrk 4.1.0" },
    loadBefore: 0.1,
    profile: "full",
    rounds: Math.max(...results.flatMap(roundCounts)),
    networks: ["host", "slimfast-preload"],
    cases: results,
    targets: suiteTargets(results),
  };
}

function caseOf(name: string, samples: Samples): CaseResult {
  const [scenario = "", caseName = ""] = name.split(".");
  // The scenarios that grow have sizes for names.
  const isGrowing = scenario.startsWith("scale-");
  const isLatency = scenario === "connect" || scenario === "rr" || isGrowing;
  const primary = isLatency ? "p50Us" : scenario === "idle" ? "bytesPerConnection" : "perSecond";
  const rounds = new Map(
    Object.entries(samples).map(([network, values]) => [
      network as NetworkName,
      values.map((value) => ({ [primary]: value })),
    ]),
  );
  const size = isGrowing ? { size: Number(caseName) } : {};
  return caseResult({ scenario, case: caseName, title: `title of ${name}`, primary, ...size }, rounds);
}

function roundCounts({ networks, primary }: CaseResult): number[] {
  return Object.values(networks).map((figures) => figures[primary]?.samples.length ?? 0);
}
