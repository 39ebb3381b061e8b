/**
 * What one Sync stream has been told and what it must still be told. Owns no I/O and no time.
 *
 * States: idle, or one response unacknowledged. Changes only mark keys as dirty, in either state, so everything that
 * happens while a response is under way is merged, and the memory is bounded by the number of resources. `next` compares
 * each dirty key with the store as it is then.
 *
 * Invariant: once all is acknowledged and nothing is dirty, `#told` is what the node holds, and that equals what it needs.
 */
import { ResourceKind, type ResourceVersion, SyncResponse } from "@slimfast/proto";
import { ClusterError } from "../errors.js";
import { MAX_RESOURCES_PER_RESPONSE } from "../limits.js";
import { endpointMessage, networkMessage, nodeMessage } from "../messages.js";
import type { Change, StoreReader } from "../store/store.js";

/** `kind:name`, with NETWORK/NAME as an endpoint's name. No name contains a colon or a slash. */
type Key = `${"node" | "network" | "endpoint"}:${string}`;

const KINDS = {
  [ResourceKind.RESOURCE_KIND_NODE]: "node",
  [ResourceKind.RESOURCE_KIND_NETWORK]: "network",
  [ResourceKind.RESOURCE_KIND_ENDPOINT]: "endpoint",
} as const;

const KIND_NUMBERS = {
  node: ResourceKind.RESOURCE_KIND_NODE,
  network: ResourceKind.RESOURCE_KIND_NETWORK,
  endpoint: ResourceKind.RESOURCE_KIND_ENDPOINT,
} as const;

function splitKey(key: Key): { kind: keyof typeof KIND_NUMBERS; name: string } {
  const colon = key.indexOf(":");
  return { kind: key.slice(0, colon) as keyof typeof KIND_NUMBERS, name: key.slice(colon + 1) };
}

export interface SubscriptionOptions {
  readonly node: string;
  readonly store: StoreReader;
  readonly isConnected: (node: string) => boolean;
  /** What the agent says that it holds. */
  readonly known: readonly ResourceVersion[];
  /** Most resources in one response. */
  readonly maxResources?: number;
}

/** What an acknowledgement was about. */
export interface Acknowledged {
  /** All changes up to this revision were in the response, or in earlier ones of the stream. */
  readonly revision: bigint;
  /** Whether the agent applied all responses that were needed to get from the last such revision to this one. */
  readonly isApplied: boolean;
}

export class Subscription {
  readonly node: string;
  readonly #store: StoreReader;
  readonly #isConnected: (node: string) => boolean;
  readonly #maxResources: number;
  /** Revision of each resource that the node has, or will have when it has applied what is under way. */
  readonly #told = new Map<Key, bigint>();
  /** Keys to compare with the store, in the order in which they are sent. */
  readonly #dirty = new Set<Key>();
  /** Networks in which the node has endpoints. */
  readonly #networks = new Set<string>();
  #nonce = 0n;
  #underWay: { readonly nonce: bigint; readonly revision: bigint; readonly isComplete: boolean } | undefined;
  /** Whether the agent refused a response since the last revision that was sent completely. */
  #isRefused = false;
  /** Everything up to this revision has been sent. */
  #revision = 0n;

