/** One transaction: changes the state in place, and remembers what it changed so that it can be undone or written. */
import type { IpFamily } from "@slimfast/proto";
import type { IntegerRange } from "../domain/allocation.js";
import type { AuditEntry, Endpoint, Network, Node } from "../domain/resources.js";
import { ClusterError } from "../errors.js";
import { changeOf } from "./commit-log.js";
import { type Content, type Documents, type Kind, keyOf } from "./kinds.js";
import { type ReadNotes, StateReader } from "./reader.js";
import { ClaimTakenError, type Mutation, type State } from "./state.js";
import type { AddressScope, Change, PutOptions, StoreTransaction } from "./store.js";

/** A mutation with what its writer said of its lease. */
export interface Write extends Mutation {
  readonly leaseMs: number | undefined;
}

/** How a store gives out numbers: alone it counts, beside other controllers it has shares of its own. */
export interface NumberSource {
  endpointId(tx: StoreTransaction, vni: number): number;
  addressCursor(tx: StoreTransaction, scope: AddressScope, range: IntegerRange): number;
  setAddressCursor(tx: StoreTransaction, scope: AddressScope, next: number): void;
}

export interface TransactionOptions {
  readonly state: State;
  /** What its changes get, as far as is known. */
  readonly revision: bigint;
  readonly numbers: NumberSource;
  readonly controllerId: string;
  /** Audit entries before it that get the same revision. */
  readonly auditOrdinal: number;
  readonly notes?: ReadNotes;
}

/** The counter of which the next endpoint id of a VNI is taken. */
export function endpointIdCounter(vni: number): string {
  return `endpoint-id/${String(vni).padStart(8, "0")}`;
}

const ADDRESS_COUNTERS: Readonly<Record<IpFamily, string>> = { 4: "address", 6: "address6" };

/** The counter that keeps where the search for a free address begins. */
export function addressCounter({ network, family, node }: AddressScope): string {
  const ofNetwork = `${ADDRESS_COUNTERS[family]}/${network}`;
  return node === undefined ? ofNetwork : `${ofNetwork}/${node}`;
}

const TIME_DIGITS = 15;

export class Transaction extends StateReader implements StoreTransaction {
  readonly writes: Write[] = [];
  readonly #options: TransactionOptions;
  #auditEntries = 0;

  constructor(options: TransactionOptions) {
    super(options.state, options.notes);
    this.#options = options;
  }

  get auditEntries(): number {
    return this.#auditEntries;
  }

  put<K extends Kind>(kind: K, content: Content<K>, { leaseMs }: PutOptions = {}): Documents[K] {
    const value = { ...content, revision: this.#options.revision } as Documents[K];
    try {
      this.writes.push({ ...this.state.put(kind, value), leaseMs });
    } catch (error) {
      if (error instanceof ClaimTakenError) {
        throw new ClusterError("already_exists", error.message, {}, error);
      }
      throw error;
    }
    return value;
  }

  delete(kind: Kind, key: string): void {
    const mutation = this.state.delete(kind, key);
    if (mutation) this.writes.push({ ...mutation, leaseMs: undefined });
  }

  putNode(node: Omit<Node, "revision">): Node {
    return this.put("node", node);
  }

  deleteNode(name: string): void {
    for (const reservation of this.listByClaim("reservation", `node/${name}/`)) {
      this.delete("reservation", reservation.name);
    }
    for (const subnet of this.listByClaim("subnet", `node/${name}/`)) this.delete("subnet", keyOf("subnet", subnet));
    this.delete("certificates", name);
    this.delete("refusal", name);
    this.delete("node", name);
  }

  insertNetwork(network: Omit<Network, "revision">): Network {
    // Outlives the network: an endpoint is known by (VNI, id) on the wire, so ids stay used up even when another network
    // gets the VNI.
    const counter = endpointIdCounter(network.vni);
    if (!this.get("counter", counter)) this.put("counter", { name: counter, next: 1 });
    return this.put("network", network);
  }

  updateNetwork(network: Omit<Network, "revision">): Network {
    return this.put("network", network);
  }

  deleteNetwork(name: string): void {
    for (const policy of this.listPolicies({ network: name, limit: -1 }))
      this.delete("policy", keyOf("policy", policy));
    for (const subnet of this.listSubnets(name)) this.delete("subnet", keyOf("subnet", subnet));
    for (const family of [4, 6] as const) {
      const counter = addressCounter({ network: name, family });
      this.delete("counter", counter);
      for (const cursor of this.list("counter", { prefix: `${counter}/`, limit: -1 }))
        this.delete("counter", cursor.name);
    }
    this.delete("network", name);
  }

  takeEndpointId(vni: number): number {
    return this.#options.numbers.endpointId(this, vni);
  }

  addressCursor(scope: AddressScope, range: IntegerRange): number {
    return this.#options.numbers.addressCursor(this, scope, range);
  }

  setAddressCursor(scope: AddressScope, next: number): void {
    this.#options.numbers.setAddressCursor(this, scope, next);
  }

  insertEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint {
    return this.put("endpoint", endpoint);
  }

  updateEndpoint(endpoint: Omit<Endpoint, "revision">): Endpoint {
    return this.put("endpoint", endpoint);
  }

  deleteEndpoint({ network, name }: Pick<Endpoint, "network" | "name">): void {
    this.delete("endpoint", `${network}/${name}`);
  }

  changes(): readonly Change[] {
    return collapse(this.writes).map(changeOf);
  }

  appendAudit(entry: Omit<AuditEntry, "key" | "ordinal" | "revision">): void {
    const ordinal = this.#options.auditOrdinal + this.#auditEntries;
    this.#auditEntries += 1;
    const time = String(entry.timeMs).padStart(TIME_DIGITS, "0");
    const place = `${String(this.#options.revision).padStart(20, "0")}-${String(ordinal).padStart(4, "0")}`;
    this.put("audit", { ...entry, key: `${time}-${place}-${this.#options.controllerId}`, ordinal });
  }
}

/** What the writes come to: one mutation for each document, in the order of the first writes. */
export function collapse(writes: readonly Write[]): Write[] {
  const byDocument = new Map<string, Write>();
  for (const write of writes) {
    const id = `${write.kind}:${write.key}`;
    const earlier = byDocument.get(id);
    const leaseMs = write.leaseMs ?? (write.after ? earlier?.leaseMs : undefined);
    byDocument.set(id, earlier ? { ...write, before: earlier.before, leaseMs } : write);
  }
  return [...byDocument.values()].filter(({ before, after }) => before || after);
}
