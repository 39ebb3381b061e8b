/** The targets of the suite, in one place, and whether a result met them. Pure. */
import type { MetricKey } from "./metrics.js";
import type { NetworkName } from "./networks/network.js";
import type { CaseResult, SuiteTarget } from "./result.js";

interface Target {
  readonly name: string;
  readonly scenario: string;
  readonly case: string;
  readonly network: NetworkName;
  readonly metric: MetricKey;
  /** What the figure is divided by; null: it stands for itself. */
  readonly over: NetworkName | null;
  /** What the figure is taken beyond: this network's is subtracted. */
  readonly beyond?: NetworkName;
  /** The figure is how much more it is than at the scenario's smallest size, beyond what host's has become. */
  readonly isGrowth?: boolean;
  /** Of a figure that is no ratio. */
  readonly unit?: "us" | "B" | "MiB";
  readonly relation: "<=" | ">=";
  readonly limit: number;
}

const PRELOAD = "slimfast-preload";
const NOTIFY = "slimfast-notify";

function ratio(
  name: string,
  at: string,
  metric: MetricKey,
  [network, over]: readonly [NetworkName, NetworkName],
  relation: Target["relation"],
  limit: number,
): Target {
  const [scenario = "", caseName = ""] = at.split(".");
  return { name: `${name}, ${network} to ${over}`, scenario, case: caseName, network, metric, over, relation, limit };
}

const SETUP = "connect.1-client";
const CRR = "crr.16-clients";
const PROXY = "nginx-proxy.short-upstream-short-1k";
const CACHE = "memcached.connection-per-request";

/** "Flat": within what two halves of one run differ by on a machine with nothing else to do, and a little. */
const FLAT = 1.1;

const GROWING = [
  { at: "scale-endpoints.1000", with: "1,000 endpoints on each node" },
  { at: "scale-table.100000", with: "100,000 entries in the table" },
  { at: "scale-connections.200000", with: "200,000 connections" },
] as const;

const TARGETS: readonly Target[] = [
  ratio("connection setup p50", SETUP, "p50Us", [PRELOAD, "host"], "<=", 1.1),
  ratio("connection setup p50", SETUP, "p50Us", [NOTIFY, "host"], "<=", 1.7),
  ratio("connection setup p50", SETUP, "p50Us", ["slim", PRELOAD], ">=", 5),
  ratio("connection setup p50", SETUP, "p50Us", ["slim", NOTIFY], ">=", 3),
  ratio("connect+request+response, 16 clients", CRR, "perSecond", [PRELOAD, "host"], ">=", 0.92),
  ratio("connect+request+response, 16 clients", CRR, "perSecond", [NOTIFY, "host"], ">=", 0.65),
  ratio("nginx proxy, short connections", PROXY, "perSecond", [PRELOAD, "slim"], ">=", 2.5),
  ratio("nginx proxy, short connections", PROXY, "perSecond", [PRELOAD, "vxlan"], ">=", 1.4),
  ratio("nginx proxy, short connections", PROXY, "perSecond", [PRELOAD, "host"], ">=", 0.9),
  ratio("memcached, a connection per request", CACHE, "perSecond", [PRELOAD, "slim"], ">=", 4),
  ratio("memcached, a connection per request", CACHE, "perSecond", [PRELOAD, "vxlan"], ">=", 1.4),
  ratio("memcached, a connection per request", CACHE, "perSecond", [PRELOAD, "host"], ">=", 0.9),
  ratio("request/response of 1 B, p50", "rr.1-bytes", "p50Us", [PRELOAD, "host"], "<=", 1.03),
  ratio("request/response of 1 B, p50", "rr.1-bytes", "p50Us", [NOTIFY, "host"], "<=", 1.03),
  ratio("bulk, 1 flow", "bulk.1-flow", "gbitPerSecond", [PRELOAD, "host"], ">=", 0.98),
  ratio("bulk, 1 flow", "bulk.1-flow", "gbitPerSecond", [NOTIFY, "host"], ">=", 0.98),
  {
    ...{ name: "CPU of the agents per connection, slimfast-preload", scenario: "crr", case: "16-clients" },
    ...{ network: PRELOAD, metric: "cpuNetworkUs", over: null, relation: "<=", limit: 6 },
  },
  ...([PRELOAD, NOTIFY] as const).map(
    (network): Target => ({
      ...{ name: `memory per idle connection beyond host, ${network}`, scenario: "idle", case: "connections" },
      ...{ network, metric: "bytesPerConnection", over: null, beyond: "host", unit: "B", relation: "<=", limit: 400 },
    }),
  ),
  {
    ...{
      name: "resident memory of an agent and its keeper, 1,000 endpoints",
      scenario: "scale-endpoints",
      case: "1000",
    },
    ...{ network: NOTIFY, metric: "agentMib", over: null, unit: "MiB", relation: "<=", limit: 150 },
  },
  ...GROWING.flatMap(({ at, with: what }) =>
    ([PRELOAD, NOTIFY] as const).map((network): Target => {
      const [scenario = "", caseName = ""] = at.split(".");
      return {
        ...{ name: `connection setup p50 with ${what}, to the smallest size, ${network}`, scenario, case: caseName },
        ...{ network, metric: "p50Us", over: null, isGrowth: true, relation: "<=", limit: FLAT },
      };
    }),
  ),
];

/** Of the scenarios that were run; what a target compares with may have been left out. */
export function suiteTargets(cases: readonly CaseResult[]): SuiteTarget[] {
  return TARGETS.flatMap((target) => {
    const result = cases.find((it) => it.scenario === target.scenario && it.case === target.case);
    return result ? [evaluate(target, result)] : [];
  });
}

function evaluate(target: Target, result: CaseResult): SuiteTarget {
  const { name, network, metric, over, beyond, isGrowth = false, unit = "us", relation, limit } = target;
  const medianOn = (on: NetworkName) => result.networks[on]?.[metric]?.median;
  const own = isGrowth ? result.growth?.[network]?.beyondHost?.value : medianOn(network);
  const base = over === null ? 1 : medianOn(over);
  const less = beyond === undefined ? 0 : medianOn(beyond);
  const described = { name, relation, limit, unit: over === null && !isGrowth ? unit : "x" };
  if (own === undefined || base === undefined || less === undefined)
    return { ...described, figure: null, outcome: "not measured" };
  const figure = Math.round(((own - less) / base) * 1_000) / 1_000;
  const isMet = relation === "<=" ? figure <= limit : figure >= limit;
  return { ...described, figure, outcome: isMet ? "met" : "missed" };
}
