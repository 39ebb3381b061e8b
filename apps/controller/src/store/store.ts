/**
 * What the controller keeps: the one interface to it, whatever the store.
 *
 * Reading is synchronous and from memory. Writing is one asynchronous transaction at a time, whose function is
 * synchronous: it runs from its beginning to its end without another change in between, so what was checked in it holds
 * when it is committed. When the promise is fulfilled, the change is on disk (SQLite) or on a majority of the cluster
 * (etcd), and in the memory of this controller.
 */
import type { IpAddress, IpFamily } from "@slimfast/proto";
import type { IntegerRange } from "../domain/allocation.js";
import type {
  AuditEntry,
  Endpoint,
  Network,
  Node,
  NodeSubnet,
  Policy,
  PortRange,
  PortReservation,
  Token,
} from "../domain/resources.js";
import type { Content, Documents, Kind } from "./kinds.js";

/** A document that a transaction created (no `before`), changed or deleted (no `after`). */
export type Change = { readonly [K in Kind]: ChangeOf<K> }[Kind];

export interface ChangeOf<K extends Kind> {
  readonly kind: K;
  readonly key: string;
  readonly before?: Documents[K];
  readonly after?: Documents[K];
}

/** What was committed at one revision. */
export interface Commit {
  readonly revision: bigint;
  readonly changes: readonly Change[];
}

export interface Page {
  /** Most items to return; -1 for all. */
  readonly limit: number;
}

export interface DocumentPage extends Page {
  /** Only those behind this key. */
  readonly after?: string | undefined;
  /** Only those whose key begins so, for example `NETWORK/`. */
  readonly prefix?: string | undefined;
}

export interface StoreReader {
  /** The number of the last change; 0n before the first. */
  readonly revision: bigint;

  /** Any document; undefined if there is none. */
  get<K extends Kind>(kind: K, key: string): Documents[K] | undefined;
  /** Any documents, in the order of their keys. */
  list<K extends Kind>(kind: K, page: DocumentPage): Documents[K][];
  /** How many documents of the kind there are. */
  count(kind: Kind): number;
  /** The document that has the claim. */
  getByClaim<K extends Kind>(kind: K, claim: string): Documents[K] | undefined;
  /** The documents whose claims begin with the prefix, in the order of the claims. */
  listByClaim<K extends Kind>(kind: K, prefix: string): Documents[K][];

  getNode(name: string): Node | undefined;
  getNodeByUnderlayAddress(address: string): Node | undefined;
  /** In the order of names, after the given one. */
  listNodes(page: Page & { after?: string }): Node[];

  getNetwork(name: string): Network | undefined;
  getNetworkByVni(vni: number): Network | undefined;
  listNetworks(page: Page & { after?: string }): Network[];
  /** VNIs that a network has or ever had, ascending. */
  vnisEverUsed(): Iterable<number>;
  /** VNIs of the networks that exist, ascending. */
  vnisInUse(): Iterable<number>;
  getSubnet(network: string, node: string): NodeSubnet | undefined;
  listSubnets(network: string): NodeSubnet[];

  getEndpoint(network: string, name: string): Endpoint | undefined;
  getEndpointByAddress(network: string, address: IpAddress): Endpoint | undefined;
  /** In the order of network and name, after the given one. */
  listEndpoints(
    page: Page & { after?: { network: string; name: string }; network?: string; node?: string },
  ): Endpoint[];
  /** Names of the networks in which the node has endpoints. */
  networksOfNode(node: string): string[];
  /** Names of the nodes that have endpoints in the network. */
  nodesOfNetwork(network: string): string[];
  hasEndpoints(network: string, node?: string): boolean;
  /** Addresses of the network's endpoints, of the same family as `from` and not less, ascending. */
  addressesFrom(network: string, from: IpAddress): Iterable<bigint>;

  getPolicy(network: string, name: string): Policy | undefined;
  /** In the order of network and name, after the given one. */
  listPolicies(page: Page & { after?: { network: string; name: string }; network?: string }): Policy[];

