/**
 * What can be done with the cluster: each method is one checked transaction on the store.
 *
 * Knows nothing of gRPC. Arguments are validated here; errors are ClusterErrors. Distribution to the agents follows from
 * the store's commits and is not called from here.
 */
import { findPortConflict, formatPorts, lowestFree, nextFree } from "../domain/allocation.js";
import { contains, endpointAddresses, formatIpv4, formatPrefix, type Prefix, parsePrefix } from "../domain/ipv4.js";
import {
  type Endpoint,
  endpointOwner,
  type Network,
  type Node,
  nodeOwner,
  type PortRange,
} from "../domain/resources.js";
import {
  type NewEndpoint,
  type NewNode,
  validEndpoint,
  validName,
  validNetwork,
  validNode,
} from "../domain/validation.js";
import { ClusterError, invalidField, notFound } from "../errors.js";
import { MAX_VNI } from "../limits.js";
import type { Store, StoreTransaction } from "../store/store.js";

/** Which nodes have their agent's Sync stream open. */
export interface Presence {
  isConnected(node: string): boolean;
}

export interface EndpointKey {
  readonly network: string;
  readonly name: string;
  readonly id: number;
}

export class Cluster {
  readonly #store: Store;
  readonly #presence: Presence;

  constructor(store: Store, presence: Presence) {
    this.#store = store;
    this.#presence = presence;
  }

  async createNetwork(wanted: Parameters<typeof validNetwork>[0]): Promise<Network> {
    const { name, vni, prefix } = validNetwork(wanted);
    return await this.#store.transaction((tx) => {
      if (tx.getNetwork(name)) {
        throw new ClusterError("already_exists", `network ${name} exists already`, {
          resource: { type: "network", name },
        });
      }
      const holder = vni === 0 ? undefined : tx.getNetworkByVni(vni);
      if (holder) {
        throw new ClusterError("already_exists", `VNI ${vni} belongs to network ${holder.name}`, {
          resource: { type: "network", name: holder.name, owner: `network/${holder.name}` },
          fields: [{ field: "network.vni", description: `is taken by network ${holder.name}` }],
        });
      }
      return tx.insertNetwork({
        name,
        vni: vni === 0 ? chooseVni(tx) : vni,
        prefix: formatPrefix(prefix),
        description: "",
        labels: {},
        defaultDeny: false,
        nodeSubnetLength: 0,
        createTimeMs: Date.now(),
      });
    });
  }

  getNetwork(name: string): Network {
    const network = this.#store.getNetwork(validName("name", name));
    if (!network) throw notFound("network", name);
    return network;
  }

  async deleteNetwork(name: string): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => {
      if (!tx.getNetwork(name)) throw notFound("network", name);
      if (tx.hasEndpoints(name)) {
        throw new ClusterError(
          "failed_precondition",
          `network ${name} still has endpoints on ${tx.nodesOfNetwork(name).join(", ")}: delete them first`,
          { precondition: { type: "NETWORK_NOT_EMPTY", subject: `network/${name}` } },
        );
      }
      tx.deleteNetwork(name);
    });
  }

  /** Creates the node, or changes it as its agent says. */
  async registerNode(wanted: Parameters<typeof validNode>[0]): Promise<Node> {
    const node = validNode(wanted);
    return await this.#store.transaction((tx) => {
      const existing = tx.getNode(node.name);
      const isSame = existing !== undefined && sameNode(existing, node);
      if (existing && !isSame && this.#presence.isConnected(node.name)) {
        throw new ClusterError(
          "already_exists",
          `a node named ${node.name} is connected from ${existing.underlayAddress}: give this node another name`,
          { resource: { type: "node", name: node.name, owner: nodeOwner(node.name) } },
        );
      }
      const holder = tx.getNodeByUnderlayAddress(node.underlayAddress);
      if (holder && holder.name !== node.name) throw underlayConflict(node, holder, this.#presence);
      if (existing && isSame) return existing;
      return putNode(tx, node, existing);
    });
  }

  getNode(name: string): Node {
    const node = this.#store.getNode(validName("name", name));
    if (!node) throw notFound("node", name);
    return node;
  }

  /** Forgets a node that is gone, with its endpoints and reservations. */
  async deleteNode(name: string): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => {
      if (!tx.getNode(name)) throw notFound("node", name);
      if (this.#presence.isConnected(name)) {
        throw new ClusterError("failed_precondition", `the agent of node ${name} is connected: stop it first`, {
          precondition: { type: "NODE_CONNECTED", subject: nodeOwner(name) },
        });
      }
      for (const endpoint of tx.listEndpoints({ node: name, limit: -1 })) tx.deleteEndpoint(endpoint);
      tx.deleteNode(name);
    });
  }

  async createEndpoint(wanted: Parameters<typeof validEndpoint>[0]): Promise<Endpoint> {
    const endpoint = validEndpoint(wanted);
    return await this.#store.transaction((tx) => {
      const network = tx.getNetwork(endpoint.network);
      if (!network) throw notFound("network", endpoint.network);
      if (!tx.getNode(endpoint.node)) throw notFound("node", endpoint.node);
      const namesake = tx.getEndpoint(endpoint.network, endpoint.name);
      if (namesake) {
        throw new ClusterError(
          "already_exists",
          `network ${endpoint.network} has an endpoint ${endpoint.name} already, on node ${namesake.node}`,
          {
            resource: {
              type: "endpoint",
              name: `${endpoint.network}/${endpoint.name}`,
              owner: nodeOwner(namesake.node),
            },
          },
        );
      }
      const address = takeAddress(tx, network, endpoint.address);
      requirePortsFree(tx, endpoint);
      return tx.insertEndpoint({
        ...endpoint,
        vni: network.vni,
        id: tx.takeEndpointId(network.vni),
        address: formatIpv4(address),
        createTimeMs: Date.now(),
      });
    });
  }

  /**
   * Deletes the endpoint; does nothing if there is none.
   *
   * @param id If not 0: only if it still has this id.
   */
  async deleteEndpoint(network: string, name: string, id: number): Promise<void> {
    validName("network", network);
    validName("name", name);
    await this.#store.transaction((tx) => {
      const endpoint = tx.getEndpoint(network, name);
      if (endpoint && (id === 0 || endpoint.id === id)) tx.deleteEndpoint(endpoint);
    });
  }

  /**
   * Deletes the node's endpoints that are not attached there, which a crashed agent left behind.
   *
   * @param isPending Endpoints whose creation has not been answered yet: their agent cannot name them.
   * @returns What was deleted.
   */
  async deleteStaleEndpoints(
    node: string,
    attached: readonly EndpointKey[],
    isPending: (endpoint: Endpoint) => boolean,
  ): Promise<Endpoint[]> {
    // Id 0: the agent awaits the answer to its creation.
    const kept = new Set(attached.map(({ network, name, id }) => `${network}/${name}/${id}`));
    return await this.#store.transaction((tx) => {
      const stale = tx.listEndpoints({ node, limit: -1 }).filter((endpoint) => {
        const name = `${endpoint.network}/${endpoint.name}`;
        return !kept.has(`${name}/${endpoint.id}`) && !kept.has(`${name}/0`) && !isPending(endpoint);
      });
      for (const endpoint of stale) tx.deleteEndpoint(endpoint);
      return stale;
    });
  }
}

