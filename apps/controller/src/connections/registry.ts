/**
 * What this controller knows of the connections of the nodes that report to it: the live ones, the last that closed or
 * were refused, and totals. Pure: the time is passed in, and who wants to hear of changes registers a listener.
 *
 * Memory is bounded: beyond the limit live connections are counted and not kept; their events still reach the listeners.
 */
import * as proto from "@slimfast/proto";
import { RATE_WINDOW_MS } from "./limits.js";
import { type ConnectionRecord, connectionBytes, type LiveConnection, NodeTable } from "./node-table.js";
import { Recent } from "./recent.js";
import { checkedConnection, checkedCounters, checkedEvent } from "./reported.js";
import { SetupTimesWindow } from "./setup-times.js";

export interface RegistryBounds {
  readonly maxLive: number;
  readonly maxRecent: number;
}

/** Since the controller started. */
export interface ConnectionTotals {
  opened: number;
  closed: number;
  refused: number;
  /** Those of the refused that a policy did not allow. */
  denied: number;
  /** Events that agents had to drop. */
  dropped: number;
  /** Live connections that were not kept, because there were too many. */
  unkept: number;
}

/** A connection that is over. */
export interface EndedConnection {
  readonly record: ConnectionRecord;
  readonly endedMs: number;
  /** What it carried since it was last reported as a live one. */
  readonly lastBytes: number;
}

export interface RegistryChange {
  /** What happened, in order. */
  readonly events: readonly ConnectionRecord[];
  /** Events that are missing before these. */
  readonly dropped: number;
  /** The node whose live connections were learnt anew or forgotten. */
  readonly relearned?: string;
  /** Live connections with new values. */
  readonly updates?: readonly ConnectionRecord[];
}

const { CONNECTION_EVENT_KIND_CLOSED, CONNECTION_EVENT_KIND_REFUSED } = proto.ConnectionEventKind;
const { CONNECTION_EVENT_KIND_OPENED, CONNECTION_EVENT_KIND_ACCEPTED } = proto.ConnectionEventKind;
const TIERS = [proto.Tier.TIER_NOTIFY, proto.Tier.TIER_PRELOAD] as const;

/** Whether a policy kept the connection from being established. */
export function isDenied({ kind, error, connection }: ConnectionRecord): boolean {
  return (
    kind === CONNECTION_EVENT_KIND_REFUSED && (error === "EPERM" || connection.verdict === proto.Verdict.VERDICT_DENIED)
  );
}

export class ConnectionRegistry {
  readonly #bounds: RegistryBounds;
  readonly #nodes = new Map<string, NodeTable>();
  readonly #ended: Recent<EndedConnection>;
  readonly #setupTimes = new Map(TIERS.map((tier) => [tier, new SetupTimesWindow(RATE_WINDOW_MS)]));
  readonly #dataPath = new Map<string, bigint>();
  readonly #listeners = new Set<(change: RegistryChange) => void>();
  readonly totals: ConnectionTotals = { opened: 0, closed: 0, refused: 0, denied: 0, dropped: 0, unkept: 0 };
  #liveCount = 0;
  #lastRefused: bigint;

  /** @param startedMs Makes the ids of refused connections differ from those of other controllers and earlier runs. */
  constructor(bounds: RegistryBounds, startedMs: number) {
    this.#bounds = bounds;
    this.#ended = new Recent(bounds.maxRecent);
    this.#lastRefused = BigInt(Math.trunc(startedMs)) * 1_000_000n;
  }

  get liveCount(): number {
    return this.#liveCount;
  }

  /** The node's table, if it reports to this controller. */
  node(name: string): NodeTable | undefined {
    return this.#nodes.get(name);
  }

