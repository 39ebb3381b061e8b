/** What the cluster consists of, as the controller thinks of it: plain values, independent of transport and store. */

export interface PortRange {
  readonly first: number;
  readonly count: number;
}

export interface Node {
  readonly name: string;
  readonly underlayAddress: string;
  readonly frontPorts: PortRange;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export interface Network {
  readonly name: string;
  readonly vni: number;
  readonly prefix: string;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export interface PublishedPort {
  readonly hostPort: number;
  readonly endpointPort: number;
}

export interface Endpoint {
  readonly network: string;
  readonly name: string;
  readonly node: string;
  readonly vni: number;
  readonly id: number;
  readonly address: string;
  readonly publishedPorts: readonly PublishedPort[];
  readonly labels: Readonly<Record<string, string>>;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export type PortPurpose = "front" | "published";

export interface PortReservation {
  readonly node: string;
  readonly ports: PortRange;
  readonly purpose: PortPurpose;
  readonly owner: string;
  readonly revision: bigint;
}

/** Owner of a node's front ports, as reservations and errors name it. */
export function nodeOwner(node: string): string {
  return `node/${node}`;
}

/** Owner of published ports, as reservations and errors name it. */
export function endpointOwner(network: string, endpoint: string): string {
  return `endpoint/${network}/${endpoint}`;
}

/** A key and certificate of the cluster's own: the authority that signs nodes and controllers. */
export interface Authority {
  readonly name: string;
  readonly certificate: string;
  readonly privateKey: string;
  readonly createTimeMs: number;
  readonly revision: bigint;
}
