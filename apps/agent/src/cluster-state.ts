/**
 * What this node knows of the cluster: the resources that the core has taken over, with their revisions, and look-ups by
 * id and address. Pure: it plans the changes of the core's state, others carry them out.
 *
 * Always holds: what is in here was accepted by the core. A resource enters or leaves with {@link PlannedStep.commit}
 * only, so that `known()` never claims what was refused.
 */
import type { EndpointKey, EndpointState, NodeState, StateChange } from "@slimfast/core";
import { type Endpoint, type Network, type Node, ResourceKind, type SyncResponse } from "@slimfast/proto";
import { invalidArgument } from "./errors.js";

/** The part of a SyncResponse that says what changed. */
export type StateUpdate = Pick<SyncResponse, "nodes" | "networks" | "endpoints" | "removed">;

/** A change for the core. Steps of one plan are applied in order, each committed once the core has taken it. */
export interface PlannedStep {
  change: StateChange;
  commit(): void;
}

/** A resource as the hello of a stream reports it. */
export interface KnownVersion {
  kind: ResourceKind;
  name: string;
  revision: bigint;
}

/** Names of endpoints that are gone, kept for events that arrive late. */
const DEPARTED_MAX = 1_024;

/** Edits by key; `null` removes. */
interface Edits {
  nodes: Map<string, Node | null>;
  networks: Map<string, Network | null>;
  endpoints: Map<string, Endpoint | null>;
}

export class ClusterState {
  readonly #nodes = new Map<string, Node>();
  readonly #networks = new Map<string, Network>();
  readonly #endpoints = new Map<string, Endpoint>();
  readonly #endpointById = new Map<string, Endpoint>();
  readonly #endpointByAddress = new Map<string, Endpoint>();
  readonly #departed = new Map<string, Endpoint>();

  node(name: string): Node | undefined {
    return this.#nodes.get(name);
  }

  endpoint(network: string, name: string): Endpoint | undefined {
    return this.#endpoints.get(endpointKey(network, name));
  }

  /** Also finds endpoints that have gone lately. */
  endpointById(vni: number, id: number): Endpoint | undefined {
    const key = idKey(vni, id);
    return this.#endpointById.get(key) ?? this.#departed.get(key);
  }

  endpointByAddress(vni: number, address: string): Endpoint | undefined {
    return this.#endpointByAddress.get(addressKey(vni, address));
  }

  /** Everything held, for the hello of a new stream. */
  known(): KnownVersion[] {
    const versions: KnownVersion[] = [];
    for (const { name, revision } of this.#nodes.values()) {
      versions.push({ kind: ResourceKind.RESOURCE_KIND_NODE, name, revision });
    }
    for (const { name, revision } of this.#networks.values()) {
      versions.push({ kind: ResourceKind.RESOURCE_KIND_NETWORK, name, revision });
    }
    for (const [name, { revision }] of this.#endpoints) {
      versions.push({ kind: ResourceKind.RESOURCE_KIND_ENDPOINT, name, revision });
    }
    return versions;
  }

  /**
   * What the core has to do for `update`: one step, or two if an address or an id changes hands, because the core adds
   * before it removes.
   *
   * @throws SlimFastError `invalid_argument` if a resource is incomplete.
   */
  plan(update: StateUpdate): PlannedStep[] {
    const edits = readEdits(update);
    this.#addOrphans(edits);
    const change = emptyChange();
    for (const [name, node] of edits.nodes) {
      const held = this.#nodes.get(name);
      if (node === null) {
        if (held) change.removedNodes.push(name);
      } else if (!held || !sameFields(coreNode(held), coreNode(node))) {
        change.nodes.push(coreNode(node));
      }
    }
    this.#planNetworks(edits.networks, change);
    for (const [key, endpoint] of edits.endpoints) {
      const held = this.#endpoints.get(key);
      if (held && (endpoint === null || idKey(held.vni, held.id) !== idKey(endpoint.vni, endpoint.id))) {
        change.removedEndpoints.push({ vni: held.vni, id: held.id });
      }
      if (endpoint !== null && !(held && sameFields(coreEndpoint(held), coreEndpoint(endpoint)))) {
        change.endpoints.push(coreEndpoint(endpoint));
      }
    }
    return this.#inSteps(change, () => this.#commit(edits));
  }

