/** What may be asked of a policy. Pure. */
import { formatIpPrefix } from "@slimfast/proto";
import { invalidField } from "../../errors.js";
import { MAX_POLICY_PORT_RANGES, MAX_POLICY_SELECTORS } from "../../limits.js";
import { knownPrefix } from "../address-space.js";
import type { EndpointSelector, Policy } from "../resources.js";
import { checkDescription, checkLabels, checkName, checkPortRange, readPrefix, Violations } from "../validation.js";

export type NewPolicy = Omit<Policy, "createTimeMs" | "revision">;

/** What is read of the message. */
export interface WantedPolicy extends Omit<NewPolicy, "action"> {
  /** Undefined: not an action that there is. */
  readonly action: Policy["action"] | undefined;
}

function checkSelectors(violations: Violations, field: string, selectors: readonly EndpointSelector[]): void {
  if (selectors.length < 1 || selectors.length > MAX_POLICY_SELECTORS) {
    violations.add(field, `has ${selectors.length} selectors, between 1 and ${MAX_POLICY_SELECTORS} are allowed`);
    return;
  }
  for (const [index, { labels, prefix, endpoint }] of selectors.entries()) {
    checkLabels(violations, `${field}[${index}].labels`, labels);
    if (prefix !== "") readPrefix(violations, `${field}[${index}].prefix`, prefix, "any");
    if (endpoint !== "") checkName(violations, `${field}[${index}].endpoint`, endpoint);
  }
}

/** The prefix is kept in its canonical form. */
function selectorOf({ labels, prefix, endpoint }: EndpointSelector): EndpointSelector {
  return { labels: { ...labels }, prefix: prefix === "" ? "" : formatIpPrefix(knownPrefix(prefix)), endpoint };
}

/** Checks a policy as it is to be, new or changed. */
export function validPolicy(wanted: WantedPolicy | undefined): NewPolicy {
  if (!wanted) throw invalidField("policy", "must be set");
  const { name, network, action, from, to, ports, description } = wanted;
  const violations = new Violations();
  checkName(violations, "policy.name", name);
  checkName(violations, "policy.network", network);
  if (action === undefined) violations.add("policy.action", "must be POLICY_ACTION_ALLOW or POLICY_ACTION_DENY");
  checkSelectors(violations, "policy.from", from);
  checkSelectors(violations, "policy.to", to);
  if (ports.length > MAX_POLICY_PORT_RANGES) {
    violations.add("policy.ports", `has ${ports.length} ranges, at most ${MAX_POLICY_PORT_RANGES} are allowed`);
  } else {
    for (const [index, range] of ports.entries()) checkPortRange(violations, `policy.ports[${index}]`, range);
  }
  checkDescription(violations, "policy.description", description);
  if (action === undefined || violations.any) throw violations.error();
  return {
    name,
    network,
    action,
    from: from.map(selectorOf),
    to: to.map(selectorOf),
    ports: ports.map(({ first, count }) => ({ first, count })),
    description,
  };
}
