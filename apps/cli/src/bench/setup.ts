/**
 * The comparison of connection setup, request/response and throughput. Rounds are interleaved, and each begins with
 * another configuration, so that whatever else the machine does meets all of them; medians over the rounds are kept.
 */
import type { ClusterPlan } from "../cluster/plan.js";
import {
  type Configuration,
  type ConfigurationName,
  closeConfigurations,
  openConfigurations,
  type Placement,
  twoNodes,
} from "./configurations.js";
import type { ConnectTimes } from "./run-bench.js";
import { medians } from "./statistics.js";

export interface SetupOptions {
  readonly rounds: number;
  /** Connections per configuration and round. */
  readonly connections: number;
  /** Round trips on one connection per configuration and round; 0 leaves the measurement out. */
  readonly requests: number;
  /** Seconds of bulk transfer per configuration and round; 0 leaves the measurement out. */
  readonly bulkSeconds: number;
  readonly placement: Placement;
}

export interface SetupReport {
  readonly setup: Record<ConfigurationName, ConnectTimes>;
  readonly requestResponse: Record<ConfigurationName, ConnectTimes> | null;
  readonly bulk: Record<ConfigurationName, { gbitPerSecond: number }> | null;
  /** p50 of setup over the host's, of request/response over the host's, throughput over the host's. */
  readonly ratios: Record<ConfigurationName, { setup: number; requestResponse: number | null; bulk: number | null }>;
}

interface Samples {
  readonly connect: ConnectTimes[];
  readonly rr: ConnectTimes[];
  readonly bulk: { gbitPerSecond: number }[];
}

const TIMES = ["p50Us", "p99Us", "perSecond"] as const;

/** @param note is told what is being measured */
export async function measureSetup(
  plan: ClusterPlan,
  options: SetupOptions,
  signal: AbortSignal,
  note: (text: string) => void,
): Promise<SetupReport> {
  const configurations = await openConfigurations(twoNodes(plan), options.placement, signal);
  const samples = new Map(configurations.map(({ name }) => [name, { connect: [], rr: [], bulk: [] } as Samples]));
  try {
    for (let round = 0; round < options.rounds; round += 1) {
      for (const configuration of rotated(configurations, round)) {
        signal.throwIfAborted();
        note(`round ${round + 1} of ${options.rounds}: ${configuration.name}`);
        const into = samples.get(configuration.name);
        if (into) await measureRound(configuration, options, into);
      }
    }
  } finally {
    await closeConfigurations(configurations);
  }
  return summarize(samples, options);
}

async function measureRound(configuration: Configuration, options: SetupOptions, into: Samples): Promise<void> {
  const { target } = configuration;
  const count = String(options.connections);
  into.connect.push((await configuration.client(["connect", "--to", target, "--count", count])) as ConnectTimes);
  if (options.requests > 0) {
    const requests = String(options.requests);
    into.rr.push((await configuration.client(["rr", "--to", target, "--count", requests])) as ConnectTimes);
  }
  if (options.bulkSeconds > 0) {
    const seconds = String(options.bulkSeconds);
    into.bulk.push(
      (await configuration.client(["bulk", "--to", target, "--seconds", seconds])) as { gbitPerSecond: number },
    );
  }
}

/** The list, begun at another element in each round. */
export function rotated<Item>(items: readonly Item[], by: number): Item[] {
  const start = items.length === 0 ? 0 : by % items.length;
  return [...items.slice(start), ...items.slice(0, start)];
}

function summarize(samples: ReadonlyMap<ConfigurationName, Samples>, options: SetupOptions): SetupReport {
  const each = <Value>(read: (samples: Samples) => Value) =>
    Object.fromEntries([...samples].map(([name, values]) => [name, read(values)])) as Record<ConfigurationName, Value>;
  const setup = each((values) => medians(values.connect, TIMES));
  const requestResponse = options.requests > 0 ? each((values) => medians(values.rr, TIMES)) : null;
  const bulk = options.bulkSeconds > 0 ? each((values) => medians(values.bulk, ["gbitPerSecond"])) : null;
  const ratio = (value: number, base: number) => Math.round((value / base) * 1_000) / 1_000;
  const names = [...samples.keys()];
  const ratios = Object.fromEntries(
    names.map((name) => [
      name,
      {
        setup: ratio(setup[name].p50Us, setup.host.p50Us),
        requestResponse: requestResponse && ratio(requestResponse[name].p50Us, requestResponse.host.p50Us),
        bulk: bulk && ratio(bulk[name].gbitPerSecond, bulk.host.gbitPerSecond),
      },
    ]),
  ) as SetupReport["ratios"];
  return { setup, requestResponse, bulk, ratios };
}
