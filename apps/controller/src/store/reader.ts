/** Typed reading of the documents in memory. Transactions note here what they read. */
import type { IpAddress } from "@slimfast/proto";
import {
  type AuditEntry,
  type Endpoint,
  frontReservation,
  type Network,
  type Node,
  type NodeSubnet,
  type Policy,
  type PortRange,
  type PortReservation,
  publishedReservations,
  type Token,
} from "../domain/resources.js";
import { MAX_PORT } from "../limits.js";
import {
  addressClaim,
  addressClaims,
  claimedAddress,
  type Documents,
  type Kind,
  publishedPortClaim,
  publishedPortClaims,
} from "./kinds.js";
import type { State } from "./state.js";
import type { DocumentPage, Page, StoreReader } from "./store.js";

/** What must still be so when a transaction is committed. Prefixes: no document or claim may have come. */
export interface ReadNotes {
  document(kind: Kind, key: string): void;
  claim(kind: Kind, claim: string): void;
  documents(kind: Kind, prefix: string): void;
  claims(kind: Kind, prefix: string): void;
}

function* take<Item>(items: Iterable<Item>, limit: number): Generator<Item> {
  if (limit === 0) return;
  let left = limit;
  for (const item of items) {
    yield item;
    left -= 1;
    if (left === 0) return;
  }
}

/** The part of a claim or key behind the n-th slash (the first has the number 1), up to the next. */
function part(key: string, number: number): string {
  return key.split("/")[number] ?? "";
}

const ALL_PORTS: PortRange = { first: 1, count: MAX_PORT };

function byFirstPort(one: PortReservation, other: PortReservation): number {
  return one.ports.first - other.ports.first;
}

export class StateReader implements StoreReader {
  protected readonly state: State;
  readonly #notes: ReadNotes | undefined;

  constructor(state: State, notes?: ReadNotes) {
    this.state = state;
    this.#notes = notes;
  }

  get revision(): bigint {
    return this.state.revision;
  }

  get<K extends Kind>(kind: K, key: string): Documents[K] | undefined {
    this.#notes?.document(kind, key);
    return this.state.get(kind, key);
  }

  list<K extends Kind>(kind: K, { limit, after, prefix = "" }: DocumentPage): Documents[K][] {
    this.#notes?.documents(kind, prefix);
    return Array.from(take(this.state.keys(kind).range(prefix, { after }), limit), (key) => this.#present(kind, key));
  }

  count(kind: Kind): number {
    return this.state.keys(kind).size;
  }

  getByClaim<K extends Kind>(kind: K, claim: string): Documents[K] | undefined {
    this.#notes?.claim(kind, claim);
    const key = this.state.holder(kind, claim);
    return key === undefined ? undefined : this.get(kind, key);
  }

  listByClaim<K extends Kind>(kind: K, prefix: string): Documents[K][] {
    return Array.from(this.#claims(kind, prefix), (claim) =>
      this.#present(kind, this.state.holder(kind, claim) as string),
    );
  }

  #present<K extends Kind>(kind: K, key: string): Documents[K] {
    const value = this.state.get(kind, key);
    if (!value) throw new Error(`${kind} ${key} is in an index and not there`);
    return value;
  }

