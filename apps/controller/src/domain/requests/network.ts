/** What may be asked of a network. Pure. */
import { formatIpPrefix, type IpFamily, type IpPrefix } from "@slimfast/proto";
import { invalidField } from "../../errors.js";
import { MAX_EGRESS_RANGES, MAX_SUBNET_BITS, MAX_VNI, PREFIX_BITS } from "../../limits.js";
import { knownPrefix, specialUse, unreachableUse } from "../address-space.js";
import type { Network } from "../resources.js";
import { checkDescription, checkLabels, checkName, readPrefix, Violations } from "../validation.js";

export type NewNetwork = Required<Omit<Network, "createTimeMs" | "revision">>;

/** What is read of the message; what is left out is as if it were empty there. */
export type WantedNetwork = Pick<Network, "name" | "vni" | "prefix"> &
  Partial<
    Pick<
      Network,
      "prefix6" | "description" | "labels" | "defaultDeny" | "nodeSubnetLength" | "nodeSubnet6Length" | "egress"
    >
  >;

export type NetworkChange = Pick<Network, "description" | "labels" | "defaultDeny" | "egress">;

/** The fields that say what a network has of a family. */
const FIELDS = {
  4: { prefix: "network.prefix", length: "network.node_subnet_length" },
  6: { prefix: "network.prefix6", length: "network.node_subnet6_length" },
} as const;

function readNetworkPrefix(violations: Violations, family: IpFamily, text: string): IpPrefix | undefined {
  const field = FIELDS[family].prefix;
  const prefix = readPrefix(violations, field, text, family);
  if (!prefix) return undefined;
  const { min, max } = PREFIX_BITS[family];
  if (prefix.bits < min || prefix.bits > max) {
    violations.add(field, `${text} must be between /${min} and /${max}`);
    return undefined;
  }
  const use = specialUse(prefix);
  if (use) {
    violations.add(field, `${formatIpPrefix(prefix)} overlaps addresses that containers cannot have: ${use}`);
    return undefined;
  }
  return prefix;
}

/** The prefix of a family in its canonical form; empty: none. */
function readFamily(violations: Violations, family: IpFamily, text: string, subnetLength: number): string {
  const prefix = text === "" ? undefined : readNetworkPrefix(violations, family, text);
  if (subnetLength !== 0) {
    const { length, prefix: field } = FIELDS[family];
    const max = MAX_SUBNET_BITS[family];
    if (text === "") {
      violations.add(length, `${subnetLength} must be 0 without ${field.replace("network.", "")}`);
    } else if (prefix && (subnetLength <= prefix.bits || subnetLength > max)) {
      const bounds = `between ${prefix.bits + 1} and ${max} for ${text}`;
      violations.add(length, `${subnetLength} must be ${bounds}, or 0 for none`);
    }
  }
  return prefix ? formatIpPrefix(prefix) : "";
}

function checkEgress(violations: Violations, ranges: readonly string[]): void {
  const field = "network.egress";
  if (ranges.length > MAX_EGRESS_RANGES) {
    violations.add(field, `has ${ranges.length} entries, at most ${MAX_EGRESS_RANGES} are allowed`);
    return;
  }
  const seen = new Set<string>();
  for (const [index, text] of ranges.entries()) {
    const place = `${field}[${index}]`;
    const range = readPrefix(violations, place, text, "any");
    if (!range) continue;
    const canonical = formatIpPrefix(range);
    if (seen.has(canonical)) violations.add(place, `${text} is given twice`);
    seen.add(canonical);
    const use = unreachableUse(range);
    if (use) violations.add(place, `${text} cannot be reached from a container: ${use}`);
  }
}

/** In one order and form, so that equal ranges are equal texts. */
function sorted(ranges: readonly string[]): readonly string[] {
  return ranges.map((text) => formatIpPrefix(knownPrefix(text))).sort();
}

export function validNetwork(wanted: WantedNetwork | undefined): NewNetwork {
  if (!wanted) throw invalidField("network", "must be set");
  const { name, vni, description = "", labels = {}, defaultDeny = false } = wanted;
  const { nodeSubnetLength = 0, nodeSubnet6Length = 0, egress = [] } = wanted;
  const violations = new Violations();
  checkName(violations, "network.name", name);
  if (vni > MAX_VNI) {
    violations.add("network.vni", `${vni} must be between 1 and ${MAX_VNI}, or 0 to have one chosen`);
  }
  const prefix = readFamily(violations, 4, wanted.prefix, nodeSubnetLength);
  const prefix6 = readFamily(violations, 6, wanted.prefix6 ?? "", nodeSubnet6Length);
  if (wanted.prefix === "" && (wanted.prefix6 ?? "") === "") {
    violations.add("network.prefix", "must be set, or prefix6, or both, for example 10.32.0.0/16 and fd00:32::/64");
  }
  checkDescription(violations, "network.description", description);
  checkLabels(violations, "network.labels", labels);
  checkEgress(violations, egress);
  violations.throwIfAny();
  return {
    name,
    vni,
    prefix,
    prefix6,
    description,
    labels: { ...labels },
    defaultDeny,
    nodeSubnetLength,
    nodeSubnet6Length,
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
