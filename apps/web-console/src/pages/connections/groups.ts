/** Connections by who connects to whom, at which port. Pure. */
import type { ConnectionRecord } from "@slimfast/proto";
import { isInbound, isLive, servicePort } from "../../live/filter.js";

export interface Group {
  readonly key: string;
  readonly network: string;
  readonly from: string;
  readonly to: string;
  readonly port: number;
  live: number;
  ended: number;
  refused: number;
  bytes: number;
}

/** Adds records up. One connection counts once for each end that is listed. */
export class Grouping {
  readonly #found = new Map<string, Group>();

  add(records: readonly ConnectionRecord[]): void {
    for (const record of records) {
      const c = record.connection;
      if (!c) continue;
      const group = this.#groupOf(record, c);
      if (isLive(record)) group.live += 1;
      else if (record.error !== "") group.refused += 1;
      else group.ended += 1;
      group.bytes += Number(c.bytesSent) + Number(c.bytesReceived);
    }
  }

  #groupOf(record: ConnectionRecord, c: NonNullable<ConnectionRecord["connection"]>): Group {
    const port = servicePort(record);
    const peer = c.peerEndpoint || c.peer?.address || "?";
    const [from, to] = isInbound(record) ? [peer, c.endpoint] : [c.endpoint, peer];
    const key = `${c.network} ${from} ${to} ${port}`;
    const known = this.#found.get(key);
    if (known) return known;
    const group = { key, network: c.network, from, to, port, live: 0, ended: 0, refused: 0, bytes: 0 };
    this.#found.set(key, group);
    return group;
  }

  get busiestFirst(): Group[] {
    return [...this.#found.values()].sort(
      (a, b) => b.live + b.ended + b.refused - a.live - a.ended - a.refused || (a.key < b.key ? -1 : 1),
    );
  }
}
