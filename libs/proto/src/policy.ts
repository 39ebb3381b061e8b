/**
 * Who may connect to whom in one network: the meaning of Policy, for everybody who has to judge by it (agents, which
 * compile it for the kernel; the controller, which tries policies out; the console). Pure, and without dependencies but
 * the messages.
 *
 * Always holds: of the policies that match, one that denies wins; the order of the policies does not matter; nothing that
 * cannot be understood opens a connection (an unknown action denies, a malformed prefix is an error).
 */
import {
  type Endpoint,
  type EndpointSelector,
  type Network,
  type Policy,
  PolicyAction,
  type PortRange,
  Verdict,
} from "./generated/slimfast/v1/resources.js";
import { ADDRESS_BITS, containsIp, parseIp, prefixOf } from "./ip.js";

/** What a selector looks at. The name is unique in the network. */
export type SelectableEndpoint = Pick<Endpoint, "name" | "address" | "labels"> & Partial<Pick<Endpoint, "address6">>;

/** What decides in a policy. Those of other networks have no say. */
export type DecidingPolicy = Pick<Policy, "name" | "network" | "action" | "from" | "to" | "ports">;

export interface PolicyDecision {
  readonly verdict: Verdict.VERDICT_ALLOWED | Verdict.VERDICT_DENIED;
  /** The policy that decided, the first by name where several agree; empty if the network's default did. */
  readonly policy: string;
}

export type EndpointMatcher = (endpoint: SelectableEndpoint) => boolean;

/**
 * Decides about a connection of `from` to port `port` of `to`, both in `network`.
 *
 * @throws RangeError if a prefix is malformed.
 */
export function evaluatePolicies(
  network: Pick<Network, "name" | "defaultDeny">,
  policies: Iterable<DecidingPolicy>,
  from: SelectableEndpoint,
  to: SelectableEndpoint,
  port: number,
): PolicyDecision {
  // What goes on within a container is nobody else's business.
  if (from.name === to.name) return { verdict: Verdict.VERDICT_ALLOWED, policy: "" };
  let denying: string | undefined;
  let allowing: string | undefined;
  for (const policy of policies) {
    if (policy.network !== network.name || !coversPort(policy.ports, port)) continue;
    if (!endpointMatcher(policy.from)(from) || !endpointMatcher(policy.to)(to)) continue;
    if (isDenying(policy)) denying = firstByName(denying, policy.name);
    else allowing = firstByName(allowing, policy.name);
  }
  if (denying !== undefined) return { verdict: Verdict.VERDICT_DENIED, policy: denying };
  if (allowing !== undefined) return { verdict: Verdict.VERDICT_ALLOWED, policy: allowing };
  return { verdict: network.defaultDeny ? Verdict.VERDICT_DENIED : Verdict.VERDICT_ALLOWED, policy: "" };
}

/** An action that is not known yet denies. */
export function isDenying({ action }: Pick<Policy, "action">): boolean {
  return action !== PolicyAction.POLICY_ACTION_ALLOW;
}

/** Whether one of the ranges has the port; none of them means all ports. */
export function coversPort(ranges: readonly PortRange[], port: number): boolean {
  return ranges.length === 0 || ranges.some(({ first, count }) => port >= first && port < first + count);
}

/**
 * Whether any of the selectors means an endpoint, prepared for being asked often. No selector means none.
 *
 * @throws RangeError if a prefix is malformed.
 */
export function endpointMatcher(selectors: readonly EndpointSelector[]): EndpointMatcher {
  const matchers = selectors.map(selectorMatcher);
  return (endpoint) => matchers.some((matches) => matches(endpoint));
}

function selectorMatcher({ labels, prefix, endpoint: name }: EndpointSelector): EndpointMatcher {
  const wanted = Object.entries(labels);
  const isInside = prefix === "" ? () => true : prefixMatcher(prefix);
  return (endpoint) =>
    (name === "" || endpoint.name === name) &&
    wanted.every(([key, value]) => Object.hasOwn(endpoint.labels, key) && endpoint.labels[key] === value) &&
    isInside(endpoint);
}

/** Looks at the endpoint's address of the prefix's family. Bits of the prefix beyond its length do not count. */
function prefixMatcher(text: string): EndpointMatcher {
  const slash = text.lastIndexOf("/");
  const base = parseIp(text.slice(0, slash));
  const length = text.slice(slash + 1);
  const bits = Number(length);
  if (!base || !/^\d{1,3}$/.test(length) || bits > ADDRESS_BITS[base.family]) {
    throw new RangeError(`${JSON.stringify(text)} is not an IPv4 or IPv6 prefix in CIDR notation`);
  }
  const prefix = prefixOf(base, bits);
  return ({ address, address6 }) => {
    const own = parseIp((prefix.family === 6 ? address6 : address) ?? "");
    return own !== undefined && containsIp(prefix, own);
  };
}

function firstByName(left: string | undefined, right: string): string {
  return left !== undefined && left < right ? left : right;
}
