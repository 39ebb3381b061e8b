/**
 * What the controller keeps: the one interface to it, whatever the store.
 *
 * All methods are synchronous: a transaction runs from its beginning to its end without another call in between, so
 * what was checked in it still holds when it writes. When `transaction` returns, the change is on the disk.
 */
import type { Endpoint, Network, Node, PortPurpose, PortRange, PortReservation } from "../domain/resources.js";

/** A resource that a transaction created, changed or deleted. */
export type Change =
  | { readonly kind: "node"; readonly name: string }
  | { readonly kind: "network"; readonly name: string }
  | { readonly kind: "endpoint"; readonly network: string; readonly name: string; readonly node: string };

export interface Page {
  /** Most items to return; -1 for all. */
  readonly limit: number;
}

/** A network with what only allocation needs to know of it. */
export interface NetworkWithCursor extends Network {
  /** Where the search for the next free address begins. */
  readonly nextAddress: number;
}

export interface StoreReader {
  /** The number of the last change; 0n before the first. */
  readonly revision: bigint;

  getNode(name: string): Node | undefined;
  getNodeByUnderlayAddress(address: string): Node | undefined;
  /** In the order of names, after the given one. */
  listNodes(page: Page & { after?: string }): Node[];

  getNetwork(name: string): NetworkWithCursor | undefined;
  getNetworkByVni(vni: number): Network | undefined;
  listNetworks(page: Page & { after?: string }): Network[];
  /** VNIs that a network has or ever had, ascending. */
  vnisEverUsed(): Iterable<number>;
  /** VNIs of the networks that exist, ascending. */
  vnisInUse(): Iterable<number>;

  getEndpoint(network: string, name: string): Endpoint | undefined;
  getEndpointByAddress(network: string, address: number): Endpoint | undefined;
  /** In the order of network and name, after the given one. */
  listEndpoints(
    page: Page & { after?: { network: string; name: string }; network?: string; node?: string },
  ): Endpoint[];
  /** Names of the networks in which the node has endpoints. */
  networksOfNode(node: string): string[];
  /** Names of the nodes that have endpoints in the network. */
  nodesOfNetwork(network: string): string[];
  hasEndpoints(network: string, node?: string): boolean;
  /** Addresses of the network's endpoints that are not less than `from`, ascending. */
  addressesFrom(network: string, from: number): Iterable<number>;

  /** In the order of node and first port, after the given one. */
  listReservations(page: Page & { after?: { node: string; first: number }; node?: string }): PortReservation[];
  /** Reservations of the node that share a port with the range. */
  reservationsWithin(node: string, ports: PortRange): PortReservation[];
}

/** What a transaction can do beside reading. Its changes all get the transaction's revision. */
export interface StoreTransaction extends StoreReader {
  putNode(node: Omit<Node, "revision">): Node;
  /** Deletes the node and its reservations; its endpoints must have been deleted before. */
  deleteNode(name: string): void;
  insertNetwork(network: Omit<NetworkWithCursor, "revision">): Network;
  setNextAddress(network: string, address: number): void;
  /** The network must have no endpoints. Its VNI's endpoint ids stay used up. */
  deleteNetwork(name: string): void;
  /** An id that no endpoint under this VNI ever had. */
  takeEndpointId(vni: number): number;
  insertEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint;
  /** Deletes the endpoint and its reservations. */
  deleteEndpoint(endpoint: Endpoint): void;
  reservePorts(reservation: { node: string; ports: PortRange; purpose: PortPurpose; owner: string }): void;
  releasePorts(node: string, owner: string): void;
}

export interface Store extends StoreReader {
  /** Runs `change` as one transaction; nothing of it remains if it throws. */
  transaction<Result>(change: (tx: StoreTransaction) => Result): Result;
  /** Calls the listener after each transaction that changed something. Returns the way to stop that. */
  onCommit(listener: (changes: readonly Change[], revision: bigint) => void): () => void;
  /** May be called twice. */
  close(): void;
}