  /** A static reservation. */
  getReservation(name: string): PortReservation | undefined;
  /** All purposes, in the order of node and first port, after the given one. */
  listReservations(page: Page & { after?: { node: string; first: number }; node?: string }): PortReservation[];
  /** Reservations of the node that share a port with the range, in the order of ports. */
  reservationsWithin(node: string, ports: PortRange): PortReservation[];

  getToken(name: string): Token | undefined;
  getTokenByHash(hash: string): Token | undefined;
  listTokens(page: Page & { after?: string }): Token[];

  /** Newest first; `after`: only those older than the entry with this key. */
  listAuditEntries(page: Page & { after?: string }): AuditEntry[];
}

/** What has an order of its own in which addresses are given out. */
export interface AddressScope {
  readonly network: string;
  readonly family: IpFamily;
  /** Where its nodes have subnets. */
  readonly node?: string | undefined;
}

export interface PutOptions {
  /**
   * The document ends this long after the commit by itself, by a clock that does not jump. 0: never. Not set: as it was,
   * never for a new one.
   */
  readonly leaseMs?: number;
}

/**
 * What a transaction can do beside reading. Its changes all get the transaction's revision.
 *
 * The function may run more than once before it is committed, so it must do nothing but read and write here. What it
 * read is still so when it is committed, except for what only helps to choose (`addressesFrom`, `vnisEverUsed`,
 * `vnisInUse`, `nodesOfNetwork`, `count`). Documents that it returns have their final revision once the promise is
 * fulfilled: until then it is a guess.
 */
export interface StoreTransaction extends StoreReader {
  put<K extends Kind>(kind: K, content: Content<K>, options?: PutOptions): Documents[K];
  /** Does nothing if there is none. */
  delete(kind: Kind, key: string): void;

  putNode(node: Omit<Node, "revision">): Node;
  /** Deletes the node, its static reservations, subnets and certificates; its endpoints must have been deleted before. */
  deleteNode(name: string): void;
  insertNetwork(network: Omit<Network, "revision">): Network;
  updateNetwork(network: Omit<Network, "revision">): Network;
  /** Deletes the network, its policies and subnets. It must have no endpoints. Its VNI's endpoint ids stay used up. */
  deleteNetwork(name: string): void;
  /** An id that no endpoint under this VNI ever had. */
  takeEndpointId(vni: number): number;
  /** Where in `range` the search for a free address begins: behind the last that was given out in this scope. */
  addressCursor(scope: AddressScope, range: IntegerRange): number;
  setAddressCursor(scope: AddressScope, next: number): void;
  /** Reserves its published ports as well: whether they are free is to be checked before. */
  insertEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint;
  updateEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint;
  deleteEndpoint(endpoint: Pick<Endpoint, "network" | "name">): void;
  /** What it has changed so far, one change for each document. */
  changes(): readonly Change[];
  appendAudit(entry: Omit<AuditEntry, "key" | "ordinal" | "revision">): void;
}

export interface Store extends StoreReader {
  /** Names the store for as long as it exists. */
  readonly storeId: string;
  /** Names this process among the controllers of the store. */
  readonly controllerId: string;
  /**
   * Runs `change` as one transaction; nothing of it remains if it throws. The promise is refused with what it threw, or
   * with a ClusterError `unavailable` if the store cannot be written now.
   */
  transaction<Result>(change: (tx: StoreTransaction) => Result): Promise<Result>;
  /**
   * Calls the listener after each commit, in the order of revisions, whichever controller made it. Reading shows the
   * commit then, and may show later ones. The listener must not throw. Returns the way to stop that.
   */
  onCommit(listener: (commit: Commit) => void): () => void;
  /** The commits after the revision, or undefined if they are not kept any more (or the revision is not of this store). */
  commitsAfter(revision: bigint): readonly Commit[] | undefined;
  /** Waits for transactions under way. May be called twice. */
  close(): Promise<void>;
}
