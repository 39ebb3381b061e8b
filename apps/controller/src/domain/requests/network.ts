/** What may be asked of a network. Pure. */
import { invalidField } from "../../errors.js";
import { MAX_EGRESS_RANGES, MAX_PREFIX_BITS, MAX_SUBNET_BITS, MAX_VNI, MIN_PREFIX_BITS } from "../../limits.js";
import { formatPrefix, type Prefix, specialUse } from "../ipv4.js";
import type { Network } from "../resources.js";
import { checkDescription, checkLabels, checkName, readPrefix, Violations } from "../validation.js";

export interface NewNetwork extends Omit<Network, "prefix" | "createTimeMs" | "revision"> {
  readonly prefix: Prefix;
}

/** What is read of the message; what is left out is as if it were empty there. */
export type WantedNetwork = Pick<Network, "name" | "vni" | "prefix"> &
  Partial<Pick<Network, "description" | "labels" | "defaultDeny" | "nodeSubnetLength" | "egress">>;

export type NetworkChange = Pick<Network, "description" | "labels" | "defaultDeny" | "egress">;

function readNetworkPrefix(violations: Violations, text: string): Prefix | undefined {
  const field = "network.prefix";
  const prefix = readPrefix(violations, field, text);
  if (!prefix) return undefined;
  if (prefix.bits < MIN_PREFIX_BITS || prefix.bits > MAX_PREFIX_BITS) {
    violations.add(field, `${text} must be between /${MIN_PREFIX_BITS} and /${MAX_PREFIX_BITS}`);
    return undefined;
  }
  const use = specialUse(prefix);
  if (use) {
    violations.add(field, `${formatPrefix(prefix)} overlaps addresses that containers cannot have: ${use}`);
    return undefined;
  }
  return prefix;
}

/** Ranges that no connection can leave for, whatever is allowed: a wide range may contain them, and does not open them. */
const NEVER_OUTSIDE: readonly string[] = ["0.0.0.0/8", "127.0.0.0/8", "224.0.0.0/4", "240.0.0.0/4"];

function checkEgress(violations: Violations, ranges: readonly string[]): void {
  const field = "network.egress";
  if (ranges.length > MAX_EGRESS_RANGES) {
    violations.add(field, `has ${ranges.length} entries, at most ${MAX_EGRESS_RANGES} are allowed`);
    return;
  }
  const seen = new Set<string>();
  for (const [index, text] of ranges.entries()) {
    const place = `${field}[${index}]`;
    const range = readPrefix(violations, place, text);
    if (!range) continue;
    if (seen.has(formatPrefix(range))) violations.add(place, `${text} is given twice`);
    seen.add(formatPrefix(range));
    const never = NEVER_OUTSIDE.map((special) => readPrefix(violations, place, special)).find(
      (special) => special && special.first <= range.first && range.last <= special.last,
    );
    if (never) violations.add(place, `${text} cannot be reached from a container: ${specialUse(range)}`);
  }
}

function sorted(ranges: readonly string[]): readonly string[] {
  return [...ranges].sort();
}

export function validNetwork(wanted: WantedNetwork | undefined): NewNetwork {
  if (!wanted) throw invalidField("network", "must be set");
  const { name, vni, description = "", labels = {}, defaultDeny = false, nodeSubnetLength = 0 } = wanted;
  const egress = wanted.egress ?? [];
  const violations = new Violations();
  checkName(violations, "network.name", name);
  if (vni > MAX_VNI) {
    violations.add("network.vni", `${vni} must be between 1 and ${MAX_VNI}, or 0 to have one chosen`);
  }
  const prefix = readNetworkPrefix(violations, wanted.prefix);
  checkDescription(violations, "network.description", description);
  checkLabels(violations, "network.labels", labels);
  checkEgress(violations, egress);
  if (prefix && nodeSubnetLength !== 0 && (nodeSubnetLength <= prefix.bits || nodeSubnetLength > MAX_SUBNET_BITS)) {
    violations.add(
      "network.node_subnet_length",
      `${nodeSubnetLength} must be between ${prefix.bits + 1} and ${MAX_SUBNET_BITS} for ${wanted.prefix}, or 0 for none`,
    );
  }
  if (!prefix || violations.any) throw violations.error();
  return {
    name,
    vni,
    prefix,
    description,
    labels: { ...labels },
    defaultDeny,
    nodeSubnetLength,
    egress: sorted(egress),
  };
}

/** Checks what a network is to be changed to. */
export function validNetworkChange(change: NetworkChange): NetworkChange {
  const violations = new Violations();
  checkDescription(violations, "network.description", change.description);
  checkLabels(violations, "network.labels", change.labels);
  checkEgress(violations, change.egress ?? []);
  violations.throwIfAny();
  return { ...change, egress: sorted(change.egress ?? []) };
}
