/** Rows of the SQLite store and the resources that they become. Pure. */
import { formatIpv4 } from "../domain/ipv4.js";
import type { Endpoint, Node, PortPurpose, PortReservation, PublishedPort } from "../domain/resources.js";
import type { NetworkWithCursor } from "./store.js";

export interface NodeRow {
  name: string;
  underlay_address: string;
  front_first: number;
  front_count: number;
  create_time_ms: number;
  revision: number;
}

export interface NetworkRow {
  name: string;
  vni: number;
  prefix: string;
  next_address: number;
  create_time_ms: number;
  revision: number;
}

/** An endpoint joined with its network's VNI. */
export interface EndpointRow {
  network: string;
  name: string;
  node: string;
  vni: number;
  id: number;
  address: number;
  published_ports: string;
  labels: string;
  create_time_ms: number;
  revision: number;
}

export interface ReservationRow {
  node: string;
  first: number;
  count: number;
  purpose: PortPurpose;
  owner: string;
  revision: number;
}

export function nodeOf(row: NodeRow): Node {
  return {
    name: row.name,
    underlayAddress: row.underlay_address,
    frontPorts: { first: row.front_first, count: row.front_count },
    createTimeMs: row.create_time_ms,
    revision: BigInt(row.revision),
  };
}

export function networkOf(row: NetworkRow): NetworkWithCursor {
  return {
    name: row.name,
    vni: row.vni,
    prefix: row.prefix,
    nextAddress: row.next_address,
    createTimeMs: row.create_time_ms,
    revision: BigInt(row.revision),
  };
}

export function endpointOf(row: EndpointRow): Endpoint {
  return {
    network: row.network,
    name: row.name,
    node: row.node,
    vni: row.vni,
    id: row.id,
    address: formatIpv4(row.address),
    // Written by this store from validated values, so their shape is known.
    publishedPorts: JSON.parse(row.published_ports) as PublishedPort[],
    labels: JSON.parse(row.labels) as Record<string, string>,
    createTimeMs: row.create_time_ms,
    revision: BigInt(row.revision),
  };
}

export function reservationOf(row: ReservationRow): PortReservation {
  return {
    node: row.node,
    ports: { first: row.first, count: row.count },
    purpose: row.purpose,
    owner: row.owner,
    revision: BigInt(row.revision),
  };
}
