/**
 * How much more a case costs than the smallest of its scenario. Cases that grow are measured minutes apart, and machines
 * change meanwhile: so each round is also divided by the host network's figure of that round, as results of two runs are
 * (compare.ts). Pure.
 */
import { median } from "../statistics.js";
import type { NetworkName } from "./networks/network.js";
import type { CaseResult, Ratio } from "./result.js";
import { ratioInterval } from "./spread.js";

/** @param cases of one scenario; those without a size stay as they are */
export function withGrowth(cases: readonly CaseResult[]): CaseResult[] {
  const smallest = cases.reduce<CaseResult | null>(
    (found, one) => (one.size !== undefined && one.size < (found?.size ?? Number.POSITIVE_INFINITY) ? one : found),
    null,
  );
  return cases.map((one) =>
    smallest === null || one.size === undefined || one === smallest ? one : { ...one, growth: growthOf(one, smallest) },
  );
}

function growthOf(one: CaseResult, smallest: CaseResult): NonNullable<CaseResult["growth"]> {
  const growth: NonNullable<CaseResult["growth"]> = {};
  for (const name of Object.keys(one.networks) as NetworkName[]) {
    const [own, before] = [samplesOf(one, name), samplesOf(smallest, name)];
    if (own.length === 0 || before.length === 0) continue;
    growth[name] = { toSmallest: ratioOf(own, before), beyondHost: beyondHost(one, smallest, name) };
  }
  return growth;
}

function beyondHost(one: CaseResult, smallest: CaseResult, name: NetworkName): Ratio | null {
  const [own, before] = [toHost(one, name), toHost(smallest, name)];
  return name === "host" || own.length === 0 || before.length === 0 ? null : ratioOf(own, before);
}

function toHost(one: CaseResult, name: NetworkName): number[] {
  const host = samplesOf(one, "host");
  return samplesOf(one, name).flatMap((sample, round) => {
    const base = host[round];
    return base === undefined ? [] : [sample / base];
  });
}

function samplesOf({ networks, primary }: CaseResult, name: NetworkName): readonly number[] {
  return networks[name]?.[primary]?.samples ?? [];
}

function ratioOf(own: readonly number[], before: readonly number[]): Ratio {
  return { value: median(own) / median(before), ...ratioInterval(own, before) };
}
