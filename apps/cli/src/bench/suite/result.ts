/** What a run of the suite gives: the JSON file, which the report, the comparison and the targets all read. Pure. */
import { CliError } from "../../exit-codes.js";
import type { MachineFacts } from "../machine.js";
import { median } from "../statistics.js";
import { METRIC_KEYS, type MetricKey, type Values } from "./metrics.js";
import type { NetworkName } from "./networks/network.js";
import { type Interval, ratioInterval, type Summary, summarize } from "./spread.js";

export const RESULT_KIND = "slimfast-bench";
export const RESULT_VERSION = 1;

export type Profile = "quick" | "full";

export interface CaseResult {
  readonly scenario: string;
  readonly case: string;
  readonly title: string;
  readonly primary: MetricKey;
  /** Of what the scenario grows from case to case. */
  readonly size?: number;
  readonly networks: Partial<Record<NetworkName, Partial<Record<MetricKey, Summary>>>>;
  /** Of the primary figure, where both were measured. */
  readonly ratios: Partial<Record<NetworkName, { readonly toHost: Ratio | null; readonly toSlim: Ratio | null }>>;
  /** Of the primary figure, where the scenario grows and a smaller size was measured. */
  readonly growth?: Partial<Record<NetworkName, { readonly toSmallest: Ratio; readonly beyondHost: Ratio | null }>>;
}

export interface Ratio extends Interval {
  readonly value: number;
}

export interface SuiteTarget {
  readonly name: string;
  /** Null: what it needs was not measured. */
  readonly figure: number | null;
  readonly relation: "<=" | ">=";
  readonly limit: number;
  readonly unit: string;
  readonly outcome: "met" | "missed" | "not measured";
}

export interface SuiteResult {
  readonly kind: typeof RESULT_KIND;
  readonly version: typeof RESULT_VERSION;
  /** RFC 3339. */
  readonly startedAt: string;
  readonly elapsedSeconds: number;
  /** Of the source; null outside of a git checkout. */
  readonly revision: string | null;
  readonly machine: MachineFacts;
  /** Versions of the programs that took part. */
  readonly programs: Readonly<Record<string, string>>;
  /** Processes waiting for a CPU when it began: more than a little means that others were using it. */
  readonly loadBefore: number;
  readonly profile: Profile;
  readonly rounds: number;
  readonly networks: readonly NetworkName[];
  readonly cases: readonly CaseResult[];
  readonly targets: readonly SuiteTarget[];
}

/** Rounds of one case, by network, in order. */
export type Rounds = ReadonlyMap<NetworkName, readonly Values[]>;

export function caseResult(
  described: Pick<CaseResult, "scenario" | "case" | "title" | "primary" | "size">,
  rounds: Rounds,
): CaseResult {
  const networks: CaseResult["networks"] = {};
  for (const [name, values] of rounds) networks[name] = summaries(values);
  const primaries = (name: NetworkName) => networks[name]?.[described.primary]?.samples ?? null;
  const ratio = (name: NetworkName, base: NetworkName): Ratio | null => {
    const [own, others] = [primaries(name), primaries(base)];
    if (!own || !others) return null;
    return { value: median(own) / median(others), ...ratioInterval(own, others) };
  };
  const ratios: CaseResult["ratios"] = {};
  for (const name of rounds.keys()) ratios[name] = { toHost: ratio(name, "host"), toSlim: ratio(name, "slim") };
  return { ...described, networks, ratios };
}

function summaries(rounds: readonly Values[]): Partial<Record<MetricKey, Summary>> {
  const result: Partial<Record<MetricKey, Summary>> = {};
  for (const key of METRIC_KEYS) {
    const samples = rounds.map((values) => values[key]).filter((value) => value !== undefined);
    if (samples.length > 0) result[key] = summarize(samples);
  }
  return result;
}

/** @throws CliError if the text is not such a file */
export function parseResult(text: string, path: string): SuiteResult {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    value = null;
  }
  const isResult =
    typeof value === "object" &&
    value !== null &&
    "kind" in value &&
    value.kind === RESULT_KIND &&
    "version" in value &&
    value.version === RESULT_VERSION &&
    "cases" in value &&
    Array.isArray(value.cases);
  if (!isResult) {
    throw new CliError("usage", `${path} is no result of slimfast bench`, {
      remedy: "write one with: slimfast bench --json FILE",
    });
  }
  return value as unknown as SuiteResult;
}
