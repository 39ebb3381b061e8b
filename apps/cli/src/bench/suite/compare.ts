/**
 * What has changed between two results, beyond noise. Figures of two runs are not compared as they are: the machine is not
 * the same twice. Each round is first divided by the host network's figure of the same round; only the host's own figures
 * are compared directly. A change is named if a Mann-Whitney test tells the rounds apart, at a false discovery rate of 5 %
 * over everything compared, and it is larger than {@link SMALLEST_CHANGE}. Pure.
 */
import { median } from "../statistics.js";
import { METRICS, type MetricKey } from "./metrics.js";
import { NETWORKS, type NetworkName } from "./networks/network.js";
import type { CaseResult, SuiteResult } from "./result.js";
import { discoveries, type Interval, mannWhitney, ratioInterval } from "./spread.js";

export type Verdict = "better" | "worse" | "no change";

export interface Change extends Interval {
  readonly scenario: string;
  readonly case: string;
  readonly network: NetworkName;
  readonly metric: MetricKey;
  readonly relativeToHost: boolean;
  /** New over old; `low` and `high` bound it at 95 %. */
  readonly ratio: number;
  readonly probability: number;
  readonly verdict: Verdict;
}

export interface Comparison {
  readonly changes: readonly Change[];
  /** Cases that only one of the results has, as `SCENARIO.CASE`. */
  readonly onlyOld: readonly string[];
  readonly onlyNew: readonly string[];
  /** Whether so few rounds could show any change at all. */
  readonly hasEnoughRounds: boolean;
}

/** Smaller ones are not worth naming, however certain. */
const SMALLEST_CHANGE = 0.02;
const FALSE_DISCOVERIES = 0.05;
/** With fewer on each side even a clear difference is not significant: 2 / C(8, 4) = 0.03. */
export const FEWEST_ROUNDS = 4;

export function compareResults(before: SuiteResult, after: SuiteResult): Comparison {
  const key = (result: CaseResult) => `${result.scenario}.${result.case}`;
  const older = new Map(before.cases.map((result) => [key(result), result]));
  const newer = new Set(after.cases.map(key));
  const raw = after.cases.flatMap((result) => {
    const old = older.get(key(result));
    return old ? compareCase(old, result) : [];
  });
  const isFound = discoveries(
    raw.map(({ probability }) => probability),
    FALSE_DISCOVERIES,
  );
  return {
    changes: raw.map((change, index) => ({ ...change, verdict: verdict(change, isFound[index] ?? false) })),
    onlyOld: [...older.keys()].filter((name) => !newer.has(name)),
    onlyNew: [...newer].filter((name) => !older.has(name)),
    hasEnoughRounds: Math.min(before.rounds, after.rounds) >= FEWEST_ROUNDS,
  };
}

type Unjudged = Omit<Change, "verdict">;

function compareCase(before: CaseResult, after: CaseResult): Unjudged[] {
  const metric = after.primary;
  return NETWORKS.flatMap((network): Unjudged[] => {
    const isHost = network === "host";
    const [old, now] = [before, after].map((result) => figures(result, network, metric, !isHost));
    if (!old || !now || old.relative !== now.relative) return [];
    const interval = ratioInterval(now.samples, old.samples);
    return [
      {
        scenario: after.scenario,
        case: after.case,
        network,
        metric,
        relativeToHost: now.relative,
        ratio: median(now.samples) / median(old.samples),
        ...interval,
        probability: mannWhitney(now.samples, old.samples),
      },
    ];
  });
}

function figures(result: CaseResult, network: NetworkName, metric: MetricKey, relative: boolean) {
  const own = result.networks[network]?.[metric]?.samples;
  const host = result.networks.host?.[metric]?.samples;
  if (!own) return null;
  if (!relative || !host || host.length !== own.length) return { samples: own, relative: false };
  return { samples: own.map((value, round) => value / (host[round] ?? Number.NaN)), relative: true };
}

function verdict({ ratio, metric }: Unjudged, isFound: boolean): Verdict {
  if (!isFound || Math.abs(ratio - 1) < SMALLEST_CHANGE) return "no change";
  return ratio > 1 === (METRICS[metric].better === "higher") ? "better" : "worse";
}
