/**
 * Who talks to whom: edges between endpoints, nodes or labels, from live and lately ended connections. Pure.
 *
 * A connection between two endpoints is reported by both of their nodes; it is counted where it is outbound. Inbound
 * ones count if the peer is no endpoint.
 */
import * as proto from "@slimfast/proto";
import { invalidField } from "../errors.js";
import type { ClusterView } from "./cluster-view.js";
import { MAX_TRAFFIC_EDGES, RATE_WINDOW_MS } from "./limits.js";
import type { ConnectionRecord, LiveConnection } from "./node-table.js";
import type { EndedConnection } from "./registry.js";

const OUTSIDE = "outside";

export type Grouping = (network: string, endpoint: string) => string;

export function groupingOf(
  { grouping, labelKey }: Pick<proto.WatchTrafficRequest, "grouping" | "labelKey">,
  view: ClusterView,
): Grouping {
  switch (grouping) {
    case proto.TrafficGrouping.TRAFFIC_GROUPING_UNSPECIFIED:
    case proto.TrafficGrouping.TRAFFIC_GROUPING_ENDPOINT:
      return (network, endpoint) => `${network}/${endpoint}`;
    case proto.TrafficGrouping.TRAFFIC_GROUPING_NODE:
      return (network, endpoint) => view.endpoint(network, endpoint)?.node ?? OUTSIDE;
    case proto.TrafficGrouping.TRAFFIC_GROUPING_LABEL:
      if (labelKey === "") throw invalidField("label_key", "is missing: which label shall group?");
      return (network, endpoint) => {
        const labels = view.endpoint(network, endpoint)?.labels ?? {};
        return Object.hasOwn(labels, labelKey) ? (labels[labelKey] ?? "") : "";
      };
    default:
      throw invalidField("grouping", `${grouping} is not a grouping`);
  }
}

export class TrafficCount {
  readonly #groupOf: Grouping;
  readonly #nowMs: number;
  /** How far back all that ended is known. */
  readonly #windowMs: number;
  readonly #edges = new Map<string, proto.TrafficEdge>();

  /** @param endedSinceMs Since when all that ended is known; undefined: ever since. */
  constructor(groupOf: Grouping, nowMs: number, endedSinceMs: number | undefined) {
    this.#groupOf = groupOf;
    this.#nowMs = nowMs;
    this.#windowMs = Math.max(1_000, Math.min(RATE_WINDOW_MS, nowMs - (endedSinceMs ?? 0)));
  }

  addLive({ record, bytesPerSecond, reportedMs }: LiveConnection): void {
    const edge = this.#edgeOf(record);
    if (!edge) return;
    edge.liveConnections += 1;
    if (this.#isRecent(record.openTime?.getTime())) edge.openedPerSecond += this.#perSecond(1);
    // Updates come only for those that carried something.
    if (this.#nowMs - reportedMs <= RATE_WINDOW_MS) edge.bytesPerSecond += bytesPerSecond;
  }

  addEnded({ record, endedMs, lastBytes }: EndedConnection): void {
    if (!this.#isRecent(endedMs)) return;
    const edge = this.#edgeOf(record);
    if (!edge) return;
    edge.bytesPerSecond += this.#perSecond(lastBytes);
    if (record.kind === proto.ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED) {
      edge.refusedPerSecond += this.#perSecond(1);
    } else if (this.#isRecent(record.openTime?.getTime())) edge.openedPerSecond += this.#perSecond(1);
  }

  edges(): proto.TrafficEdge[] {
    return [...this.#edges.values()];
  }

  #perSecond(count: number): number {
    return (count * 1_000) / this.#windowMs;
  }

  #isRecent(timeMs: number | undefined): boolean {
    return timeMs !== undefined && this.#nowMs - timeMs <= this.#windowMs;
  }

  #edgeOf({ connection }: ConnectionRecord): proto.TrafficEdge | undefined {
    const { direction, network, endpoint, peerEndpoint } = connection;
    const isInbound = direction === proto.Direction.DIRECTION_INBOUND;
    if (isInbound && peerEndpoint !== "") return undefined;
    const own = this.#groupOf(network, endpoint);
    const peer = peerEndpoint === "" ? OUTSIDE : this.#groupOf(network, peerEndpoint);
    return edgeBetween(this.#edges, isInbound ? peer : own, isInbound ? own : peer);
  }
}

function edgeBetween(edges: Map<string, proto.TrafficEdge>, from: string, to: string): proto.TrafficEdge {
  const key = JSON.stringify([from, to]);
  let edge = edges.get(key);
  if (!edge) {
    edge = { from, to, liveConnections: 0, openedPerSecond: 0, bytesPerSecond: 0, refusedPerSecond: 0 };
    edges.set(key, edge);
  }
  return edge;
}

/** The busiest of all edges; those of several controllers are added. */
export function mergeEdges(shares: readonly (readonly proto.TrafficEdge[])[]): proto.WatchTrafficResponse {
  const merged = new Map<string, proto.TrafficEdge>();
  for (const share of shares.flat()) {
    const edge = edgeBetween(merged, share.from, share.to);
    edge.liveConnections += share.liveConnections;
    edge.openedPerSecond += share.openedPerSecond;
    edge.bytesPerSecond += share.bytesPerSecond;
    edge.refusedPerSecond += share.refusedPerSecond;
  }
  const busiest = [...merged.values()].sort(
    (one, other) =>
      other.bytesPerSecond - one.bytesPerSecond ||
      other.openedPerSecond + other.refusedPerSecond - one.openedPerSecond - one.refusedPerSecond ||
      other.liveConnections - one.liveConnections,
  );
  return {
    edges: busiest.slice(0, MAX_TRAFFIC_EDGES),
    omitted: Math.max(0, busiest.length - MAX_TRAFFIC_EDGES),
  };
}
