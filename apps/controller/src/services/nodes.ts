/** What a transaction does with a node. */
import { isDeepStrictEqual } from "node:util";
import type * as proto from "@slimfast/proto";
import { messageType } from "../domain/descriptors.js";
import { checkEtag } from "../domain/etag.js";
import { type NewNode, type NodeChange, validNodeChange } from "../domain/requests/node.js";
import { type Node, nodeOwner } from "../domain/resources.js";
import { readUpdateMask } from "../domain/update-mask.js";
import { ClusterError, notFound } from "../errors.js";
import { nodeMessage } from "../messages.js";
import type { StoreReader, StoreTransaction } from "../store/store.js";
import { requireFree } from "./ports.js";

/** Which nodes have their agent's Sync stream open. */
export interface Presence {
  isConnected(node: string): boolean;
  /** Why the node does not have its present state; empty if it does. */
  syncError(node: string): string;
}

export function presentNode(node: Node, presence: Presence): proto.Node {
  return nodeMessage(node, presence.isConnected(node.name), presence.syncError(node.name));
}

const MUTABLE = ["state", "labels"];

export function nodeMask(paths: readonly string[] | undefined) {
  return readUpdateMask(paths, messageType("Node"), MUTABLE);
}

export function requireNode(reader: StoreReader, name: string): Node {
  const node = reader.getNode(name);
  if (!node) throw notFound("node", name);
  return node;
}

function isSamePlace(one: NewNode, other: NewNode): boolean {
  return one.underlayAddress === other.underlayAddress && isDeepStrictEqual(one.frontPorts, other.frontPorts);
}

function underlayConflict(node: NewNode, holder: Node, presence: Presence): ClusterError {
  const advice = presence.isConnected(holder.name)
    ? "give this node another one"
    : `that node is not connected; if it is gone, delete node ${holder.name} first`;
  return new ClusterError(
    "already_exists",
    `underlay address ${node.underlayAddress} belongs to node ${holder.name}: ${advice}`,
    {
      resource: { type: "node", name: holder.name, owner: nodeOwner(holder.name) },
      fields: [{ field: "node.underlay_address", description: `is taken by node ${holder.name}` }],
    },
  );
}

/** Of a node that joined before it registered. */
function expiryOf(reader: StoreReader, name: string): Pick<Node, "certificateExpireTimeMs"> {
  const times = reader.get("certificates", name)?.certificates.map(({ expireTimeMs }) => expireTimeMs) ?? [];
  return times.length === 0 ? {} : { certificateExpireTimeMs: Math.max(...times) };
}

/** Creates the node, or changes it as its agent says. Labels that the agent does not name stay as they are. */
export function registerNode(tx: StoreTransaction, node: NewNode, presence: Presence): Node {
  const present = tx.getNode(node.name);
  if (present && !isSamePlace(present, node) && presence.isConnected(node.name)) {
    throw new ClusterError(
      "already_exists",
      `a node named ${node.name} is connected from ${present.underlayAddress}: give this node another name`,
      { resource: { type: "node", name: node.name, owner: nodeOwner(node.name) } },
    );
  }
  const holder = tx.getNodeByUnderlayAddress(node.underlayAddress);
  if (holder && holder.name !== node.name) throw underlayConflict(node, holder, presence);
  const { name, frontPorts } = node;
  requireFree(tx, { node: name, ports: frontPorts, owner: nodeOwner(name), field: "node.front_ports" });
  if (!present) return tx.putNode({ ...node, ...expiryOf(tx, name), state: "active", createTimeMs: Date.now() });
  const next = { ...present, ...node, labels: { ...present.labels, ...node.labels } };
  return isDeepStrictEqual(next, present) ? present : tx.putNode(next);
}

export function updateNode(
  tx: StoreTransaction,
  wanted: NodeChange & { readonly name: string; readonly etag: string },
  mask: ReturnType<typeof nodeMask>,
): Node {
  const present = requireNode(tx, wanted.name);
  checkEtag(wanted.etag, present.revision, { type: "node", name: wanted.name });
  const change = validNodeChange({
    state: mask.choose("state", wanted.state, present.state),
    labels: mask.labels(wanted.labels, present.labels),
  });
  const next = { ...present, ...change };
  return isDeepStrictEqual(next, present) ? present : tx.putNode(next);
}

/** Forgets a node that is gone, with its endpoints and reservations. */
export function deleteNode(tx: StoreTransaction, name: string, etag: string, presence: Presence): void {
  const { revision } = requireNode(tx, name);
  checkEtag(etag, revision, { type: "node", name });
  if (presence.isConnected(name)) {
    throw new ClusterError("failed_precondition", `the agent of node ${name} is connected: stop it first`, {
      precondition: { type: "NODE_CONNECTED", subject: nodeOwner(name) },
    });
  }
  for (const endpoint of tx.listEndpoints({ node: name, limit: -1 })) tx.deleteEndpoint(endpoint);
  tx.deleteNode(name);
}
