/** What the cluster consists of, as the controller thinks of it: plain values, independent of transport and store. */

export interface PortRange {
  readonly first: number;
  readonly count: number;
}

export type Labels = Readonly<Record<string, string>>;

/** Draining: no new endpoint may be created on it. */
export type NodeState = "active" | "draining";

export interface Node {
  readonly name: string;
  readonly underlayAddress: string;
  readonly frontPorts: PortRange;
  readonly state: NodeState;
  readonly labels: Labels;
  /** As the agent announced it, for people. */
  readonly agentVersion: string;
  /** When the current certificate ends, if the node has one. */
  readonly certificateExpireTimeMs?: number;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export interface Network {
  readonly name: string;
  readonly vni: number;
  /** IPv4; empty: none. */
  readonly prefix: string;
  /** IPv6; none if left out. */
  readonly prefix6?: string;
  readonly description: string;
  readonly labels: Labels;
  /** Whether a connection that no policy allows is denied. */
  readonly defaultDeny: boolean;
  /** Length of the IPv4 subnet that every node gets; 0 for none. */
  readonly nodeSubnetLength: number;
  /** The same for IPv6; 0 if left out. */
  readonly nodeSubnet6Length?: number;
  /** Ranges outside of the overlay that its endpoints may connect to, sorted; none if left out. */
  readonly egress?: readonly string[];
  readonly createTimeMs: number;
  readonly revision: bigint;
}

/** The parts of a network's prefixes that a node's endpoints have their addresses from. */
export interface NodeSubnet {
  readonly network: string;
  readonly node: string;
  /** IPv4; empty: none. */
  readonly prefix: string;
  /** IPv6; none if left out. */
  readonly prefix6?: string;
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
  /** IPv4; empty: none. */
  readonly address: string;
  /** IPv6, RFC 5952; none if left out. */
  readonly address6?: string;
  readonly publishedPorts: readonly PublishedPort[];
  readonly labels: Labels;
  /** Not accelerated; false if left out. */
  readonly plain?: boolean;
  /** Of its processes, those that may use io_uring, as its node said; none if left out. */
  readonly unguardedListeners?: number;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export type PortPurpose = "front" | "published" | "static";

export interface PortReservation {
  readonly node: string;
  readonly ports: PortRange;
  readonly purpose: PortPurpose;
  readonly owner: string;
  /** Of static ones; empty for the others. */
  readonly name: string;
  readonly description: string;
  /** When it ends by itself, by the wall clock, for people; undefined: never. What counts is the document's lease. */
  readonly expireTimeMs?: number;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

/** Which endpoints of a network are meant; an empty one means all. */
export interface EndpointSelector {
  readonly labels: Labels;
  readonly prefix: string;
  readonly endpoint: string;
}

export interface Policy {
  readonly name: string;
  readonly network: string;
  readonly action: "allow" | "deny";
  readonly from: readonly EndpointSelector[];
  readonly to: readonly EndpointSelector[];
  /** None means all. */
  readonly ports: readonly PortRange[];
  readonly description: string;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

export type Role = "viewer" | "operator" | "admin" | "join";

export interface Token {
  readonly name: string;
  readonly role: Role;
  /** None means all. */
  readonly networks: readonly string[];
  /** SHA-256 of the secret, in hex. */
  readonly hash: string;
  readonly expireTimeMs?: number;
  readonly lastUseTimeMs?: number;
  readonly description: string;
  /** For `join`: how many nodes may still join with it; undefined means any number. */
  readonly usesLeft?: number;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

/** A key and certificate of the cluster's own, for example the authority that signs nodes and controllers. */
export interface Authority {
  readonly name: string;
  readonly certificate: string;
  readonly privateKey: string;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

/** The certificates that a node has now. What is not here is not valid: revoking forgets. */
export interface NodeCertificates {
  readonly node: string;
  /** The oldest first. Serial numbers in hex. */
  readonly certificates: readonly { readonly serial: string; readonly expireTimeMs: number }[];
  readonly revision: bigint;
}

export interface AuditEntry {
  /** Unique; later ones have greater keys, as far as the controllers' clocks agree. Set by the store. */
  readonly key: string;
  /** Its place among the entries of one commit. Set by the store; `auditSequence` makes the API's number of it. */
  readonly ordinal: number;
  readonly timeMs: number;
  readonly actor: string;
  readonly action: string;
  readonly resource: string;
  readonly code: string;
  readonly message: string;
  readonly before: string;
  readonly after: string;
  readonly peer: string;
  readonly revision: bigint;
}

/** The answer to a creation, kept so that its repetition can be answered in the same way. */
export interface RequestRecord {
  /** What was created, and a digest of the caller's id for it: `network/…`. */
  readonly id: string;
  /** Tells another request with the same id from a repetition. */
  readonly fingerprint: string;
  /** What was created, in JSON and without its revision, which is that of this record. */
  readonly created: string;
  readonly createTimeMs: number;
  readonly revision: bigint;
}

/** Owner of a static reservation, as reservations and errors name it. */
export function reservationOwner(name: string): string {
  return `reservation/${name}`;
}

/** The reservation that a node's front ports are. */
export function frontReservation(node: Node): PortReservation {
  const { name, frontPorts, createTimeMs, revision } = node;
  const owner = nodeOwner(name);
  return { node: name, ports: frontPorts, purpose: "front", owner, name: "", description: "", createTimeMs, revision };
}

/** The reservations that an endpoint's published ports are. */
export function publishedReservations(endpoint: Endpoint): PortReservation[] {
  const { node, createTimeMs, revision } = endpoint;
  const owner = endpointOwner(endpoint.network, endpoint.name);
  return endpoint.publishedPorts.map(({ hostPort }) => {
    const ports = { first: hostPort, count: 1 };
    return { node, ports, purpose: "published", owner, name: "", description: "", createTimeMs, revision };
  });
}

/** Owner of a node's front ports, as reservations and errors name it. */
export function nodeOwner(node: string): string {
  return `node/${node}`;
}

/** Owner of published ports, as reservations and errors name it. */
export function endpointOwner(network: string, endpoint: string): string {
  return `endpoint/${network}/${endpoint}`;
}
