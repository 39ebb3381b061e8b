/**
 * The kinds of documents that the store keeps. A new kind is its type in `Documents` and its entry in `KINDS`; nothing
 * else needs to know of it.
 *
 * A document is a plain JSON value with a key, unique in its kind, and the revision of the change that last touched it.
 * Parts of a key are joined by slashes. Claims are further keys that belong to one document of the kind at a time: what
 * must be unique beside the key (an address in a network), and what is looked up or listed by (the endpoints of a node,
 * as claims that contain the document's key).
 */
import { type IpAddress, type IpFamily, parseIp } from "@slimfast/proto";
import type {
  AuditEntry,
  Authority,
  Endpoint,
  Network,
  Node,
  NodeCertificates,
  NodeSubnet,
  Policy,
  PortReservation,
  RequestRecord,
  Token,
} from "../domain/resources.js";

/** A number that only grows, or wanders: the next endpoint id of a VNI, where to look for the next free address. */
export interface Counter {
  readonly name: string;
  readonly next: number;
  readonly revision: bigint;
}

/** A controller that runs now. */
export interface ControllerMember {
  readonly id: string;
  /** Where agents can reach it. */
  readonly addresses: readonly string[];
  readonly version: string;
  readonly startTimeMs: number;
  readonly revision: bigint;
}

/** The controller that holds a node's Sync stream now. */
export interface NodePresence {
  readonly node: string;
  readonly controller: string;
  readonly revision: bigint;
}

/** Why a node does not have its present state. */
export interface Refusal {
  readonly node: string;
  readonly reason: string;
  readonly revision: bigint;
}

/** A controller asks the others whether their nodes of a network have acknowledged a revision. */
export interface PeerQuestion {
  readonly id: string;
  readonly network: string;
  /** In decimal. */
  readonly acknowledged: string;
  /** Controllers that are to answer. */
  readonly asked: readonly string[];
  readonly revision: bigint;
}

export interface PeerAnswer {
  readonly question: string;
  readonly controller: string;
  readonly isKnown: boolean;
  readonly revision: bigint;
}

/** What is kept, by kind. */
export interface Documents {
  readonly node: Node;
  readonly network: Network;
  readonly subnet: NodeSubnet;
  readonly endpoint: Endpoint;
  /** Static ones; those of nodes and endpoints are part of these. */
  readonly reservation: PortReservation;
  readonly policy: Policy;
  readonly token: Token;
  readonly authority: Authority;
  readonly certificates: NodeCertificates;
  readonly audit: AuditEntry;
  readonly request: RequestRecord;
  readonly counter: Counter;
  readonly controller: ControllerMember;
  readonly presence: NodePresence;
  readonly refusal: Refusal;
  readonly question: PeerQuestion;
  readonly answer: PeerAnswer;
}

export type Kind = keyof Documents;

/** What a transaction writes: the store sets the revision. */
export type Content<K extends Kind> = Omit<Documents[K], "revision">;

export interface KindDeclaration<Value> {
  readonly key: (value: Omit<Value, "revision">) => string;
  readonly claims?: (value: Omit<Value, "revision">) => readonly string[];
  /** Whether it ends with the controller that wrote it, and is not kept over restarts. */
  readonly isVolatile?: true;
}

/** What the claims on a network's addresses of a family begin with, and in which digits they are. */
const ADDRESS_CLAIMS = {
  4: { name: "address", radix: 10, digits: 10 },
  6: { name: "address6", radix: 16, digits: 32 },
} as const;

/** What all claims on addresses of the family in a network begin with. */
export function addressClaims(network: string, family: IpFamily): string {
  return `${ADDRESS_CLAIMS[family].name}/${network}/`;
}

/** The claim on an address of a network; in the order of addresses. */
export function addressClaim(network: string, { family, value }: IpAddress): string {
  const { radix, digits } = ADDRESS_CLAIMS[family];
  return addressClaims(network, family) + value.toString(radix).padStart(digits, "0");
}

/** What all claims on published host ports of a node begin with. */
export function publishedPortClaims(node: string): string {
  return `port/${node}/`;
}

/** What the claims on one of them begin with, in the order of ports; the endpoint's key is behind it. */
export function publishedPortClaim(node: string, port: number): string {
  return `${publishedPortClaims(node)}${String(port).padStart(5, "0")}/`;
}

/** The address that a claim is on. */
export function claimedAddress(claim: string, family: IpFamily): bigint {
  const digits = claim.slice(claim.lastIndexOf("/") + 1);
  return BigInt(family === 6 ? `0x${digits}` : digits);
}

/** Claims on those of the addresses that there are; all were checked before they were stored. */
function claimsOnAddresses(network: string, addresses: readonly (string | undefined)[]): string[] {
  return addresses.flatMap((text) => {
    const address = parseIp(text ?? "");
    return address ? [addressClaim(network, address)] : [];
  });
}

function claimsOnSubnets({ network, prefix, prefix6 = "" }: Omit<NodeSubnet, "revision">): string[] {
  return [
    ...(prefix === "" ? [] : [`prefix/${network}/${prefix.replace("/", "-")}`]),
    ...(prefix6 === "" ? [] : [`prefix6/${network}/${prefix6.replace("/", "-")}`]),
  ];
}

export const KINDS: { readonly [K in Kind]: KindDeclaration<Documents[K]> } = {
  node: { key: ({ name }) => name, claims: ({ underlayAddress }) => [`underlay/${underlayAddress}`] },
  network: { key: ({ name }) => name, claims: ({ vni }) => [`vni/${String(vni).padStart(8, "0")}`] },
  subnet: {
    key: ({ network, node }) => `${network}/${node}`,
    claims: (subnet) => [...claimsOnSubnets(subnet), `node/${subnet.node}/${subnet.network}`],
  },
  endpoint: {
    key: ({ network, name }) => `${network}/${name}`,
    claims: ({ network, name, node, address, address6, publishedPorts }) => [
      ...claimsOnAddresses(network, [address, address6]),
      `node/${node}/${network}/${name}`,
      ...publishedPorts.map(({ hostPort }) => `${publishedPortClaim(node, hostPort)}${network}/${name}`),
    ],
  },
  reservation: { key: ({ name }) => name, claims: ({ node, name }) => [`node/${node}/${name}`] },
  policy: { key: ({ network, name }) => `${network}/${name}` },
  token: { key: ({ name }) => name, claims: ({ hash }) => [`hash/${hash}`] },
  authority: { key: ({ name }) => name },
  certificates: { key: ({ node }) => node },
  audit: { key: ({ key }) => key },
  request: { key: ({ id }) => id },
  counter: { key: ({ name }) => name },
  controller: { key: ({ id }) => id, isVolatile: true },
  presence: {
    key: ({ node }) => node,
    claims: ({ controller, node }) => [`controller/${controller}/${node}`],
    isVolatile: true,
  },
  refusal: { key: ({ node }) => node, isVolatile: true },
  question: { key: ({ id }) => id, isVolatile: true },
  answer: { key: ({ question, controller }) => `${question}/${controller}`, isVolatile: true },
};

export const ALL_KINDS = Object.keys(KINDS) as readonly Kind[];

/** The key of a document. */
export function keyOf<K extends Kind>(kind: K, value: Content<K>): string {
  return KINDS[kind].key(value);
}

export function claimsOf<K extends Kind>(kind: K, value: Content<K>): readonly string[] {
  return KINDS[kind].claims?.(value) ?? [];
}

export function isVolatile(kind: Kind): boolean {
  return KINDS[kind].isVolatile === true;
}
