/**
 * From the policies and endpoints of one network to what the kernel keeps: a number (identity) for each endpoint, and
 * ranges of ports for pairs of identities. Pure.
 *
 * Endpoints that the same policies mean on the same sides share an identity, so that the kernel's table grows with the
 * kinds of endpoints and not with their number. An identity that the kernel knows keeps its meaning: what comes anew gets
 * a number that nobody has there. Pairs in which no end is on this node are left out: their connections never come by
 * here. What the network's default says anyway is left out as well.
 */
import type { NetworkPolicy } from "@slimfast/core";
import type { Endpoint, Network, Policy } from "@slimfast/proto";
import { difference, type Ports, union } from "./port-ranges.js";
import { both, isDisjoint, type PolicyBits, type PolicyTable, setBits, tableOf } from "./table.js";

/** One network as this node sees it. */
export interface NetworkView {
  readonly network: Network;
  /** Another array whenever one of them is another. */
  readonly policies: readonly Policy[];
  readonly endpoints: readonly Endpoint[];
}

/** A compiled policy, to be accepted when the kernel has it. */
export interface Compiled {
  readonly policy: NetworkPolicy;
  /** Numbers by what the policies mean. */
  readonly numbers: ReadonlyMap<string, number>;
}

/** Endpoints of one identity. */
interface Group {
  readonly identity: number;
  readonly from: PolicyBits;
  readonly to: PolicyBits;
  isLocal: boolean;
}

export class NetworkCompiler {
  readonly #node: string;
  /** Identities that the kernel has, by what the policies mean. */
  #numbers: ReadonlyMap<string, number>;

  /**
   * @param node - name of this node
   * @param numbers - identities that the kernel has of a former agent
   */
  constructor(node: string, numbers: ReadonlyMap<string, number> = new Map()) {
    this.#node = node;
    this.#numbers = numbers;
  }

  /**
   * Undefined if there is nothing to enforce.
   *
   * @throws RangeError if a prefix is malformed.
   */
  compile({ network, policies, endpoints }: NetworkView): Compiled | undefined {
    const isDefaultDeny = network.defaultDeny;
    const table = tableOf(policies);
    // Where everything is allowed anyway, permissions decide nothing.
    const deciding = table.mask((entry) => isDefaultDeny || entry.isDenying);
    if (!isDefaultDeny && deciding.every((word) => word === 0)) return undefined;
    const { groups, identities, numbers } = this.#group(table, deciding, endpoints);
    const verdicts = verdictsOf(table, isDefaultDeny, groups);
    return { policy: { vni: network.vni, isDefaultDeny, identities, verdicts }, numbers };
  }

  /** Identities that the kernel may have from the moment that it is given `compiled`, and until it has taken it. */
  numbersWith({ numbers }: Compiled): Map<string, number> {
    return new Map([...this.#numbers, ...numbers]);
  }

  /** The kernel has it now. */
  accept({ numbers }: Compiled): void {
    this.#numbers = numbers;
  }

  #group(table: PolicyTable, deciding: PolicyBits, endpoints: readonly Endpoint[]) {
    const names = table.entries.map(({ name }) => name);
    const signatureOf = (from: PolicyBits, to: PolicyBits) =>
      `${setBits(from).map((index) => names[index])} ${setBits(to).map((index) => names[index])}`;
    const groups = new Map<string, Group>();
    // Reading bits is cheaper than reading names.
    const signatures = new Map<string, string>();
    const members: { endpointId: number; signature: string }[] = [];
    for (const endpoint of endpoints) {
      const row = table.row(endpoint);
      const from = both(row.from, deciding);
      const to = both(row.to, deciding);
      const bits = `${from} ${to}`;
      const signature = signatures.get(bits) ?? signatureOf(from, to);
      signatures.set(bits, signature);
      members.push({ endpointId: endpoint.id, signature });
      const group = groups.get(signature);
      const isLocal = endpoint.node === this.#node;
      if (group) group.isLocal ||= isLocal;
      else groups.set(signature, { identity: 0, from, to, isLocal });
    }
    const numbers = this.#number([...groups.keys()]);
    const identityOf = (signature: string) => numbers.get(signature) ?? 0;
    return {
      numbers,
      groups: [...groups].map(([signature, group]) => ({ ...group, identity: identityOf(signature) })),
      identities: members
        .map(({ endpointId, signature }) => ({ endpointId, identity: identityOf(signature) }))
        .sort((left, right) => left.endpointId - right.endpointId),
    };
  }

  #number(signatures: readonly string[]): Map<string, number> {
    const taken = new Set(this.#numbers.values());
    const numbers = new Map<string, number>();
    let next = 1;
    for (const signature of signatures) {
      let identity = this.#numbers.get(signature);
      if (identity === undefined) {
        while (taken.has(next)) next += 1;
        identity = next;
        taken.add(identity);
      }
      numbers.set(signature, identity);
    }
    return numbers;
  }
}

/** What differs from the network's default. */
function verdictsOf(table: PolicyTable, isDefaultDeny: boolean, groups: readonly Group[]): NetworkPolicy["verdicts"] {
  const verdicts: NetworkPolicy["verdicts"] = [];
  // Many pairs have the same policies between them.
  const known = new Map<string, readonly Ports[]>();
  const listening = groups.filter(({ to }) => to.some((word) => word !== 0));
  for (const from of groups) {
    for (const to of listening) {
      if (!(from.isLocal || to.isLocal) || isDisjoint(from.from, to.to)) continue;
      const between = both(from.from, to.to);
      const key = between.join();
      const ports = known.get(key) ?? exceptions(table, isDefaultDeny, between);
      known.set(key, ports);
      for (const { first, last } of ports) {
        verdicts.push({
          from: from.identity,
          to: to.identity,
          portFirst: first,
          portLast: last,
          isAllowed: isDefaultDeny,
        });
      }
    }
  }
  return verdicts;
}

/** The ports for which these policies say something else than the default. */
function exceptions(table: PolicyTable, isDefaultDeny: boolean, policies: PolicyBits): Ports[] {
  const ports = (isDenying: boolean) =>
    union(
      setBits(policies).flatMap((index) => {
        const entry = table.entries[index];
        return entry?.isDenying === isDenying ? entry.ports : [];
      }),
    );
  return isDefaultDeny ? difference(ports(false), ports(true)) : ports(true);
}
