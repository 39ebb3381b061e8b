/** What has to be done so that a cluster has what is wished for: compares, decides the order, changes nothing. Pure. */
import type { Endpoint, Network, Node, Policy, PortReservation } from "@slimfast/proto";
import { PortPurpose } from "@slimfast/proto";
import { CliError } from "../exit-codes.js";
import { NODE_STATE, POLICY_ACTION } from "../resources/enums.js";
import { formatPorts } from "../resources/values.js";
import type { Wish } from "./documents.js";

/** What a cluster has, as far as files can say something about it. */
export interface Present {
  readonly networks: readonly Network[];
  readonly policies: readonly Policy[];
  readonly reservations: readonly PortReservation[];
  readonly nodes: readonly Node[];
  readonly endpoints: readonly Endpoint[];
}

export interface FieldChange {
  readonly field: string;
  readonly before: unknown;
  readonly after: unknown;
}

export type Step =
  | { readonly type: "create"; readonly wish: Wish; readonly changes: readonly FieldChange[] }
  | { readonly type: "update"; readonly wish: Wish; readonly changes: readonly FieldChange[]; readonly etag: string }
  | { readonly type: "unchanged"; readonly wish: Wish }
  | { readonly type: "delete"; readonly kind: "Network" | "Policy"; readonly key: string; readonly etag: string };

/** Networks before the policies in them, labels of endpoints before the policies that go by them. */
const ORDER: readonly Wish["kind"][] = ["Network", "Node", "Endpoint", "PortReservation", "Policy"];

/** What the contract does not let change. */
const FIXED: Readonly<Record<Wish["kind"], readonly string[]>> = {
  Network: ["prefix", "prefix6", "vni", "nodeSubnetLength", "nodeSubnet6Length"],
  PortReservation: ["node"],
  Policy: [],
  Node: [],
  Endpoint: [],
};

/**
 * @param pruneLabel Networks with this label that nobody wishes for are deleted, and policies in networks with it.
 * @throws CliError `failed` if a wish cannot be granted, with all reasons; nothing is changed then.
 */
export function planSteps(
  wishes: readonly Wish[],
  present: Present,
  pruneLabel: readonly [string, string] | null,
): Step[] {
  const reasons: string[] = [];
  const ordered = [...wishes].sort((left, right) => ORDER.indexOf(left.kind) - ORDER.indexOf(right.kind));
  const steps: Step[] = [];
  for (const wish of ordered) {
    const found = find(wish, present);
    if (!found) {
      if (wish.kind === "Node" || wish.kind === "Endpoint") {
        reasons.push(`${wish.kind} ${wish.key} does not exist, and files cannot create it`);
      } else if (wish.kind === "Network" && !hasPrefix(wish.fields)) {
        reasons.push(`Network ${wish.key} does not exist yet and needs a prefix, a prefix6 or both`);
      } else if (wish.kind === "Policy" && wish.fields.action === undefined) {
        reasons.push(`Policy ${wish.key} does not exist yet and needs an action`);
      } else steps.push({ type: "create", wish, changes: fieldChanges(wish, null) });
      continue;
    }
    const changes = fieldChanges(wish, found);
    const fixed = changes.filter(({ field }) => FIXED[wish.kind].includes(field));
    for (const { field, before, after } of fixed) {
      reasons.push(
        `${wish.kind} ${wish.key}: ${field} is ${show(before, field)} and cannot become ${show(after, field)}`,
      );
    }
    if (changes.length === 0) steps.push({ type: "unchanged", wish });
    else steps.push({ type: "update", wish, changes, etag: found.etag });
  }
  if (pruneLabel) steps.push(...pruning(wishes, present, pruneLabel));
  if (reasons.length > 0) throw new CliError("failed", reasons.join("\n"), { remedy: "nothing was changed" });
  return steps;
}

function hasPrefix({ prefix = "", prefix6 = "" }: Partial<Network>): boolean {
  return prefix !== "" || prefix6 !== "";
}

type Found = Readonly<Record<string, unknown>> & { readonly etag: string };

function find(wish: Wish, present: Present): Found | undefined {
  switch (wish.kind) {
    case "Network":
      return spread(present.networks.find(({ name }) => name === wish.key));
    case "Policy":
      return spread(present.policies.find(({ network, name }) => `${network}/${name}` === wish.key));
    case "PortReservation":
      return spread(
        present.reservations.find(
          ({ name, purpose }) => name === wish.key && purpose === PortPurpose.PORT_PURPOSE_STATIC,
        ),
      );
    case "Node":
      return spread(present.nodes.find(({ name }) => name === wish.key));
    case "Endpoint":
      return spread(present.endpoints.find(({ network, name }) => `${network}/${name}` === wish.key));
  }
}

/** As fields by name, which an interface's type does not allow. */
function spread<Item extends { etag: string }>(item: Item | undefined): Found | undefined {
  return item ? { ...item } : undefined;
}

function fieldChanges(wish: Wish, found: Readonly<Record<string, unknown>> | null): FieldChange[] {
  const changes: FieldChange[] = [];
  for (const [field, after] of Object.entries(wish.fields)) {
    const isKey = field === "name" || (field === "network" && wish.kind !== "Network");
    // A lease begins when the reservation is made: with every application it would be another one.
    if (isKey || (found && field === "lease")) continue;
    const before = found?.[field];
    if (!found || canonical(before) !== canonical(after)) changes.push({ field, before: before ?? null, after });
  }
  return changes;
}

function pruning(wishes: readonly Wish[], present: Present, [key, value]: readonly [string, string]): Step[] {
  const wished = new Set(wishes.map((wish) => `${wish.kind} ${wish.key}`));
  const labelled = present.networks.filter(({ labels }) => labels[key] === value);
  const doomed = labelled.filter(({ name }) => !wished.has(`Network ${name}`));
  const kept = new Set(labelled.filter((network) => !doomed.includes(network)).map(({ name }) => name));
  const policies = present.policies.filter(
    ({ network, name }) => kept.has(network) && !wished.has(`Policy ${network}/${name}`),
  );
  return [
    ...policies.map(
      ({ network, name, etag }): Step => ({ type: "delete", kind: "Policy", key: `${network}/${name}`, etag }),
    ),
    // Their policies go with them.
    ...doomed.map(({ name, etag }): Step => ({ type: "delete", kind: "Network", key: name, etag })),
  ];
}

/** The same text for values that mean the same: the order of keys does not matter. */
function canonical(value: unknown): string {
  return JSON.stringify(value, (_key, one: unknown) => {
    if (typeof one === "bigint") return String(one);
    if (typeof one !== "object" || one === null || Array.isArray(one)) return one;
    return Object.fromEntries(Object.entries(one).sort(([left], [right]) => (left < right ? -1 : 1)));
  });
}

/** For people: as it is written in files. */
export function show(value: unknown, field = ""): string {
  if (value === null || value === undefined) return "nothing";
  if (field === "action" && typeof value === "number") return POLICY_ACTION.name(value);
  if (field === "state" && typeof value === "number") return NODE_STATE.name(value);
  if (field === "ports") return (Array.isArray(value) ? value : [value]).map(formatPorts).join(", ") || "all";
  return canonical(value);
}
