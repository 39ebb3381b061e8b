/**
 * The live connections of one node and what was counted there. Pure.
 *
 * Records are never changed, only replaced: readers may keep them.
 */
import * as proto from "@slimfast/proto";

/** A record with its connection, which the messages of the API leave open. */
export type ConnectionRecord = proto.ConnectionRecord & { readonly connection: proto.Connection };

export interface LiveConnection {
  readonly record: ConnectionRecord;
  /** In both directions together, between the last two reports. */
  readonly bytesPerSecond: number;
  readonly reportedMs: number;
}

export function connectionBytes({ bytesSent, bytesReceived }: proto.Connection): number {
  return Number(bytesSent) + Number(bytesReceived);
}

export class NodeTable {
  readonly node: string;
  readonly #live = new Map<bigint, LiveConnection>();
  /** Live inbound connections by their port on the host. */
  readonly #inboundByPort = new Map<number, number>();
  #counters = new Map<string, bigint>();
  /** Connections that were established since the node began to report. */
  opened = 0;

  constructor(node: string) {
    this.node = node;
  }

  get liveCount(): number {
    return this.#live.size;
  }

  live(): IterableIterator<LiveConnection> {
    return this.#live.values();
  }

  get(cookie: bigint): LiveConnection | undefined {
    return this.#live.get(cookie);
  }

  has(cookie: bigint): boolean {
    return this.#live.has(cookie);
  }

  inboundOn(hostPort: number): number {
    return this.#inboundByPort.get(hostPort) ?? 0;
  }

  put(record: ConnectionRecord, nowMs: number): void {
    const { cookie } = record.connection;
    const former = this.#live.get(cookie);
    if (former) this.#countInbound(former.record.connection, -1);
    this.#countInbound(record.connection, 1);
    this.#live.set(cookie, { record, bytesPerSecond: bytesPerSecond(former, record, nowMs), reportedMs: nowMs });
  }

  delete(cookie: bigint): LiveConnection | undefined {
    const former = this.#live.get(cookie);
    if (!former) return undefined;
    this.#live.delete(cookie);
    this.#countInbound(former.record.connection, -1);
    return former;
  }

  /**
   * Takes new values of the node's counters. Returns by how much each has grown since the node reports to this
   * controller; a restarted agent counts from 0.
   */
  count(counters: readonly (readonly [string, bigint])[]): [string, bigint][] {
    const grown: [string, bigint][] = [];
    const next = new Map<string, bigint>();
    for (const [name, value] of counters) {
      const before = this.#counters.get(name) ?? value;
      const growth = value >= before ? value - before : value;
      if (growth > 0n) grown.push([name, growth]);
      next.set(name, value);
    }
    this.#counters = next;
    return grown;
  }

  #countInbound({ direction, underlayLocal }: proto.Connection, difference: 1 | -1): void {
    if (direction !== proto.Direction.DIRECTION_INBOUND || !underlayLocal) return;
    const count = this.inboundOn(underlayLocal.port) + difference;
    if (count === 0) this.#inboundByPort.delete(underlayLocal.port);
    else this.#inboundByPort.set(underlayLocal.port, count);
  }
}

function bytesPerSecond(former: LiveConnection | undefined, record: ConnectionRecord, nowMs: number): number {
  if (!former || nowMs <= former.reportedMs) return former?.bytesPerSecond ?? 0;
  const bytes = connectionBytes(record.connection) - connectionBytes(former.record.connection);
  return bytes > 0 ? (bytes * 1_000) / (nowMs - former.reportedMs) : 0;
}
