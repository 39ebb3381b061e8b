/** What agents, nodes and BPF maps hold at one moment, and the difference of two moments. Pure. */

export interface Holdings {
  /** Open descriptors of the agents. */
  readonly descriptors: number;
  /** Sockets of the nodes' network namespaces, of every kind and in every state. */
  readonly sockets: number;
  readonly maps: readonly { readonly pid: number; readonly name: string; readonly entries: number }[];
}

/** After minus before; more than 0 was left behind. */
export interface LeakReport {
  readonly connections: number;
  readonly descriptors: number;
  readonly sockets: number;
  /** Entries more, over all maps that have more than before. */
  readonly mapEntries: number;
  /** By name of the map; those without a difference are left out. */
  readonly maps: Readonly<Record<string, number>>;
  /** Resident memory gained over the second half of the connections: over the first, heaps find their size. */
  readonly residentKib: number;
  /** Resident memory before, and after each block of connections. */
  readonly residentKibSeries: readonly number[];
  readonly before: Holdings;
  readonly after: Holdings;
}

/** @param residentKibSeries see {@link LeakReport}; at least one */
export function compareHoldings(
  before: Holdings,
  after: Holdings,
  connections: number,
  residentKibSeries: readonly number[],
): LeakReport {
  const maps: Record<string, number> = {};
  const add = (of: Holdings["maps"], sign: number) => {
    for (const { name, entries } of of) maps[name] = (maps[name] ?? 0) + sign * entries;
  };
  add(after.maps, 1);
  add(before.maps, -1);
  const differing = Object.fromEntries(Object.entries(maps).filter(([, difference]) => difference !== 0));
  return {
    connections,
    descriptors: after.descriptors - before.descriptors,
    sockets: after.sockets - before.sockets,
    mapEntries: Object.values(differing).reduce((total, difference) => total + Math.max(difference, 0), 0),
    maps: differing,
    residentKib: secondHalf(residentKibSeries),
    residentKibSeries,
    before,
    after,
  };
}

function secondHalf(series: readonly number[]): number {
  const last = series.at(-1);
  const middle = series[Math.floor((series.length - 1) / 2)];
  if (last === undefined || middle === undefined) throw new RangeError("no series");
  return last - middle;
}

/** VmRSS out of /proc/PID/status. */
export function residentKib(status: string): number {
  return numberAfter(status, /^VmRSS:\s+(\d+) kB$/m, "VmRSS");
}

/** All sockets of a namespace out of /proc/PID/net/sockstat. */
export function socketsInUse(sockstat: string): number {
  return numberAfter(sockstat, /^sockets: used (\d+)$/m, "sockets used");
}

function numberAfter(text: string, pattern: RegExp, what: string): number {
  const match = pattern.exec(text);
  if (!match) throw new RangeError(`no ${what} in what the kernel says`);
  return Number(match[1]);
}
