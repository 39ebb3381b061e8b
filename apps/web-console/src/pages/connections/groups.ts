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

/** The busiest first. One connection counts once for each end that is listed. */
export function groupsOf(records: readonly ConnectionRecord[]): Group[] {
  const found = new Map<string, Group>();
  for (const record of records) {
    const c = record.connection;
    if (!c) continue;
    const port = servicePort(record);
    const peer = c.peerEndpoint || c.peer?.address || "?";
    const [from, to] = isInbound(record) ? [peer, c.endpoint] : [c.endpoint, peer];
    const key = `${c.network} ${from} ${to} ${port}`;
    let group = found.get(key);
    if (!group) {
      group = { key, network: c.network, from, to, port, live: 0, ended: 0, refused: 0, bytes: 0 };
      found.set(key, group);
    }
    if (isLive(record)) group.live += 1;
    else if (record.error !== "") group.refused += 1;
    else group.ended += 1;
    group.bytes += Number(c.bytesSent + c.bytesReceived);
  }
  return [...found.values()].sort(
    (a, b) => b.live + b.ended + b.refused - a.live - a.ended - a.refused || (a.key < b.key ? -1 : 1),
  );
}
