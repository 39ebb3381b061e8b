/** The network of a live connection, on whichever controller its node reports to: what a scope is checked by. */
import { ListConnectionRecordsRequest } from "@slimfast/proto";
import type { Logger } from "pino";
import { askPeers, type Peers } from "./peers.js";
import type { ConnectionRegistry } from "./registry.js";

/** @param id As in ConnectionRecord: "NODE/COOKIE". */
export async function networkOfConnection(
  parts: { readonly registry: ConnectionRegistry; readonly peers: Peers; readonly log: Logger },
  id: string,
): Promise<string | undefined> {
  const [, node = "", cookie = ""] = /^([a-z0-9-]+)\/(\d{1,20})$/.exec(id) ?? [];
  if (node === "") return undefined;
  const table = parts.registry.node(node);
  if (table) return table.get(BigInt(cookie))?.record.connection?.network;
  const request = ListConnectionRecordsRequest.fromPartial({ pageSize: 1, filter: `id = "${id}"`, localOnly: true });
  const { answers } = await askPeers(parts.peers, parts.log, (peer, signal) =>
    peer.operations.listConnectionRecords(request, { signal }),
  );
  return answers.flatMap(({ connections }) => connections)[0]?.connection?.network;
}
