/** What may be asked of a network. Pure. */
import { invalidField } from "../../errors.js";
import { MAX_PREFIX_BITS, MAX_SUBNET_BITS, MAX_VNI, MIN_PREFIX_BITS } from "../../limits.js";
import { formatPrefix, type Prefix, specialUse } from "../ipv4.js";
import type { Network } from "../resources.js";
import { checkDescription, checkLabels, checkName, readPrefix, Violations } from "../validation.js";

export interface NewNetwork extends Omit<Network, "prefix" | "createTimeMs" | "revision"> {
  readonly prefix: Prefix;
}

/** What is read of the message; what is left out is as if it were empty there. */
export type WantedNetwork = Pick<Network, "name" | "vni" | "prefix"> &
  Partial<Pick<Network, "description" | "labels" | "defaultDeny" | "nodeSubnetLength">>;

export type NetworkChange = Pick<Network, "description" | "labels" | "defaultDeny">;

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

export function validNetwork(wanted: WantedNetwork | undefined): NewNetwork {
  if (!wanted) throw invalidField("network", "must be set");
  const { name, vni, description = "", labels = {}, defaultDeny = false, nodeSubnetLength = 0 } = wanted;
  const violations = new Violations();
  checkName(violations, "network.name", name);
  if (vni > MAX_VNI) {
    violations.add("network.vni", `${vni} must be between 1 and ${MAX_VNI}, or 0 to have one chosen`);
  }
  const prefix = readNetworkPrefix(violations, wanted.prefix);
  checkDescription(violations, "network.description", description);
  checkLabels(violations, "network.labels", labels);
  if (prefix && nodeSubnetLength !== 0 && (nodeSubnetLength <= prefix.bits || nodeSubnetLength > MAX_SUBNET_BITS)) {
    violations.add(
      "network.node_subnet_length",
      `${nodeSubnetLength} must be between ${prefix.bits + 1} and ${MAX_SUBNET_BITS} for ${wanted.prefix}, or 0 for none`,
    );
  }
  if (!prefix || violations.any) throw violations.error();
  return { name, vni, prefix, description, labels: { ...labels }, defaultDeny, nodeSubnetLength };
}

/** Checks what a network is to be changed to. */
export function validNetworkChange(change: NetworkChange): NetworkChange {
  const violations = new Violations();
  checkDescription(violations, "network.description", change.description);
  checkLabels(violations, "network.labels", change.labels);
  violations.throwIfAny();
  return change;
}
