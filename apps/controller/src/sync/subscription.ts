/**
 * What one Sync stream has been told and what it must still be told. Owns no I/O and no time.
 *
 * States: idle, or one response unacknowledged. Changes only mark keys as dirty, in either state, so everything that
 * happens while a response is under way is merged, and the memory is bounded by the number of resources. `next` looks for
 * each dirty key in the store as it is then.
 *
 * Invariant: the node holds (or will, when it has applied what is under way) what it needs, but for the dirty keys. So what
 * it holds is remembered nowhere: a thousand streams cost no memory for what does not change.
 */
import { type NodeAddresses, ResourceKind, type ResourceVersion, SyncResponse } from "@slimfast/proto";
import { ClusterError } from "../errors.js";
import { MAX_RESOURCES_PER_RESPONSE } from "../limits.js";
import type { Change, StoreReader } from "../store/store.js";
import { networkOf, type SyncKey, type SyncKeys, type SyncKind, splitKey } from "./keys.js";
import type { SyncMessages } from "./messages.js";
import type { NetworkContents } from "./network-contents.js";
import { mergedAddresses, NO_ADDRESSES } from "./node-addresses.js";

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
  readonly contents: NetworkContents;
  readonly messages: SyncMessages;
  /** What the agent says that it holds, and of which store. */
  readonly known: readonly ResourceVersion[];
  readonly knownStoreId: string;
  /** All addresses of nodes, for an agent that reads them; without it, all nodes are told. */
  readonly allAddresses?: (() => NodeAddresses) | undefined;
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
  readonly #contents: NetworkContents;
  readonly #messages: SyncMessages;
  readonly #onNetwork: (network: string, isNeeded: boolean) => void;
  readonly #maxResources: number;
  /** What the agent had when the stream began, with its revisions, as far as that was not looked at yet. */
  readonly #brought = new Map<SyncKey, bigint>();
  /** Keys to look for in the store, in the order in which they are sent, and whether the node may hold the resource. */
  readonly #dirty = new Map<SyncKey, boolean>();
  /** Networks in which the node has endpoints. */
  readonly #networks = new Set<string>();
  readonly #allAddresses: (() => NodeAddresses) | undefined;
  /** Nodes that have endpoints in these networks, and itself; empty for an agent that is told of all. */
  readonly #nodes = new Set<string>();
  /** Whether the agent has (or will have, with what is under way) the addresses of all nodes, but for these changes. */
  #hasAddresses = false;
  #addressChanges: NodeAddresses[] = [];
  /** Those of them in which it seems to have none any more: left with the next response, when all that happened is noted. */
  readonly #leaving = new Set<string>();
  readonly #storeId: string;
  /** Addresses of the controllers, if they are to be told. */
  #controllers: readonly string[] | undefined;
  /** Whether the ports of the node's static reservations are to be told. */
  #tellsReservedPorts = true;
  #nonce = 0n;
  #underWay: { readonly nonce: bigint; readonly revision: bigint; readonly isComplete: boolean } | undefined;
  /** Whether the agent refused a response since the last revision that was sent completely. */
  #isRefused = false;
  /** Whether it ever refused one of this stream: what that had in it is asked for again with the next hello only. */
  #hasRefused = false;
  /** Everything up to this revision has been sent. */
  #revision = 0n;

  constructor(options: SubscriptionOptions) {
    this.node = options.node;
    this.#store = options.store;
    this.#storeId = options.storeId;
    this.#keys = options.keys;
    this.#contents = options.contents;
    this.#messages = options.messages;
    this.#onNetwork = options.onNetwork ?? (() => {});
    this.#maxResources = options.maxResources ?? MAX_RESOURCES_PER_RESPONSE;
    this.#allAddresses = options.allAddresses;
    // Nodes before networks before their endpoints, so that nothing refers to what is yet to come.
    if (!this.readsAddresses)
      for (const { name } of this.#store.listNodes({ limit: -1 })) this.#mark("node", name, false);
    else this.#addNode(this.node);
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
      this.#brought.set(key, isForeign ? FOREIGN : revision);
      this.#dirty.set(key, true);
    }
  }

  /** Whether the agent is told of the nodes of its networks only. */
  get readsAddresses(): boolean {
    return this.#allAddresses !== undefined;
  }

  /** The networks that the node needs. */
  get networks(): ReadonlySet<string> {
    return this.#networks;
  }

  /** @param isHeld Whether the node may hold it; what is known of a key that is dirty already counts. */
  #mark(kind: SyncKind, name: string, isHeld: boolean): void {
    this.#markKey(this.#keys.key(kind, name), isHeld);
  }

  #markKey(key: SyncKey, isHeld: boolean): void {
    if (!this.#dirty.has(key)) this.#dirty.set(key, isHeld);
  }

  /** Whether the node has acknowledged all that it needs to know. */
  isUpToDate(): boolean {
    return this.#underWay === undefined && this.#hasNothingToTell();
  }

  /** Whether the node has applied everything that it was told, and there is nothing more. */
  get isInStep(): boolean {
    return this.isUpToDate() && !this.#hasRefused;
  }

  #hasNothingToTell(): boolean {
    const isOpen = this.#dirty.size > 0 || this.#leaving.size > 0 || this.#addressChanges.length > 0;
    return !isOpen && !this.#controllers && !this.#tellsReservedPorts;
  }

  noteChanges(changes: readonly Change[]): void {
    for (const change of changes) this.noteChange(change);
  }

  noteChange(change: Change): void {
    const wasThere = change.before !== undefined;
    if (change.kind === "node") this.#noteNode(change.key, wasThere);
    else if (change.kind === "network") this.#noteNetwork(change.key, wasThere);
    else if (change.kind === "policy") this.#notePolicy(change.key, wasThere);
    else if (change.kind === "reservation") this.#tellsReservedPorts = true;
    else if (change.kind === "endpoint") {
      const { key, before, after } = change;
      if (before && before.node !== after?.node) this.#noteEndpoint(before.network, key, before.node, true);
      if (after) this.#noteEndpoint(after.network, key, after.node, wasThere);
    }
  }

  #noteNode(name: string, wasThere: boolean): void {
    if (!this.readsAddresses || this.#nodes.has(name)) this.#mark("node", name, wasThere);
  }

  #addNode(name: string): void {
    this.#nodes.add(name);
    this.#mark("node", name, false);
  }

  /** Its endpoints have come or gone. */
  #reviewNode(name: string): void {
    if (!this.readsAddresses) return;
    const isNeeded = this.#needsNode(name);
    if (isNeeded === this.#nodes.has(name)) return;
    if (isNeeded) {
      this.#addNode(name);
    } else {
      this.#nodes.delete(name);
      this.#mark("node", name, true);
    }
  }

  #needsNode(name: string): boolean {
    if (!this.readsAddresses || name === this.node) return true;
    for (const network of this.#networks) if (this.#store.hasEndpoints(network, name)) return true;
    return false;
  }

  /** Some of the addresses of nodes are others. @returns Whether that is for this node. */
  noteAddresses(changes: NodeAddresses): boolean {
    if (this.#hasAddresses) this.#addressChanges.push(changes);
    return this.#hasAddresses;
  }

  /** What has to be told of the addresses of nodes: before the ranges of a network that must not lead to them. */
  #addressesToTell(): NodeAddresses | undefined {
    if (!this.#allAddresses) return undefined;
    const changes = this.#addressChanges;
    this.#addressChanges = [];
    const isNeeded = [...this.#networks].some((name) => (this.#store.getNetwork(name)?.egress?.length ?? 0) > 0);
    if (isNeeded === this.#hasAddresses) return mergedAddresses(changes);
    this.#hasAddresses = isNeeded;
    return isNeeded ? this.#allAddresses() : NO_ADDRESSES;
  }

  #noteNetwork(name: string, wasThere: boolean): void {
    if (this.#networks.has(name)) this.#mark("network", name, wasThere);
  }

  #notePolicy(key: string, wasThere: boolean): void {
    if (this.#networks.has(networkOf(key))) this.#mark("policy", key, wasThere);
  }

  #noteEndpoint(network: string, key: string, node: string, wasThere: boolean): void {
    if (node === this.node) {
      const isNeeded = this.#store.hasEndpoints(network, node);
      if (isNeeded && !this.#networks.has(network)) this.#addNetwork(network);
      if (isNeeded) this.#leaving.delete(network);
      else if (this.#networks.has(network)) this.#leaving.add(network);
    }
    if (!this.#networks.has(network)) return;
    this.#reviewNode(node);
    this.#mark("endpoint", key, wasThere);
  }

  #addNetwork(network: string): void {
    this.#networks.add(network);
    this.#onNetwork(network, true);
    const { nodes, keys } = this.#contents.of(network);
    if (this.readsAddresses) for (const node of nodes) if (!this.#nodes.has(node)) this.#addNode(node);
    this.#mark("network", network, false);
    for (const key of keys) this.#markKey(key, false);
  }

  #dropNetwork(network: string): void {
    this.#networks.delete(network);
    this.#onNetwork(network, false);
    for (const key of this.#contents.of(network).keys) this.#markKey(key, true);
    // After what is in it: taken away in the opposite order of coming.
    const key = this.#keys.key("network", network);
    const isHeld = this.#dirty.get(key) ?? true;
    this.#dirty.delete(key);
    this.#dirty.set(key, isHeld);
    for (const node of [...this.#nodes]) this.#reviewNode(node);
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
    for (const network of this.#leaving) this.#dropNetwork(network);
    this.#leaving.clear();
    const nodeAddresses = this.#addressesToTell();
    for (const [key, isHeld] of this.#dirty) {
      if (resources === this.#maxResources) break;
      this.#dirty.delete(key);
      if (this.#addTo(response, key, isHeld)) resources += 1;
    }
    const isComplete = this.#dirty.size === 0;
    if (isComplete) this.#revision = this.#store.revision;
    if (resources === 0 && !isFirst && !this.#controllers && !this.#tellsReservedPorts && !nodeAddresses)
      return undefined;
    response.nodeAddresses = nodeAddresses;
    this.#nonce += 1n;
    if (isFirst) response.storeId = this.#storeId;
    if (this.#controllers) response.controllers.push(...this.#controllers);
    this.#controllers = undefined;
    if (this.#tellsReservedPorts) response.reservedPorts = { ranges: this.#reservedPorts() };
    this.#tellsReservedPorts = false;
    response.nonce = this.#nonce;
    response.revision = this.#revision;
    this.#underWay = { nonce: this.#nonce, revision: this.#revision, isComplete };
    return response;
  }

  /** Of the node's static reservations, in the order of ports. */
  #reservedPorts(): { first: number; count: number }[] {
    const reservations = this.#store.listByClaim("reservation", `node/${this.node}/`);
    return reservations.map(({ ports }) => ({ ...ports })).sort((one, other) => one.first - other.first);
  }

  /** Puts the difference between the store and what the node holds into the response, if there is one. */
  #addTo(response: SyncResponse, key: SyncKey, isHeld: boolean): boolean {
    const { kind, name } = splitKey(key);
    const current = this.#isNeeded(kind, name) ? this.#store.get(kind, name) : undefined;
    const brought = this.#brought.get(key);
    this.#brought.delete(key);
    if (!current) {
      if (!isHeld && brought === undefined) return false;
      response.removed.push({ kind: KIND_NUMBERS[kind], name, revision: 0n });
      return true;
    }
    if (brought === current.revision) return false;
    this.#messages.push(response, kind, current);
    return true;
  }

  #isNeeded(kind: SyncKind, name: string): boolean {
    if (kind === "node") return this.#needsNode(name);
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
    if (error !== "") {
      this.#isRefused = true;
      this.#hasRefused = true;
    }
    const isApplied = !this.#isRefused;
    if (answered.isComplete) this.#isRefused = false;
    return { revision: answered.revision, isApplied };
  }
}
