/**
 * What this node knows of the cluster: the resources that the core has taken over, with their revisions, and look-ups by
 * id and address. Pure: it plans the changes of the core's state, others carry them out.
 *
 * Always holds: what is in here was accepted by the core. A resource enters or leaves with {@link PlannedStep.commit}
 * only, so that `known()` never claims what was refused.
 */
import type { EndpointKey, EndpointState, NetworkState, NodeState, StateChange } from "@slimfast/core";
import {
  type Endpoint,
  endpointMatcher,
  type Network,
  type Node,
  type NodeAddresses,
  type Policy,
  ResourceKind,
  type SyncResponse,
} from "@slimfast/proto";
import { invalidArgument, messageOf } from "./errors.js";
import type { NetworkView } from "./policy/compile.js";

/** The part of a SyncResponse that says what changed. */
export type StateUpdate = Pick<
  SyncResponse,
  "revision" | "nodes" | "networks" | "endpoints" | "removed" | "policies"
> & { nodeAddresses?: NodeAddresses | undefined };

/** A change for the core. Steps of one plan are applied in order, each committed once the core has taken it. */
export interface PlannedStep {
  change: StateChange;
  /**
   * What the step makes of the networks that it touches and in which policies have a say, with the endpoints that it
   * takes away still there: what must be enforced before the core's state changes.
   */
  views(): NetworkView[];
  commit(): void;
}

/** Steps, and the names of all networks that they touch. */
export interface Plan {
  steps: PlannedStep[];
  networks: ReadonlySet<string>;
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
  policies: Map<string, Policy | null>;
}

const NO_POLICIES: readonly Policy[] = [];

export class ClusterState {
  readonly #nodes = new Map<string, Node>();
  /** Underlay addresses of all nodes, while a network's egress ranges have to be kept from them. */
  readonly #nodeAddresses = new Set<number>();
  readonly #networks = new Map<string, Network>();
  readonly #endpoints = new Map<string, Endpoint>();
  /** Keys of the endpoints of each network. */
  readonly #members = new Map<string, Set<string>>();
  /** Of each network that has some; an array is never changed, but replaced. */
  readonly #policies = new Map<string, readonly Policy[]>();
  readonly #endpointById = new Map<string, Endpoint>();
  readonly #endpointByAddress = new Map<string, Endpoint>();
  readonly #departed = new Map<string, Endpoint>();
  /** What another store has said and this one not yet: neither known to it, nor known to be gone. */
  readonly #unconfirmed = new Map<string, KnownVersion>();
  /** Networks whose policies a former agent has set: the core has them before the state says so. */
  readonly #inherited: ReadonlySet<number>;
  #storeId = "";

  /** @param inherited - VNIs of networks in which a former agent's policies are in force */
  constructor(inherited: Iterable<number> = []) {
    this.#inherited = new Set(inherited);
  }

  /** Names the store that everything held comes from; empty if it has no name. */
  get storeId(): string {
    return this.#storeId;
  }

