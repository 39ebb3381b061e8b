/**
 * The policies of one network, prepared for many questions: which of them mean an endpoint is worked out once for each
 * endpoint, as two rows of bits. Pure; a table does not change, other policies make another table.
 *
 * Always holds: `decide` says what `evaluatePolicies` would.
 */
import {
  type EndpointMatcher,
  endpointMatcher,
  isDenying,
  type Policy,
  type PolicyDecision,
  type SelectableEndpoint,
  Verdict,
} from "@slimfast/proto";
import { type Ports, portsOf } from "./port-ranges.js";

/** One bit for each policy of the table, in the table's order. */
export type PolicyBits = Uint32Array;

/** The policies that mean an endpoint as the one that connects, and as the one that listens. */
export interface EndpointRow {
  readonly from: PolicyBits;
  readonly to: PolicyBits;
}

export interface TableEntry {
  readonly name: string;
  readonly isDenying: boolean;
  readonly ports: readonly Ports[];
}

export class PolicyTable {
  /** By name. */
  readonly entries: readonly TableEntry[];
  readonly #matchers: readonly { from: EndpointMatcher; to: EndpointMatcher }[];
  readonly #rows = new WeakMap<SelectableEndpoint, EndpointRow>();

  /** @throws RangeError if a prefix is malformed. */
  constructor(policies: readonly Policy[]) {
    const sorted = policies.toSorted((left, right) => (left.name < right.name ? -1 : 1));
    this.entries = sorted.map((policy) => ({
      name: policy.name,
      isDenying: isDenying(policy),
      ports: portsOf(policy.ports),
    }));
    this.#matchers = sorted.map(({ from, to }) => ({ from: endpointMatcher(from), to: endpointMatcher(to) }));
  }

  /** Remembered for each object: an endpoint that changes is another object. */
  row(endpoint: SelectableEndpoint): EndpointRow {
    let row = this.#rows.get(endpoint);
    if (!row) {
      row = { from: this.#bits(), to: this.#bits() };
      for (const [index, { from, to }] of this.#matchers.entries()) {
        if (from(endpoint)) setBit(row.from, index);
        if (to(endpoint)) setBit(row.to, index);
      }
      this.#rows.set(endpoint, row);
    }
    return row;
  }

  /** The policies that `isWanted`, as bits. */
  mask(isWanted: (entry: TableEntry) => boolean): PolicyBits {
    const bits = this.#bits();
    for (const [index, entry] of this.entries.entries()) if (isWanted(entry)) setBit(bits, index);
    return bits;
  }

  decide(isDefaultDeny: boolean, from: SelectableEndpoint, to: SelectableEndpoint, port: number): PolicyDecision {
    if (from.name === to.name) return { verdict: Verdict.VERDICT_ALLOWED, policy: "" };
    let allowing: TableEntry | undefined;
    if (this.entries.length > 0) {
      for (const index of setBits(both(this.row(from).from, this.row(to).to))) {
        const entry = this.entries[index];
        if (!entry?.ports.some(({ first, last }) => port >= first && port <= last)) continue;
        if (entry.isDenying) return { verdict: Verdict.VERDICT_DENIED, policy: entry.name };
        allowing ??= entry;
      }
    }
    if (allowing) return { verdict: Verdict.VERDICT_ALLOWED, policy: allowing.name };
    return { verdict: isDefaultDeny ? Verdict.VERDICT_DENIED : Verdict.VERDICT_ALLOWED, policy: "" };
  }

  #bits(): PolicyBits {
    return new Uint32Array(Math.ceil(this.#matchers.length / 32));
  }
}

export function both(left: PolicyBits, right: PolicyBits): PolicyBits {
  return left.map((word, index) => word & (right[index] ?? 0));
}

export function isDisjoint(left: PolicyBits, right: PolicyBits): boolean {
  for (let index = 0; index < left.length; index += 1) {
    if (((left[index] ?? 0) & (right[index] ?? 0)) !== 0) return false;
  }
  return true;
}

/** Indexes of the bits that are set, in order. */
export function setBits(bits: PolicyBits): number[] {
  const indexes: number[] = [];
  for (const [word, value] of bits.entries()) {
    for (let rest = value; rest !== 0; rest &= rest - 1) indexes.push(word * 32 + (31 - Math.clz32(rest & -rest)));
  }
  return indexes;
}

function setBit(bits: PolicyBits, index: number): void {
  const word = index >>> 5;
  bits[word] = (bits[word] ?? 0) | (1 << (index & 31));
}

const tables = new WeakMap<readonly Policy[], PolicyTable>();

/** The table of these policies; made once for each array, which must not change. */
export function tableOf(policies: readonly Policy[]): PolicyTable {
  let table = tables.get(policies);
  if (!table) {
    table = new PolicyTable(policies);
    tables.set(policies, table);
  }
  return table;
}