  constructor(options: SubscriptionOptions) {
    this.node = options.node;
    this.#store = options.store;
    this.#isConnected = options.isConnected;
    this.#maxResources = options.maxResources ?? MAX_RESOURCES_PER_RESPONSE;
    // Nodes before networks before their endpoints, so that nothing refers to what is yet to come.
    for (const { name } of this.#store.listNodes({ limit: -1 })) this.#dirty.add(`node:${name}`);
    for (const network of this.#store.networksOfNode(this.node)) this.#addNetwork(network);
    for (const { kind, name, revision } of options.known) {
      if (kind !== 1 && kind !== 2 && kind !== 3) {
        throw new ClusterError("invalid_argument", `hello.known names a resource of unknown kind ${kind}`, {
          fields: [{ field: "hello.known", description: `kind ${kind} is unknown` }],
        });
      }
      const key: Key = `${KINDS[kind]}:${name}`;
      this.#told.set(key, revision);
      this.#dirty.add(key);
    }
  }

  /** Whether the node has acknowledged all that it needs to know. */
  isUpToDate(): boolean {
    return this.#underWay === undefined && this.#dirty.size === 0;
  }

  noteChanges(changes: readonly Change[]): void {
    for (const change of changes) {
      if (change.kind === "node") this.#dirty.add(`node:${change.key}`);
      else if (change.kind === "network") this.#noteNetwork(change.key);
      else if (change.kind === "endpoint") {
        const endpoint = change.after ?? change.before;
        if (endpoint) this.#noteEndpoint(endpoint.network, endpoint.name, endpoint.node);
      }
    }
  }

  #noteNetwork(name: string): void {
    if (this.#networks.has(name)) this.#dirty.add(`network:${name}`);
  }

  #noteEndpoint(network: string, name: string, node: string): void {
    if (node === this.node) {
      const isNeeded = this.#store.hasEndpoints(network, node);
      if (isNeeded && !this.#networks.has(network)) this.#addNetwork(network);
      if (!isNeeded && this.#networks.has(network)) this.#dropNetwork(network);
    }
    if (this.#networks.has(network)) this.#dirty.add(`endpoint:${network}/${name}`);
  }

  #addNetwork(network: string): void {
    this.#networks.add(network);
    this.#dirty.add(`network:${network}`);
    for (const { name } of this.#store.listEndpoints({ network, limit: -1 })) {
      this.#dirty.add(`endpoint:${network}/${name}`);
    }
  }

  #dropNetwork(network: string): void {
    this.#networks.delete(network);
    for (const key of this.#told.keys()) {
      if (key.startsWith(`endpoint:${network}/`)) this.#dirty.add(key);
    }
    // After its endpoints: taken away in the opposite order of coming.
    this.#dirty.delete(`network:${network}`);
    this.#dirty.add(`network:${network}`);
  }

  /**
   * The next response, or undefined if one is under way or there is nothing to say. The first is made even if it is
   * empty, because it tells the agent that it is in step.
   */
  next(): SyncResponse | undefined {
    if (this.#underWay) return undefined;
    const isFirst = this.#nonce === 0n;
    const response = SyncResponse.fromPartial({});
    let resources = 0;
    for (const key of this.#dirty) {
      if (resources === this.#maxResources) break;
      this.#dirty.delete(key);
      if (this.#addTo(response, key)) resources += 1;
    }
    const isComplete = this.#dirty.size === 0;
    if (isComplete) this.#revision = this.#store.revision;
    if (resources === 0 && !isFirst) return undefined;
    this.#nonce += 1n;
    response.nonce = this.#nonce;
    response.revision = this.#revision;
    this.#underWay = { nonce: this.#nonce, revision: this.#revision, isComplete };
    return response;
  }

  /** Puts the difference between the store and what the node was told into the response, if there is one. */
  #addTo(response: SyncResponse, key: Key): boolean {
    const { kind, name } = splitKey(key);
    const current = this.#needed(kind, name);
    if (!current) {
      if (!this.#told.delete(key)) return false;
      response.removed.push({ kind: KIND_NUMBERS[kind], name, revision: 0n });
      return true;
    }
    if (this.#told.get(key) === current.revision) return false;
    this.#told.set(key, current.revision);
    current.push(response);
    return true;
  }

  #needed(
    kind: keyof typeof KIND_NUMBERS,
    name: string,
  ): { revision: bigint; push: (response: SyncResponse) => void } | undefined {
    if (kind === "node") {
      const node = this.#store.getNode(name);
      return (
        node && {
          revision: node.revision,
          push: ({ nodes }) => nodes.push(nodeMessage(node, this.#isConnected(name))),
        }
      );
    }
    if (kind === "network") {
      const network = this.#networks.has(name) ? this.#store.getNetwork(name) : undefined;
      return network && { revision: network.revision, push: ({ networks }) => networks.push(networkMessage(network)) };
    }
    const [networkName = "", endpointName = ""] = name.split("/");
    const endpoint = this.#networks.has(networkName) ? this.#store.getEndpoint(networkName, endpointName) : undefined;
    return (
      endpoint && { revision: endpoint.revision, push: ({ endpoints }) => endpoints.push(endpointMessage(endpoint)) }
    );
  }

  /**
   * Takes the answer to the response that is under way.
   *
   * @throws ClusterError `invalid_argument` if none is, or the nonce is another's.
   */
  acknowledge(nonce: bigint, error: string): Acknowledged {
    const answered = this.#underWay;
    if (!answered || answered.nonce !== nonce) {
      const expected = answered ? `nonce ${answered.nonce} is expected` : "no response is unacknowledged";
      throw new ClusterError("invalid_argument", `ack of nonce ${nonce}: ${expected}`, {
        fields: [{ field: "ack.nonce", description: expected }],
      });
    }
    this.#underWay = undefined;
    if (error !== "") this.#isRefused = true;
    const isApplied = !this.#isRefused;
    if (answered.isComplete) this.#isRefused = false;
    return { revision: answered.revision, isApplied };
  }
}