  #planNetworks(edits: Map<string, Network | null>, change: StateChange): void {
    const claimedVnis = new Set<number>();
    for (const network of edits.values()) {
      if (network !== null) claimedVnis.add(network.vni);
    }
    for (const [name, network] of edits) {
      const held = this.#networks.get(name);
      if (network !== null && (held?.vni !== network.vni || held.prefix !== network.prefix)) {
        change.networks.push({ vni: network.vni, prefix: network.prefix });
      }
      if (held && held.vni !== network?.vni && !claimedVnis.has(held.vni)) change.removedNetworks.push(held.vni);
    }
  }

  /** Endpoints do not outlive their network, even where the controller did not list them. */
  #addOrphans(edits: Edits): void {
    for (const [name, network] of edits.networks) {
      const held = this.#networks.get(name);
      if (!held || held.vni === network?.vni) continue;
      for (const [key, endpoint] of this.#endpoints) {
        if (endpoint.network === name && endpoint.vni === held.vni && !edits.endpoints.has(key)) {
          edits.endpoints.set(key, null);
        }
      }
    }
  }

  #inSteps(change: StateChange, commit: () => void): PlannedStep[] {
    const claimed = new Set<string>();
    for (const { vni, id, address } of change.endpoints) {
      claimed.add(idKey(vni, id)).add(addressKey(vni, address));
    }
    const isClaimed = ({ vni, id }: EndpointKey) => {
      const held = this.#endpointById.get(idKey(vni, id));
      return claimed.has(idKey(vni, id)) || (held !== undefined && claimed.has(addressKey(vni, held.address)));
    };
    const vacated = change.removedEndpoints.filter(isClaimed);
    if (vacated.length === 0) return [{ change, commit }];
    const rest = change.removedEndpoints.filter((key) => !vacated.includes(key));
    return [
      {
        change: { ...emptyChange(), removedEndpoints: vacated },
        commit: () => {
          for (const { vni, id } of vacated) this.#drop(this.#endpointById.get(idKey(vni, id)));
        },
      },
      { change: { ...change, removedEndpoints: rest }, commit },
    ];
  }

  #commit(edits: Edits): void {
    for (const [name, node] of edits.nodes) put(this.#nodes, name, node);
    for (const [name, network] of edits.networks) put(this.#networks, name, network);
    // All drops first: an address may pass from one endpoint to another.
    for (const key of edits.endpoints.keys()) this.#drop(this.#endpoints.get(key));
    for (const [key, endpoint] of edits.endpoints) {
      if (endpoint === null) continue;
      this.#endpoints.set(key, endpoint);
      this.#endpointById.set(idKey(endpoint.vni, endpoint.id), endpoint);
      this.#endpointByAddress.set(addressKey(endpoint.vni, endpoint.address), endpoint);
      this.#departed.delete(idKey(endpoint.vni, endpoint.id));
    }
  }

  #drop(endpoint: Endpoint | undefined): void {
    if (!endpoint) return;
    const id = idKey(endpoint.vni, endpoint.id);
    this.#endpoints.delete(endpointKey(endpoint.network, endpoint.name));
    this.#endpointById.delete(id);
    this.#endpointByAddress.delete(addressKey(endpoint.vni, endpoint.address));
    this.#departed.set(id, endpoint);
    const oldest = this.#departed.keys().next();
    if (this.#departed.size > DEPARTED_MAX && !oldest.done) this.#departed.delete(oldest.value);
  }
}

/** `NETWORK/NAME`, as ResourceVersion names an endpoint. */
export function endpointKey(network: string, name: string): string {
  return `${network}/${name}`;
}

export function isEmptyChange(change: StateChange): boolean {
  return Object.values(change).every((list: readonly unknown[]) => list.length === 0);
}

function readEdits({ nodes, networks, endpoints, removed }: StateUpdate): Edits {
  const edits: Edits = { nodes: new Map(), networks: new Map(), endpoints: new Map() };
  // Removals first: what was deleted and made anew is in both lists.
  for (const { kind, name } of removed) {
    if (kind === ResourceKind.RESOURCE_KIND_NODE) edits.nodes.set(name, null);
    else if (kind === ResourceKind.RESOURCE_KIND_NETWORK) edits.networks.set(name, null);
    else if (kind === ResourceKind.RESOURCE_KIND_ENDPOINT) edits.endpoints.set(name, null);
    // Kinds of a later version were never sent to us, so there is nothing to remove.
  }
  for (const node of nodes) {
    if (!node.frontPorts) throw invalidArgument("nodes.front_ports", `node ${node.name} has none`);
    edits.nodes.set(node.name, node);
  }
  for (const network of networks) {
    if (network.vni === 0) throw invalidArgument("networks.vni", `network ${network.name} has none`);
    edits.networks.set(network.name, network);
  }
  for (const endpoint of endpoints) {
    const key = endpointKey(endpoint.network, endpoint.name);
    if (endpoint.vni === 0 || endpoint.id === 0) throw invalidArgument("endpoints", `${key} lacks its VNI or id`);
    edits.endpoints.set(key, endpoint);
  }
  return edits;
}

function coreNode({ name, underlayAddress, frontPorts }: Node): NodeState {
  return { name, underlayAddress, frontPortFirst: frontPorts?.first ?? 0, frontPortCount: frontPorts?.count ?? 0 };
}

function coreEndpoint({ vni, id, address, node }: Endpoint): EndpointState {
  return { vni, id, address, node };
}

function sameFields<T extends object>(left: T, right: T): boolean {
  return (Object.keys(left) as (keyof T)[]).every((field) => left[field] === right[field]);
}

function emptyChange(): StateChange {
  return { nodes: [], networks: [], endpoints: [], removedEndpoints: [], removedNetworks: [], removedNodes: [] };
}

function put<T>(map: Map<string, T>, key: string, value: T | null): void {
  if (value === null) map.delete(key);
  else map.set(key, value);
}

function idKey(vni: number, id: number): string {
  return `${vni}:${id}`;
}

function addressKey(vni: number, address: string): string {
  return `${vni}@${address}`;
}
