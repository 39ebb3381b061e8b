/** Sets of TCP ports as sorted, disjoint ranges that do not touch. Pure. */
import type { PortRange } from "@slimfast/proto";

/** Ports first .. last. */
export interface Ports {
  readonly first: number;
  readonly last: number;
}

/** No connection has port 0, and with it "all" is one entry in the kernel instead of 16. */
const PORT_MIN = 0;
const PORT_MAX = 65_535;

export const ALL_PORTS: readonly Ports[] = [{ first: PORT_MIN, last: PORT_MAX }];

/** What a policy's ranges mean: none is all. */
export function portsOf(ranges: readonly PortRange[]): readonly Ports[] {
  if (ranges.length === 0) return ALL_PORTS;
  return union(
    ranges.map(({ first, count }) => ({
      first: first <= 1 ? PORT_MIN : first,
      last: Math.min(first + count - 1, PORT_MAX),
    })),
  );
}

/** Of ranges in any order, that may overlap. Empty ones (last before first) are left out. */
export function union(ranges: readonly Ports[]): Ports[] {
  const sorted = ranges.filter(({ first, last }) => first <= last).sort((left, right) => left.first - right.first);
  const merged: { first: number; last: number }[] = [];
  for (const { first, last } of sorted) {
    const end = merged.at(-1);
    if (end && first <= end.last + 1) end.last = Math.max(end.last, last);
    else merged.push({ first, last });
  }
  return merged;
}

/** What is in `from` and not in `taken`; both sorted and disjoint. */
export function difference(from: readonly Ports[], taken: readonly Ports[]): Ports[] {
  const left: Ports[] = [];
  for (const range of from) {
    let { first } = range;
    for (const hole of taken) {
      if (hole.last < first) continue;
      if (hole.first > range.last) break;
      if (hole.first > first) left.push({ first, last: hole.first - 1 });
      first = hole.last + 1;
    }
    if (first <= range.last) left.push({ first, last: range.last });
  }
  return left;
}
