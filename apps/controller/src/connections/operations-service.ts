/**
 * OperationsService: what this controller knows about connections, and the others' shares added unless the caller is one
 * of them (`local_only`).
 */
import { setImmediate as nextTurn, setTimeout as sleep } from "node:timers/promises";
import type * as proto from "@slimfast/proto";
import { type CallContext, ClientError, Status } from "nice-grpc";
import type { Logger } from "pino";
import { messageType } from "../domain/descriptors.js";
import { filterOf } from "../domain/filter/filter.js";
import { ClusterError, invalidField, notFound } from "../errors.js";
import { pageLimit } from "../services/paging.js";
import type { ClusterView } from "./cluster-view.js";
import {
  CUT_CONFIRM_MS,
  MAX_OPERATION_STREAMS,
  OVERVIEW_INTERVAL_MS,
  RECORDS_PER_TURN,
  TRAFFIC_INTERVAL_MS,
} from "./limits.js";
import { mergePages, NewestPage, readPlace } from "./listing.js";
import type { ConnectionRecord } from "./node-table.js";
import { mergeOverviews, OverviewMeter } from "./overview.js";
import { askPeers, followPeers, type Peer, type Peers } from "./peers.js";
import { mergeTrials, PolicyTrial } from "./policy-trial.js";
import type { ConnectionRegistry } from "./registry.js";
import type { ReportHub } from "./report-hub.js";
import { StreamLimit } from "./stream-limit.js";
import { Tail } from "./tail.js";
import { groupingOf, mergeEdges, TrafficCount } from "./traffic.js";

export interface OperationsServiceParts {
  readonly registry: ConnectionRegistry;
  readonly reports: ReportHub;
  readonly view: ClusterView;
  readonly peers: Peers;
  readonly startedMs: number;
  /** Events that tails have dropped since the controller started. */
  readonly tailDrops: { count: number };
  readonly log: Logger;
}

/** Goes through any number of records, and lets other work have its turn meanwhile. */
async function each<Item>(items: Iterable<Item>, visit: (item: Item) => void): Promise<void> {
  let count = 0;
  for (const item of items) {
    visit(item);
    count += 1;
    if (count % RECORDS_PER_TURN === 0) await nextTurn();
  }
}

