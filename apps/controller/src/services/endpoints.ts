/** What a transaction does with an endpoint. */
import { isDeepStrictEqual } from "node:util";
import { messageType } from "../domain/descriptors.js";
import { checkEtag } from "../domain/etag.js";
import { type NewEndpoint, validEndpointChange } from "../domain/requests/endpoint.js";
import { type Endpoint, endpointOwner, type Labels, nodeOwner } from "../domain/resources.js";
import { readUpdateMask } from "../domain/update-mask.js";
import { ClusterError, notFound } from "../errors.js";
import type { StoreReader, StoreTransaction } from "../store/store.js";
import { takeAddresses } from "./addresses.js";
import { requireNetwork } from "./networks.js";
import { requireNode } from "./nodes.js";
import { requireFree } from "./ports.js";

const MUTABLE = ["labels"];

export function endpointMask(paths: readonly string[] | undefined) {
  return readUpdateMask(paths, messageType("Endpoint"), MUTABLE);
}

export function requireEndpoint(reader: StoreReader, network: string, name: string): Endpoint {
  const endpoint = reader.getEndpoint(network, name);
  if (!endpoint) throw notFound("endpoint", `${network}/${name}`);
  return endpoint;
}

export function createEndpoint(tx: StoreTransaction, endpoint: NewEndpoint): Endpoint {
  const network = requireNetwork(tx, endpoint.network);
  const node = requireNode(tx, endpoint.node);
  if (node.state === "draining") {
    throw new ClusterError(
      "failed_precondition",
      `node ${node.name} is draining: it takes no new endpoints until its state is active again`,
      { precondition: { type: "NODE_DRAINING", subject: nodeOwner(node.name) } },
    );
  }
  const namesake = tx.getEndpoint(endpoint.network, endpoint.name);
  if (namesake) {
    const name = `${endpoint.network}/${endpoint.name}`;
    throw new ClusterError(
      "already_exists",
      `network ${endpoint.network} has an endpoint ${endpoint.name} already, on node ${namesake.node}`,
      { resource: { type: "endpoint", name, owner: nodeOwner(namesake.node) } },
    );
  }
  const addresses = takeAddresses(tx, network, endpoint);
  const owner = endpointOwner(endpoint.network, endpoint.name);
  for (const [index, { hostPort }] of endpoint.publishedPorts.entries()) {
    const field = `endpoint.published_ports[${index}].host_port`;
    requireFree(tx, { node: endpoint.node, ports: { first: hostPort, count: 1 }, owner, field });
  }
  return tx.insertEndpoint({
    ...endpoint,
    ...addresses,
    vni: network.vni,
    id: tx.takeEndpointId(network.vni),
    createTimeMs: Date.now(),
  });
}

export function updateEndpoint(
  tx: StoreTransaction,
  wanted: { readonly network: string; readonly name: string; readonly labels: Labels; readonly etag: string },
  mask: ReturnType<typeof endpointMask>,
): Endpoint {
  const present = requireEndpoint(tx, wanted.network, wanted.name);
  checkEtag(wanted.etag, present.revision, { type: "endpoint", name: `${wanted.network}/${wanted.name}` });
  const next = { ...present, ...validEndpointChange({ labels: mask.labels(wanted.labels, present.labels) }) };
  return isDeepStrictEqual(next, present) ? present : tx.updateEndpoint(next);
}

/** What a node says of one of its endpoints. */
export interface Unguarded {
  readonly endpoint?: { readonly network: string; readonly name: string; readonly id: number } | undefined;
  readonly listeners: number;
}

/** The node's endpoints of which it now says something else; all that it does not name have none. */
export function changedUnguarded(reader: StoreReader, node: string, reported: readonly Unguarded[]): Endpoint[] {
  const listeners = new Map<string, number>();
  for (const { endpoint, listeners: count } of reported) if (endpoint) listeners.set(keyOf(endpoint), count);
  return reader.listEndpoints({ node, limit: -1 }).flatMap((endpoint) => {
    const unguardedListeners = listeners.get(keyOf(endpoint)) ?? 0;
    return unguardedListeners === (endpoint.unguardedListeners ?? 0) ? [] : [{ ...endpoint, unguardedListeners }];
  });
}

/** With its id, since another endpoint of the name is not meant. */
function keyOf({ network, name, id }: Pick<Endpoint, "network" | "name" | "id">): string {
  return `${network}/${name}/${id}`;
}
