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
import type { Change, StoreReader } from "../store/store.js";
import { networkOf, type SyncKey, type SyncKeys, type SyncKind, splitKey } from "./keys.js";
import type { SyncMessages } from "./messages.js";

const KINDS: ReadonlyMap<ResourceKind, SyncKind> = new Map([
  [ResourceKind.RESOURCE_KIND_NODE, "node"],
  [ResourceKind.RESOURCE_KIND_NETWORK, "network"],
  [ResourceKind.RESOURCE_KIND_ENDPOINT, "endpoint"],
  [ResourceKind.RESOURCE_KIND_POLICY, "policy"],
]);

const KIND_NUMBERS = {
  node: ResourceKind.RESOURCE_KIND_NODE,
  network: ResourceKind.RESOURCE_KIND_NETWORK,
  endpoint: ResourceKind.RESOURCE_KIND_ENDPOINT,
  policy: ResourceKind.RESOURCE_KIND_POLICY,
} as const;

/** What an agent claims to hold of a store that is not this one: no revision of this one. */
const FOREIGN = -1n;

export interface SubscriptionOptions {
  readonly node: string;
  readonly store: StoreReader;
  readonly storeId: string;
  readonly keys: SyncKeys;
  readonly messages: SyncMessages;
  /** What the agent says that it holds, and of which store. */
  readonly known: readonly ResourceVersion[];
  readonly knownStoreId: string;
  /** Called when the node begins or ceases to need a network. */
  readonly onNetwork?: (network: string, isNeeded: boolean) => void;
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
  readonly #keys: SyncKeys;
  readonly #messages: SyncMessages;
  readonly #onNetwork: (network: string, isNeeded: boolean) => void;
  readonly #maxResources: number;
  /** Revision of each resource that the node has, or will have when it has applied what is under way. */
  readonly #told = new Map<SyncKey, bigint>();
  /** Keys to compare with the store, in the order in which they are sent. */
  readonly #dirty = new Set<SyncKey>();
  /** Networks in which the node has endpoints. */
  readonly #networks = new Set<string>();
  readonly #storeId: string;
  /** Addresses of the controllers, if they are to be told. */
  #controllers: readonly string[] | undefined;
  #nonce = 0n;
  #underWay: { readonly nonce: bigint; readonly revision: bigint; readonly isComplete: boolean } | undefined;
  /** Whether the agent refused a response since the last revision that was sent completely. */
  #isRefused = false;
  /** Everything up to this revision has been sent. */
  #revision = 0n;

  constructor(options: SubscriptionOptions) {
    this.node = options.node;
    this.#store = options.store;
    this.#storeId = options.storeId;
    this.#keys = options.keys;
    this.#messages = options.messages;
    this.#onNetwork = options.onNetwork ?? (() => {});
    this.#maxResources = options.maxResources ?? MAX_RESOURCES_PER_RESPONSE;
    // Nodes before networks before their endpoints, so that nothing refers to what is yet to come.
    for (const { name } of this.#store.listNodes({ limit: -1 })) this.#mark("node", name);
    for (const network of this.#store.networksOfNode(this.node)) this.#addNetwork(network);
    const isForeign = options.knownStoreId !== options.storeId;
    for (const { kind, name, revision } of options.known) {
      const known = KINDS.get(kind);
      if (!known) {
        throw new ClusterError("invalid_argument", `hello.known names a resource of unknown kind ${kind}`, {
          fields: [{ field: "hello.known", description: `kind ${kind} is unknown` }],
        });
      }
      const key = this.#keys.key(known, name);
      this.#told.set(key, isForeign ? FOREIGN : revision);
      this.#dirty.add(key);
    }
  }

  /** The networks that the node needs. */
  get networks(): ReadonlySet<string> {
    return this.#networks;
  }

  #mark(kind: SyncKind, name: string): void {
    this.#dirty.add(this.#keys.key(kind, name));
  }

  /** Whether the node has acknowledged all that it needs to know. */
  isUpToDate(): boolean {
    return this.#underWay === undefined && this.#dirty.size === 0 && !this.#controllers;
  }

  noteChanges(changes: readonly Change[]): void {
    for (const change of changes) this.noteChange(change);
  }

  noteChange(change: Change): void {
    if (change.kind === "node") this.#mark("node", change.key);
    else if (change.kind === "network") this.#noteNetwork(change.key);
    else if (change.kind === "policy") this.#notePolicy(change.key);
    else if (change.kind === "endpoint") {
      const endpoint = change.after ?? change.before;
      if (endpoint) this.#noteEndpoint(endpoint.network, change.key, endpoint.node);
    }
  }

  #noteNetwork(name: string): void {
    if (this.#networks.has(name)) this.#mark("network", name);
  }

  #notePolicy(key: string): void {
    if (this.#networks.has(networkOf(key))) this.#mark("policy", key);
  }

  #noteEndpoint(network: string, key: string, node: string): void {
    if (node === this.node) {
      const isNeeded = this.#store.hasEndpoints(network, node);
      if (isNeeded && !this.#networks.has(network)) this.#addNetwork(network);
      if (!isNeeded && this.#networks.has(network)) this.#dropNetwork(network);
    }
    if (this.#networks.has(network)) this.#mark("endpoint", key);
  }

  #addNetwork(network: string): void {
    this.#networks.add(network);
    this.#onNetwork(network, true);
    this.#mark("network", network);
    for (const { name } of this.#store.listPolicies({ network, limit: -1 })) this.#mark("policy", `${network}/${name}`);
    for (const { name } of this.#store.listEndpoints({ network, limit: -1 })) {
      this.#mark("endpoint", `${network}/${name}`);
    }
  }

  #dropNetwork(network: string): void {
    this.#networks.delete(network);
    this.#onNetwork(network, false);
    for (const kind of ["endpoint", "policy"] as const) {
      for (const key of this.#told.keys()) {
        if (key.startsWith(`${kind}:${network}/`)) this.#dirty.add(key);
      }
    }
    // After what is in it: taken away in the opposite order of coming.
    this.#dirty.delete(this.#keys.key("network", network));
    this.#mark("network", network);
  }

  /** Tells the addresses of the controllers with the next response. */
  noteControllers(addresses: readonly string[]): void {
    this.#controllers = addresses;
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
    if (resources === 0 && !isFirst && !this.#controllers) return undefined;
    this.#nonce += 1n;
    if (isFirst) response.storeId = this.#storeId;
    if (this.#controllers) response.controllers.push(...this.#controllers);
    this.#controllers = undefined;
    response.nonce = this.#nonce;
    response.revision = this.#revision;
    this.#underWay = { nonce: this.#nonce, revision: this.#revision, isComplete };
    return response;
  }

  /** Puts the difference between the store and what the node was told into the response, if there is one. */
  #addTo(response: SyncResponse, key: SyncKey): boolean {
    const { kind, name } = splitKey(key);
    const current = this.#isNeeded(kind, name) ? this.#store.get(kind, name) : undefined;
    if (!current) {
      if (!this.#told.delete(key)) return false;
      response.removed.push({ kind: KIND_NUMBERS[kind], name, revision: 0n });
      return true;
    }
    if (this.#told.get(key) === current.revision) return false;
    this.#told.set(key, current.revision);
    this.#messages.push(response, kind, current);
    return true;
  }

  #isNeeded(kind: SyncKind, name: string): boolean {
    if (kind === "node") return true;
    return this.#networks.has(kind === "network" ? name : networkOf(name));
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