export function operationsService(parts: OperationsServiceParts): proto.OperationsServiceImplementation {
  const { registry, reports, view, peers, log, tailDrops } = parts;
  const streams = new StreamLimit(MAX_OPERATION_STREAMS);
  const recordFilter = (filter: string) => filterOf<ConnectionRecord>(messageType("ConnectionRecord"), filter);

  /** Shares of the other controllers as they come in, until the signal. */
  function collectShares<Share>(
    open: (peer: Peer, signal: AbortSignal) => AsyncIterable<Share>,
    signal: AbortSignal,
  ): ReadonlyMap<string, Share> {
    const shares = new Map<string, Share>();
    void followPeers({
      peers,
      log,
      signal,
      open,
      onItem: (peer, share) => shares.set(peer, share),
      onLost: (peer) => shares.delete(peer),
    });
    return shares;
  }

  async function* overviews(
    { localOnly }: proto.WatchOverviewRequest,
    signal: AbortSignal,
  ): AsyncGenerator<proto.WatchOverviewResponse, void, undefined> {
    const meter = new OverviewMeter(registry, view);
    const shares = localOnly
      ? undefined
      : collectShares((peer, until) => peer.operations.watchOverview({ localOnly: true }, { signal: until }), signal);
    while (!signal.aborted) {
      const own = meter.read(Date.now(), tailDrops.count);
      yield shares ? mergeOverviews(own, [...shares.values()]) : own;
      await sleep(OVERVIEW_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async function* edges(
    request: proto.WatchTrafficRequest,
    signal: AbortSignal,
  ): AsyncGenerator<proto.WatchTrafficResponse, void, undefined> {
    const groupOf = groupingOf(request, view);
    const matches = recordFilter(request.filter);
    const shares = request.localOnly
      ? undefined
      : collectShares(
          (peer, until) => peer.operations.watchTraffic({ ...request, localOnly: true }, { signal: until }),
          signal,
        );
    while (!signal.aborted) {
      const count = new TrafficCount(groupOf, Date.now(), registry.endedSinceMs);
      await each(registry.live(), (live) => matches(live.record) && count.addLive(live));
      await each([...registry.ended()], (ended) => matches(ended.record) && count.addEnded(ended));
      const others = [...(shares?.values() ?? [])];
      const { edges, omitted } = mergeEdges([count.edges(), ...others.map((other) => other.edges)]);
      yield { edges, omitted: others.reduce((sum, other) => sum + other.omitted, omitted) };
      await sleep(TRAFFIC_INTERVAL_MS, undefined, { signal }).catch(() => undefined);
    }
  }

  async function* tail(
    { filter, localOnly, includeUpdates }: proto.TailConnectionsRequest,
    signal: AbortSignal,
  ): AsyncGenerator<proto.TailConnectionsResponse, void, undefined> {
    const onDrop = (count: number) => {
      tailDrops.count += count;
    };
    const reader = new Tail(recordFilter(filter), { onDrop, wantsUpdates: includeUpdates });
    const stop = registry.onChange((change) => reader.take(change));
    /** What each peer's tail has said so far that it dropped. */
    const dropped = new Map<string, bigint>();
    if (!localOnly) {
      void followPeers({
        peers,
        log,
        signal,
        open: (peer, until) =>
          peer.operations.tailConnections({ filter, localOnly: true, includeUpdates }, { signal: until }),
        onItem: (peer, response) => {
          const since = Number(response.dropped - (dropped.get(peer) ?? 0n));
          dropped.set(peer, response.dropped);
          reader.takeFromPeer({ ...response, dropped: since });
        },
        onLost: (peer) => {
          dropped.delete(peer);
          // What its nodes did meanwhile is not known.
          reader.takeFromPeer({ events: [], updates: [], dropped: 0, relearnedNodes: [""] });
        },
      });
    }
    try {
      yield* reader.batches(signal);
    } finally {
      stop();
    }
  }

  async function localPage(request: proto.ListConnectionRecordsRequest, limit: number) {
    const page = new NewestPage(limit, readPlace(request.pageToken));
    const matches = recordFilter(request.filter);
    await each(registry.live(), ({ record }) => matches(record) && page.add(record));
    if (request.includeClosed) {
      await each([...registry.ended()], ({ record }) => matches(record) && page.add(record));
    }
    return page.page();
  }

  async function localTrial(request: proto.TryPolicyRequest): Promise<proto.TryPolicyResponse> {
    const trial = new PolicyTrial(request, view);
    await each(registry.live(), ({ record }) => trial.add(record));
    await each([...registry.ended()], ({ record }) => trial.add(record));
    return trial.answer(Date.now() - (registry.endedSinceMs ?? parts.startedMs));
  }

  return {
    async *watchOverview(request: proto.WatchOverviewRequest, { signal }: CallContext) {
      yield* streams.run(signal, (until) => overviews(request, until));
    },

    async *watchTraffic(request: proto.WatchTrafficRequest, { signal }: CallContext) {
      yield* streams.run(signal, (until) => edges(request, until));
    },

    async *tailConnections(request: proto.TailConnectionsRequest, { signal }: CallContext) {
      yield* streams.run(signal, (until) => tail(request, until));
    },

    async listConnectionRecords(request: proto.ListConnectionRecordsRequest) {
      const limit = pageLimit(request.pageSize);
      const own = await localPage(request, limit);
      if (request.localOnly) return own;
      const { answers } = await askPeers(peers, log, (peer, signal) =>
        peer.operations.listConnectionRecords({ ...request, localOnly: true }, { signal }),
      );
      return mergePages([own, ...answers], limit);
    },

    async cutConnection({ id, localOnly }: proto.CutConnectionRequest) {
      const [, node = "", cookie = ""] = /^([^/]+)\/(\d{1,20})$/.exec(id) ?? [];
      if (node === "") {
        if (/^[^/]+\/-\d+$/.test(id)) throw notFound("connection", id);
        throw invalidField("id", "must be NODE/COOKIE, as in ConnectionRecord.id");
      }
      if (localOnly || reports.isReporting(node)) {
        await reports.cut(node, BigInt(cookie), CUT_CONFIRM_MS);
        return {};
      }
      await cutByPeer(node, id);
      return {};
    },

    async tryPolicy(request: proto.TryPolicyRequest) {
      const own = await localTrial(request);
      if (request.localOnly) return own;
      const { answers } = await askPeers(peers, log, (peer, signal) =>
        peer.operations.tryPolicy({ ...request, localOnly: true }, { signal }),
      );
      return mergeTrials([own, ...answers]);
    },
  };

  /** The controller to which the node reports cuts it; the others answer that they do not know the node. */
  async function cutByPeer(node: string, id: string): Promise<void> {
    const asked = await Promise.allSettled(
      peers.list().map((peer) =>
        peer.operations.cutConnection(
          { id, localOnly: true },
          // The node's confirmation takes its time.
          { signal: AbortSignal.timeout(2 * CUT_CONFIRM_MS) },
        ),
      ),
    );
    if (asked.some(({ status }) => status === "fulfilled")) return;
    for (const answer of asked) {
      if (answer.status === "rejected" && answer.reason instanceof ClientError) {
        if (answer.reason.code === Status.NOT_FOUND) throw notFound("connection", id);
      }
    }
    throw new ClusterError("unavailable", `node ${node} is not connected: its connections cannot be reached`, {
      resource: { type: "node", name: node },
    });
  }
}