function chooseVni(tx: StoreTransaction): number {
  const range = { first: 1, last: MAX_VNI };
  // One that was never used, if there is one: nobody can have stale state under it.
  const vni = lowestFree(range, tx.vnisEverUsed()) ?? lowestFree(range, tx.vnisInUse());
  if (vni === undefined) throw new ClusterError("resource_exhausted", `all ${MAX_VNI} VNIs are taken`);
  return vni;
}

function sameNode(one: NewNode, other: NewNode): boolean {
  return (
    one.underlayAddress === other.underlayAddress &&
    one.frontPorts.first === other.frontPorts.first &&
    one.frontPorts.count === other.frontPorts.count
  );
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

function putNode(tx: StoreTransaction, node: NewNode, existing: Node | undefined): Node {
  requireFree(tx, node.name, node.frontPorts, nodeOwner(node.name), "node.front_ports");
  return tx.putNode({
    state: "active",
    labels: {},
    agentVersion: "",
    createTimeMs: Date.now(),
    ...existing,
    ...node,
  });
}

function requirePortsFree(tx: StoreTransaction, endpoint: NewEndpoint): void {
  const owner = endpointOwner(endpoint.network, endpoint.name);
  for (const [index, { hostPort }] of endpoint.publishedPorts.entries()) {
    const field = `endpoint.published_ports[${index}].host_port`;
    requireFree(tx, endpoint.node, { first: hostPort, count: 1 }, owner, field);
  }
}

const USES = { front: "as front ports", published: "as a published port", static: "as a static reservation" } as const;

function requireFree(tx: StoreTransaction, node: string, ports: PortRange, owner: string, field: string): void {
  const conflict = findPortConflict(ports, owner, tx.reservationsWithin(node, ports));
  if (!conflict) return;
  throw new ClusterError(
    "already_exists",
    `port ${formatPorts(ports)} of node ${node} is taken: ${conflict.owner} has ${formatPorts(conflict.ports)} ${USES[conflict.purpose]}`,
    {
      resource: { type: "port", name: `${node}:${formatPorts(conflict.ports)}`, owner: conflict.owner },
      fields: [{ field, description: `is taken by ${conflict.owner}` }],
    },
  );
}

/** The prefix as it was validated when the network was created. */
function prefixOf(network: Network): Prefix {
  const prefix = parsePrefix(network.prefix);
  if (typeof prefix === "string") throw new Error(`stored prefix ${network.prefix} of ${network.name} is ${prefix}`);
  return prefix;
}

function takeAddress(tx: StoreTransaction, network: Network, fixed: number | undefined): number {
  const range = endpointAddresses(prefixOf(network));
  if (fixed !== undefined) {
    const text = formatIpv4(fixed);
    if (!contains(range, fixed)) {
      const bounds = `${formatIpv4(range.first)} to ${formatIpv4(range.last)}`;
      throw invalidField("endpoint.address", `${text} is not one of network ${network.name}'s addresses, ${bounds}`);
    }
    const holder = tx.getEndpointByAddress(network.name, fixed);
    if (holder) {
      const owner = endpointOwner(network.name, holder.name);
      throw new ClusterError("already_exists", `address ${text} of network ${network.name} is taken by ${owner}`, {
        resource: { type: "endpoint", name: `${network.name}/${holder.name}`, owner },
        fields: [{ field: "endpoint.address", description: `is taken by ${owner}` }],
      });
    }
    return fixed;
  }
  const address = nextFree(range, tx.addressCursor(network.name) ?? range.first, (from) =>
    tx.addressesFrom(network.name, from),
  );
  if (address === undefined) {
    throw new ClusterError(
      "resource_exhausted",
      `all ${range.last - range.first + 1} addresses of network ${network.name} (${network.prefix}) are taken: delete ` +
        "endpoints, or create a network with a larger prefix",
      { resource: { type: "network", name: network.name } },
    );
  }
  tx.setAddressCursor(network.name, address + 1);
  return address;
}