  /**
   * A stream has begun, of this store. Another one than before (the former was lost, or moved to another database): what is
   * held stays in force until this store has said all that it has, and goes then, unless it said the same. A store that
   * does not name itself is taken for the one that was there.
   */
  beginStream(storeId: string): void {
    if (storeId === "" || storeId === this.#storeId) return;
    const isOther = this.#storeId !== "";
    this.#storeId = storeId;
    if (!isOther) return;
    for (const version of this.#held()) this.#unconfirmed.set(versionKey(version), version);
  }

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

  network(name: string): Network | undefined {
    return this.#networks.get(name);
  }

  /** The policies of a network. The same array until one of them changes. */
  policies(network: string): readonly Policy[] {
    return this.#policies.get(network) ?? NO_POLICIES;
  }

  /** A network with all that decides who may connect to whom in it. */
  view(name: string): NetworkView | undefined {
    const network = this.#networks.get(name);
    return network && { network, policies: this.policies(name), endpoints: this.#endpointsOf(name) };
  }

  #endpointsOf(network: string): Endpoint[] {
    return [...(this.#members.get(network) ?? [])].flatMap((key) => this.#endpoints.get(key) ?? []);
  }

  /** Everything held, for the hello of a new stream. */
  known(): KnownVersion[] {
    return this.#held().filter((version) => !this.#unconfirmed.has(versionKey(version)));
  }

  #held(): KnownVersion[] {
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
    for (const { network, name, revision } of [...this.#policies.values()].flat()) {
      versions.push({ kind: ResourceKind.RESOURCE_KIND_POLICY, name: endpointKey(network, name), revision });
    }
    return versions;
  }

  /**
   * What the core has to do for `update`: one step, or two if an address or an id changes hands, because the core adds
   * before it removes.
   *
   * @throws SlimFastError `invalid_argument` if a resource is incomplete.
   */
  plan(update: StateUpdate): Plan {
    const edits = readEdits(update);
    // Up to a revision of the store: it has told everything.
    if (update.revision > 0n) this.#addUnconfirmed(edits);
    this.#addOrphans(edits);
    const policies = this.#planPolicies(edits.policies);
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
      const isKept = held !== undefined && endpoint !== null && isSameEndpoint(held, endpoint);
      if (held && !isKept) change.removedEndpoints.push({ vni: held.vni, id: held.id });
      if (endpoint !== null && !isKept) change.endpoints.push(coreEndpoint(endpoint));
    }
    const views = () => this.#views(edits, policies);
    const addresses = this.#planAddresses(update.nodeAddresses);
    change.nodeAddresses.push(...addresses.added.map(dottedQuad));
    change.removedNodeAddresses.push(...addresses.removed.map(dottedQuad));
    const commit = () => {
      this.#commit(edits, policies);
      for (const address of addresses.added) this.#nodeAddresses.add(address);
      for (const address of addresses.removed) this.#nodeAddresses.delete(address);
    };
    return { steps: this.#inSteps({ change, views, commit }, edits), networks: touchedNetworks(edits) };
  }

  /** What differs from the addresses that are held. */
  #planAddresses(told: NodeAddresses | undefined): { added: number[]; removed: number[] } {
    if (!told) return { added: [], removed: [] };
    const held = this.#nodeAddresses;
    const { isComplete, added, removed } = told;
    const wanted = new Set(added);
    const gone = isComplete ? [...held].filter((address) => !wanted.has(address)) : removed;
    return {
      added: added.filter((address) => !held.has(address)),
      removed: gone.filter((address) => held.has(address)),
    };
  }

  /** The new policies of each network in which some change. */
  #planPolicies(edits: Edits["policies"]): Map<string, readonly Policy[]> {
    const planned = new Map<string, Map<string, Policy>>();
    for (const [key, policy] of edits) {
      const network = networkOf(key);
      const byKey =
        planned.get(network) ?? new Map(this.policies(network).map((held) => [endpointKey(network, held.name), held]));
      put(byKey, key, policy);
      planned.set(network, byKey);
    }
    return new Map([...planned].map(([network, byKey]) => [network, [...byKey.values()]]));
  }

  #views(edits: Edits, planned: ReadonlyMap<string, readonly Policy[]>): NetworkView[] {
    const views: NetworkView[] = [];
    const edited = new Map<string, Endpoint[]>();
    for (const endpoint of edits.endpoints.values()) {
      if (!endpoint) continue;
      const list = edited.get(endpoint.network);
      if (list) list.push(endpoint);
      else edited.set(endpoint.network, [endpoint]);
    }
    for (const name of touchedNetworks(edits)) {
      const network = edits.networks.has(name) ? edits.networks.get(name) : this.#networks.get(name);
      const policies = planned.get(name) ?? this.policies(name);
      if (!network || (policies.length === 0 && !network.defaultDeny)) continue;
      // In a network that the core does not have yet, nobody is attached.
      const isThere = this.#networks.get(name)?.vni === network.vni || this.#inherited.has(network.vni);
      if (!isThere) continue;
      const byId = new Map(this.#endpointsOf(name).map((endpoint) => [endpoint.id, endpoint]));
      for (const endpoint of edited.get(name) ?? []) byId.set(endpoint.id, endpoint);
      views.push({ network, policies, endpoints: [...byId.values()] });
    }
    return views;
  }

  #addUnconfirmed(edits: Edits): void {
    const byKind = new Map<ResourceKind, Map<string, unknown>>([
      [ResourceKind.RESOURCE_KIND_NODE, edits.nodes],
      [ResourceKind.RESOURCE_KIND_NETWORK, edits.networks],
      [ResourceKind.RESOURCE_KIND_ENDPOINT, edits.endpoints],
      [ResourceKind.RESOURCE_KIND_POLICY, edits.policies],
    ]);
    for (const { kind, name } of this.#unconfirmed.values()) {
      const of = byKind.get(kind);
      if (of && !of.has(name)) of.set(name, null);
    }
  }

  #planNetworks(edits: Map<string, Network | null>, change: StateChange): void {
    const claimedVnis = new Set<number>();
    for (const network of edits.values()) {
      if (network !== null) claimedVnis.add(network.vni);
    }
    for (const [name, network] of edits) {
      const held = this.#networks.get(name);
      if (network !== null && !(held && isSameNetwork(held, network))) {
        change.networks.push(coreNetwork(network));
      }
      if (held && held.vni !== network?.vni && !claimedVnis.has(held.vni)) change.removedNetworks.push(held.vni);
    }
  }