  *live(): Generator<LiveConnection, void, undefined> {
    for (const table of this.#nodes.values()) yield* table.live();
  }

  /** The last that closed or were refused, in no particular order. */
  ended(): IterableIterator<EndedConnection> {
    return this.#ended[Symbol.iterator]();
  }

  /** Since when all that ended is kept; undefined: ever since this began. */
  get endedSinceMs(): number | undefined {
    return this.#ended.isFull ? this.#ended.oldest?.endedMs : undefined;
  }

  setupTimes(nowMs: number): Map<proto.Tier, ReadonlyMap<number, number>> {
    return new Map([...this.#setupTimes].map(([tier, window]) => [tier, window.distribution(nowMs)]));
  }

  /** Sums of the kernel counters of all nodes, since this controller started. */
  get dataPathCounters(): ReadonlyMap<string, bigint> {
    return this.#dataPath;
  }

  /** Returns the way to stop that. */
  onChange(listener: (change: RegistryChange) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Takes what a node reports.
   *
   * @throws ClusterError `invalid_argument` if something in it is malformed; nothing of it is taken then.
   */
  report(node: string, request: proto.ReportRequest, nowMs: number): void {
    const snapshot = request.snapshot?.connections.map((connection, index) =>
      checkedConnection(connection, node, `snapshot.connections[${index}]`),
    );
    for (const [index, event] of request.events.entries()) checkedEvent(event, node, index);
    for (const [index, update] of request.updates.entries()) checkedConnection(update, node, `updates[${index}]`);
    const counters = checkedCounters(request.counters);

    const table = this.#nodes.get(node) ?? new NodeTable(node);
    this.#nodes.set(node, table);
    if (snapshot) this.#replace(table, snapshot, nowMs);
    const events = request.events.map((event) => this.#apply(table, event, nowMs));
    // One that is not known has closed meanwhile, or was not kept.
    const updates = request.updates
      .filter(({ cookie }) => table.has(cookie))
      .map((update) => this.#update(table, update, nowMs));
    for (const [name, growth] of table.count(counters)) {
      this.#dataPath.set(name, (this.#dataPath.get(name) ?? 0n) + growth);
    }
    const dropped = Number(request.dropped);
    this.totals.dropped += dropped;
    if (events.length > 0 || dropped > 0 || snapshot || updates.length > 0) {
      this.#announce({
        events,
        dropped,
        ...(snapshot ? { relearned: node } : {}),
        ...(updates.length > 0 ? { updates } : {}),
      });
    }
  }

  /** Forgets the live connections of a node that does not report any more. */
  forget(node: string): void {
    const table = this.#nodes.get(node);
    if (!table) return;
    this.#nodes.delete(node);
    this.#liveCount -= table.liveCount;
    this.#announce({ events: [], dropped: 0, relearned: node });
  }

  #announce(change: RegistryChange): void {
    for (const listener of this.#listeners) listener(change);
  }

  #replace(table: NodeTable, connections: readonly proto.Connection[], nowMs: number): void {
    const present = new Set(connections.map(({ cookie }) => cookie));
    for (const { record } of [...table.live()]) {
      if (present.has(record.connection.cookie)) continue;
      // It ended while events were lost; nobody knows when.
      const ended = { ...record, kind: CONNECTION_EVENT_KIND_CLOSED, closeTime: new Date(nowMs) };
      this.#end(table, ended, nowMs);
    }
    for (const connection of connections) this.#update(table, connection, nowMs);
  }

  /** A live connection as it is now. */
  #update(table: NodeTable, connection: proto.Connection, nowMs: number): ConnectionRecord {
    const former = table.get(connection.cookie)?.record;
    const isOutbound = connection.direction === proto.Direction.DIRECTION_OUTBOUND;
    const record = {
      id: former?.id ?? `${table.node}/${connection.cookie}`,
      connection,
      kind: isOutbound ? CONNECTION_EVENT_KIND_OPENED : CONNECTION_EVENT_KIND_ACCEPTED,
      openTime: former?.openTime ?? new Date(nowMs - Number(connection.durationUs / 1_000n)),
      closeTime: undefined,
      error: "",
    };
    this.#keep(table, record, nowMs);
    return record;
  }

  #apply(table: NodeTable, event: proto.ConnectionEvent, nowMs: number): ConnectionRecord {
    const { kind, time, error } = event;
    const connection = event.connection as proto.Connection;
    const id = `${table.node}/${connection.cookie}`;
    if (kind === CONNECTION_EVENT_KIND_REFUSED) {
      this.#lastRefused += 1n;
      const refusedId = `${table.node}/-${this.#lastRefused}`;
      const record = { id: refusedId, connection, kind, openTime: time, closeTime: time, error };
      this.totals.refused += 1;
      if (isDenied(record)) this.totals.denied += 1;
      this.#ended.push({ record, endedMs: nowMs, lastBytes: 0 });
      return record;
    }
    if (kind === CONNECTION_EVENT_KIND_CLOSED) {
      const known = table.get(connection.cookie)?.record.openTime;
      const openTime = known ?? new Date((time?.getTime() ?? nowMs) - Number(connection.durationUs / 1_000n));
      const record = { id, connection, kind, openTime, closeTime: time, error };
      this.totals.closed += 1;
      this.#end(table, record, nowMs);
      return record;
    }
    const record = { id, connection, kind, openTime: time, closeTime: undefined, error };
    this.totals.opened += 1;
    table.opened += 1;
    if (kind === CONNECTION_EVENT_KIND_OPENED && connection.setupUs > 0) {
      this.#setupTimes.get(connection.tier as (typeof TIERS)[number])?.note(connection.setupUs, nowMs);
    }
    this.#keep(table, record, nowMs);
    return record;
  }

  #keep(table: NodeTable, record: ConnectionRecord, nowMs: number): void {
    if (!table.has(record.connection.cookie)) {
      if (this.#liveCount >= this.#bounds.maxLive) {
        this.totals.unkept += 1;
        return;
      }
      this.#liveCount += 1;
    }
    table.put(record, nowMs);
  }

  #end(table: NodeTable, record: ConnectionRecord, nowMs: number): void {
    const former = table.delete(record.connection.cookie);
    if (former) this.#liveCount -= 1;
    const before = former ? connectionBytes(former.record.connection) : 0;
    const lastBytes = Math.max(0, connectionBytes(record.connection) - before);
    this.#ended.push({ record, endedMs: nowMs, lastBytes });
  }
}
