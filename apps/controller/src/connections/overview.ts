/** The cluster at a glance: this controller's share of it, and the sum of several controllers' shares. Pure. */
import type * as proto from "@slimfast/proto";
import type { ClusterView } from "./cluster-view.js";
import type { ConnectionRegistry, ConnectionTotals } from "./registry.js";
import { addDistribution, countOf, type Distribution, quantilesUs } from "./setup-times.js";

interface Reading {
  readonly timeMs: number;
  readonly totals: ConnectionTotals;
  /** Connections opened, by node. */
  readonly opened: ReadonlyMap<string, number>;
}

function setupTimesOf(tier: proto.Tier, distribution: ReadonlyMap<number, number>): proto.SetupTimes {
  const [p50Us = 0, p90Us = 0, p99Us = 0] = quantilesUs(distribution, [0.5, 0.9, 0.99]);
  return { tier, count: countOf(distribution), p50Us, p90Us, p99Us, buckets: Object.fromEntries(distribution) };
}

/** Readings of the registry, with rates since the one before. */
export class OverviewMeter {
  readonly #registry: ConnectionRegistry;
  readonly #view: ClusterView;
  #before: Reading | undefined;

  constructor(registry: ConnectionRegistry, view: ClusterView) {
    this.#registry = registry;
    this.#view = view;
  }

  /** @param droppedByTails Events that tails of this controller have dropped since it started. */
  read(nowMs: number, droppedByTails: number): proto.WatchOverviewResponse {
    const registry = this.#registry;
    const nodes = this.#view.nodes();
    const opened = new Map(nodes.map(({ name }) => [name, registry.node(name)?.opened ?? 0]));
    const reading: Reading = { timeMs: nowMs, totals: { ...registry.totals }, opened };
    const before = this.#before ?? reading;
    this.#before = reading;
    const seconds = (nowMs - before.timeMs) / 1_000;
    // A node that has come back counts from 0 again.
    const rate = (now: number, then: number): number => (seconds > 0 && now > then ? (now - then) / seconds : 0);
    const rateOf = (total: keyof ConnectionTotals): number => rate(reading.totals[total], before.totals[total]);
    return {
      time: new Date(nowMs),
      nodes: nodes.length,
      nodesConnected: nodes.filter(({ isConnected }) => isConnected).length,
      networks: this.#view.networkCount,
      endpoints: this.#view.endpointCount,
      liveConnections: registry.liveCount,
      openedPerSecond: rateOf("opened"),
      refusedPerSecond: rateOf("refused"),
      deniedPerSecond: rateOf("denied"),
      closedPerSecond: rateOf("closed"),
      setupTimes: [...registry.setupTimes(nowMs)].map(([tier, distribution]) => setupTimesOf(tier, distribution)),
      nodeOverviews: nodes.map(({ name, isConnected, endpoints, frontPorts: { first, count } }) => {
        const table = registry.node(name);
        return {
          node: name,
          connected: isConnected,
          endpoints,
          liveConnections: table?.liveCount ?? 0,
          openedPerSecond: rate(opened.get(name) ?? 0, before.opened.get(name) ?? 0),
          frontPortConnections: Array.from({ length: count }, (_, index) => table?.inboundOn(first + index) ?? 0),
        };
      }),
      droppedEvents: BigInt(registry.totals.dropped + droppedByTails),
    };
  }
}

/**
 * Adds the shares of other controllers to one's own. The cluster's state is the same everywhere; what agents report is
 * known to one controller each.
 */
export function mergeOverviews(
  own: proto.WatchOverviewResponse,
  others: readonly proto.WatchOverviewResponse[],
): proto.WatchOverviewResponse {
  const all = [own, ...others];
  const sum = (read: (overview: proto.WatchOverviewResponse) => number): number =>
    all.reduce((total, overview) => total + read(overview), 0);
  const shares = new Map<string, proto.NodeOverview[]>();
  for (const { nodeOverviews } of others) {
    for (const overview of nodeOverviews) {
      const known = shares.get(overview.node);
      if (known) known.push(overview);
      else shares.set(overview.node, [overview]);
    }
  }
  const nodeOverviews = own.nodeOverviews.map((node) => (shares.get(node.node) ?? []).reduce(addNode, node));
  return {
    ...own,
    nodesConnected: nodeOverviews.filter(({ connected }) => connected).length,
    liveConnections: sum(({ liveConnections }) => liveConnections),
    openedPerSecond: sum(({ openedPerSecond }) => openedPerSecond),
    refusedPerSecond: sum(({ refusedPerSecond }) => refusedPerSecond),
    deniedPerSecond: sum(({ deniedPerSecond }) => deniedPerSecond),
    closedPerSecond: sum(({ closedPerSecond }) => closedPerSecond),
    setupTimes: mergeSetupTimes(all.flatMap(({ setupTimes }) => setupTimes)),
    nodeOverviews,
    droppedEvents: all.reduce((total, { droppedEvents }) => total + droppedEvents, 0n),
  };
}

function addNode(one: proto.NodeOverview, other: proto.NodeOverview): proto.NodeOverview {
  return {
    ...one,
    connected: one.connected || other.connected,
    liveConnections: one.liveConnections + other.liveConnections,
    openedPerSecond: one.openedPerSecond + other.openedPerSecond,
    frontPortConnections: one.frontPortConnections.map(
      (count, index) => count + (other.frontPortConnections[index] ?? 0),
    ),
  };
}

function mergeSetupTimes(all: readonly proto.SetupTimes[]): proto.SetupTimes[] {
  const byTier = new Map<proto.Tier, Distribution>();
  for (const { tier, buckets } of all) {
    const distribution = byTier.get(tier) ?? new Map<number, number>();
    addDistribution(distribution, new Map(Object.entries(buckets).map(([bucket, count]) => [Number(bucket), count])));
    byTier.set(tier, distribution);
  }
  // Only other controllers have a use for the buckets.
  return [...byTier].map(([tier, distribution]) => ({ ...setupTimesOf(tier, distribution), buckets: {} }));
}