  /** Endpoints and policies do not outlive their network, even where the controller did not list them. */
  #addOrphans(edits: Edits): void {
    for (const [name, network] of edits.networks) {
      const held = this.#networks.get(name);
      if (!held || held.vni === network?.vni) continue;
      for (const [key, endpoint] of this.#endpoints) {
        if (endpoint.network === name && endpoint.vni === held.vni && !edits.endpoints.has(key)) {
          edits.endpoints.set(key, null);
        }
      }
      if (network) continue;
      for (const policy of this.policies(name)) {
        const key = endpointKey(name, policy.name);
        if (!edits.policies.has(key)) edits.policies.set(key, null);
      }
    }
  }

  #inSteps(whole: PlannedStep, edits: Edits): PlannedStep[] {
    const { change } = whole;
    const claimed = new Set<string>();
    for (const { vni, id } of change.endpoints) claimed.add(idKey(vni, id));
    for (const endpoint of edits.endpoints.values()) {
      for (const key of endpoint ? addressKeys(endpoint) : []) claimed.add(key);
    }
    const isClaimed = ({ vni, id }: EndpointKey) => {
      const held = this.#endpointById.get(idKey(vni, id));
      return claimed.has(idKey(vni, id)) || (held !== undefined && addressKeys(held).some((key) => claimed.has(key)));
    };
    const vacated = change.removedEndpoints.filter(isClaimed);
    if (vacated.length === 0) return [whole];
    const rest = change.removedEndpoints.filter((key) => !vacated.includes(key));
    return [
      {
        change: { ...emptyChange(), removedEndpoints: vacated },
        views: () => [],
        commit: () => {
          for (const { vni, id } of vacated) this.#drop(this.#endpointById.get(idKey(vni, id)));
        },
      },
      { ...whole, change: { ...change, removedEndpoints: rest } },
    ];
  }

  #commit(edits: Edits, policies: ReadonlyMap<string, readonly Policy[]>): void {
    for (const key of confirmedBy(edits)) this.#unconfirmed.delete(key);
    for (const [name, node] of edits.nodes) put(this.#nodes, name, node);
    for (const [name, network] of edits.networks) put(this.#networks, name, network);
    for (const [network, list] of policies) put(this.#policies, network, list.length > 0 ? list : null);
    // All drops first: an address may pass from one endpoint to another.
    for (const key of edits.endpoints.keys()) this.#drop(this.#endpoints.get(key));
    for (const [key, endpoint] of edits.endpoints) {
      if (endpoint === null) continue;
      this.#endpoints.set(key, endpoint);
      const members = this.#members.get(endpoint.network);
      if (members) members.add(key);
      else this.#members.set(endpoint.network, new Set([key]));
      this.#endpointById.set(idKey(endpoint.vni, endpoint.id), endpoint);
      for (const key of addressKeys(endpoint)) this.#endpointByAddress.set(key, endpoint);
      this.#departed.delete(idKey(endpoint.vni, endpoint.id));
    }
  }

  #drop(endpoint: Endpoint | undefined): void {
    if (!endpoint) return;
    const id = idKey(endpoint.vni, endpoint.id);
    const key = endpointKey(endpoint.network, endpoint.name);
    this.#endpoints.delete(key);
    const members = this.#members.get(endpoint.network);
    members?.delete(key);
    if (members?.size === 0) this.#members.delete(endpoint.network);
    this.#endpointById.delete(id);
    for (const key of addressKeys(endpoint)) this.#endpointByAddress.delete(key);
    this.#departed.set(id, endpoint);
    const oldest = this.#departed.keys().next();
    if (this.#departed.size > DEPARTED_MAX && !oldest.done) this.#departed.delete(oldest.value);
  }
}

/** `NETWORK/NAME`, as ResourceVersion names an endpoint or a policy. */
export function endpointKey(network: string, name: string): string {
  return `${network}/${name}`;
}

export function isEmptyChange(change: StateChange): boolean {
  return Object.values(change).every((list: readonly unknown[]) => list.length === 0);
}

function versionKey({ kind, name }: Pick<KnownVersion, "kind" | "name">): string {
  return `${kind}:${name}`;
}

function confirmedBy({ nodes, networks, endpoints, policies }: Edits): string[] {
  const keys = (kind: ResourceKind, names: Iterable<string>) => [...names].map((name) => versionKey({ kind, name }));
  return [
    ...keys(ResourceKind.RESOURCE_KIND_NODE, nodes.keys()),
    ...keys(ResourceKind.RESOURCE_KIND_NETWORK, networks.keys()),
    ...keys(ResourceKind.RESOURCE_KIND_ENDPOINT, endpoints.keys()),
    ...keys(ResourceKind.RESOURCE_KIND_POLICY, policies.keys()),
  ];
}

function networkOf(key: string): string {
  return key.slice(0, key.indexOf("/"));
}

function touchedNetworks(edits: Edits): Set<string> {
  const touched = new Set(edits.networks.keys());
  for (const key of edits.policies.keys()) touched.add(networkOf(key));
  for (const key of edits.endpoints.keys()) touched.add(networkOf(key));
  return touched;
}

function readEdits({ nodes, networks, endpoints, policies, removed }: StateUpdate): Edits {
  const edits: Edits = { nodes: new Map(), networks: new Map(), endpoints: new Map(), policies: new Map() };
  // Removals first: what was deleted and made anew is in both lists.
  for (const { kind, name } of removed) {
    if (kind === ResourceKind.RESOURCE_KIND_NODE) edits.nodes.set(name, null);
    else if (kind === ResourceKind.RESOURCE_KIND_NETWORK) edits.networks.set(name, null);
    else if (kind === ResourceKind.RESOURCE_KIND_ENDPOINT) edits.endpoints.set(name, null);
    else if (kind === ResourceKind.RESOURCE_KIND_POLICY) edits.policies.set(name, null);
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
  for (const policy of policies) {
    const key = endpointKey(policy.network, policy.name);
    try {
      endpointMatcher([...policy.from, ...policy.to]);
    } catch (error) {
      throw invalidArgument("policies", `${key}: ${messageOf(error)}`);
    }
    edits.policies.set(key, policy);
  }
  return edits;
}

/**
 * Whether the core's entry stays as it is. An endpoint whose address, node or time of creation is another is another one,
 * whatever its id says: after a store was lost, ids are given out anew.
 */
function isSameEndpoint(held: Endpoint, endpoint: Endpoint): boolean {
  return (
    sameFields(coreEndpoint(held), coreEndpoint(endpoint)) &&
    held.createTime?.getTime() === endpoint.createTime?.getTime()
  );
}

/** As a message has an address: its first byte is the most significant one. */
function dottedQuad(address: number): string {
  return [24, 16, 8, 0].map((bits) => (address >>> bits) & 255).join(".");
}

function coreNode({ name, underlayAddress, frontPorts }: Node): NodeState {
  return { name, underlayAddress, frontPortFirst: frontPorts?.first ?? 0, frontPortCount: frontPorts?.count ?? 0 };
}

function coreNetwork({ vni, prefix, prefix6, egress }: Network): NetworkState {
  return { vni, prefix: prefix || null, prefix6: prefix6 || null, egress: [...egress] };
}

function isSameNetwork(held: Network, network: Network): boolean {
  return (
    held.vni === network.vni &&
    held.prefix === network.prefix &&
    held.prefix6 === network.prefix6 &&
    held.egress.join(",") === network.egress.join(",")
  );
}

function coreEndpoint({ vni, id, address, address6, node, plain }: Endpoint): EndpointState {
  return { vni, id, address: address || null, address6: address6 || null, node, isPlain: plain };
}

function sameFields<T extends object>(left: T, right: T): boolean {
  return (Object.keys(left) as (keyof T)[]).every((field) => left[field] === right[field]);
}

function emptyChange(): StateChange {
  return {
    nodeAddresses: [],
    nodes: [],
    networks: [],
    endpoints: [],
    removedEndpoints: [],
    removedNetworks: [],
    removedNodes: [],
    removedNodeAddresses: [],
  };
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

/** Of the addresses that it has: one of each of its network's families. */
function addressKeys({ vni, address, address6 }: Endpoint): string[] {
  return [address, address6].filter((text) => text !== "").map((text) => addressKey(vni, text));
}