  #claims(kind: Kind, prefix: string): Iterable<string> {
    this.#notes?.claims(kind, prefix);
    return this.state.claims(kind).range(prefix);
  }

  getNode(name: string): Node | undefined {
    return this.get("node", name);
  }

  getNodeByUnderlayAddress(address: string): Node | undefined {
    return this.getByClaim("node", `underlay/${address}`);
  }

  listNodes(page: Page & { after?: string }): Node[] {
    return this.list("node", page);
  }

  getNetwork(name: string): Network | undefined {
    return this.get("network", name);
  }

  getNetworkByVni(vni: number): Network | undefined {
    return this.getByClaim("network", `vni/${String(vni).padStart(8, "0")}`);
  }

  listNetworks(page: Page & { after?: string }): Network[] {
    return this.list("network", page);
  }

  *vnisEverUsed(): Iterable<number> {
    for (const key of this.state.keys("counter").range("endpoint-id/")) yield Number(part(key, 1));
  }

  *vnisInUse(): Iterable<number> {
    for (const claim of this.state.claims("network").range("vni/")) yield Number(part(claim, 1));
  }

  getSubnet(network: string, node: string): NodeSubnet | undefined {
    return this.get("subnet", `${network}/${node}`);
  }

  listSubnets(network: string): NodeSubnet[] {
    return this.list("subnet", { prefix: `${network}/`, limit: -1 });
  }

  getEndpoint(network: string, name: string): Endpoint | undefined {
    return this.get("endpoint", `${network}/${name}`);
  }

  getEndpointByAddress(network: string, address: IpAddress): Endpoint | undefined {
    return this.getByClaim("endpoint", addressClaim(network, address));
  }

  listEndpoints({
    after,
    network = "",
    node = "",
    limit,
  }: Page & { after?: { network: string; name: string }; network?: string; node?: string }): Endpoint[] {
    const behind = after && `${after.network}/${after.name}`;
    const prefix = network === "" ? "" : `${network}/`;
    if (node === "") return this.list("endpoint", { prefix, after: behind, limit });
    // The claims of a node are in the order of network and name as well.
    const claims = `node/${node}/`;
    this.#notes?.claims("endpoint", claims + prefix);
    const options = behind === undefined ? {} : { after: claims + behind };
    const found = take(this.state.claims("endpoint").range(claims + prefix, options), limit);
    return Array.from(found, (claim) => this.#present("endpoint", claim.slice(claims.length)));
  }

  networksOfNode(node: string): string[] {
    return [...new Set(Array.from(this.#claims("endpoint", `node/${node}/`), (claim) => part(claim, 2)))];
  }

  nodesOfNetwork(network: string): string[] {
    const nodes = new Set<string>();
    for (const key of this.state.keys("endpoint").range(`${network}/`)) nodes.add(this.#present("endpoint", key).node);
    return [...nodes].sort();
  }

  hasEndpoints(network: string, node?: string): boolean {
    if (node === undefined) {
      this.#notes?.documents("endpoint", `${network}/`);
      return this.state.keys("endpoint").first(`${network}/`) !== undefined;
    }
    const prefix = `node/${node}/${network}/`;
    this.#notes?.claims("endpoint", prefix);
    return this.state.claims("endpoint").first(prefix) !== undefined;
  }

  *addressesFrom(network: string, from: IpAddress): Iterable<bigint> {
    const claims = addressClaims(network, from.family);
    for (const claim of this.state.claims("endpoint").range(claims, { from: addressClaim(network, from) })) {
      yield claimedAddress(claim, from.family);
    }
  }

  getPolicy(network: string, name: string): Policy | undefined {
    return this.get("policy", `${network}/${name}`);
  }

  listPolicies({
    after,
    network = "",
    limit,
  }: Page & { after?: { network: string; name: string }; network?: string }): Policy[] {
    const prefix = network === "" ? "" : `${network}/`;
    return this.list("policy", { prefix, after: after && `${after.network}/${after.name}`, limit });
  }

  getReservation(name: string): PortReservation | undefined {
    return this.get("reservation", name);
  }

  listReservations({
    after,
    node = "",
    limit,
  }: Page & { after?: { node: string; first: number }; node?: string }): PortReservation[] {
    const found: PortReservation[] = [];
    const nodes = node === "" ? this.state.keys("node").range("", { from: after?.node }) : [node];
    for (const name of nodes) {
      for (const reservation of this.#reservationsOf(name)) {
        if (found.length === limit) return found;
        if (!after || name !== after.node || reservation.ports.first > after.first) found.push(reservation);
      }
    }
    return found;
  }

  reservationsWithin(node: string, { first, count }: PortRange): PortReservation[] {
    return this.#reservationsOf(node, { first, count }).filter(
      ({ ports }) => ports.first < first + count && ports.first + ports.count > first,
    );
  }

  /** All that have one of the ports, and maybe others. */
  #reservationsOf(name: string, ports: PortRange = ALL_PORTS): PortReservation[] {
    const node = this.getNode(name);
    if (!node) return [];
    const published = this.#publishers(name, ports).flatMap(publishedReservations);
    const found = [frontReservation(node), ...this.listByClaim("reservation", `node/${name}/`), ...published];
    return found.sort(byFirstPort);
  }

  /** Endpoints that publish one of the node's ports. Of a single port nothing else is read: others may come and go meanwhile. */
  #publishers(node: string, { first, count }: PortRange): Endpoint[] {
    const prefix = count === 1 ? publishedPortClaim(node, first) : publishedPortClaims(node);
    this.#notes?.claims("endpoint", prefix);
    const keys = new Set<string>();
    for (const claim of this.state.claims("endpoint").range(prefix, { from: publishedPortClaim(node, first) })) {
      if (Number(part(claim, 2)) >= first + count) break;
      keys.add(this.state.holder("endpoint", claim) as string);
    }
    return Array.from(keys, (key) => this.#present("endpoint", key));
  }

  getToken(name: string): Token | undefined {
    return this.get("token", name);
  }

  getTokenByHash(hash: string): Token | undefined {
    return this.getByClaim("token", `hash/${hash}`);
  }

  listTokens(page: Page & { after?: string }): Token[] {
    return this.list("token", page);
  }

  listAuditEntries({ after, limit }: Page & { after?: string }): AuditEntry[] {
    return this.state
      .keys("audit")
      .backwards(limit, after)
      .map((key) => this.#present("audit", key));
  }
}
