/** The command line that does the same as an action of the console. Pure; e2e/src/console runs what it gives. */
import type { Policy, PortRange } from "@slimfast/proto";
import { PolicyAction } from "@slimfast/proto";
import { selectorText } from "./labels.js";

/** For a POSIX shell. */
export function shellWord(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

/** What somebody still has to write stands as it is. */
function word(text: string, placeholder: string): string {
  return text === "" ? placeholder : shellWord(text);
}

function option(name: string, value: string): string[] {
  return value === "" ? [] : [name, shellWord(value)];
}

function slimfast(...words: readonly string[]): string {
  return ["slimfast", ...words].join(" ");
}

export function rangeText({ first, count }: PortRange): string {
  return count === 1 ? `${first}` : `${first}-${first + count - 1}`;
}

export function reservePorts(wanted: {
  readonly name: string;
  readonly node: string;
  /** `first` 0: any free block. */
  readonly ports: PortRange | undefined;
  readonly lease: string;
  readonly description: string;
}): string {
  const { ports } = wanted;
  return slimfast(
    "port reserve",
    word(wanted.name, "NAME"),
    "--node",
    word(wanted.node, "NODE"),
    ...(ports?.first === 0 ? ["--count", String(ports.count)] : ["--ports", ports ? rangeText(ports) : "FIRST-LAST"]),
    ...option("--lease", wanted.lease),
    ...option("--description", wanted.description),
  );
}

export const extendPorts = (name: string, lease: string): string =>
  slimfast("port extend", shellWord(name), "--lease", word(lease, "DURATION"));
export const releasePorts = (name: string): string => slimfast("port release", shellWord(name));

export const cutConnection = (id: string): string => slimfast("connection cut", shellWord(id));

export const drainNode = (name: string, isDraining: boolean): string =>
  slimfast(isDraining ? "node undrain" : "node drain", shellWord(name));
export const deleteNode = (name: string): string => slimfast("node delete", shellWord(name));
export const joinNode = (name: string, underlay: string): string =>
  slimfast("node join-command", word(name, "NAME"), "--underlay", word(underlay, "ADDRESS"));

/** Sets what is new or other, removes what is not there any more. */
function labelChanges(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string[] {
  const set = Object.entries(after).filter(([key, value]) => before[key] !== value);
  const removed = Object.keys(before).filter((key) => after[key] === undefined);
  return [...set.map(([key, value]) => shellWord(`${key}=${value}`)), ...removed.map((key) => shellWord(`${key}-`))];
}

export function labelNode(name: string, before: Record<string, string>, after: Record<string, string>): string {
  return slimfast("node label", shellWord(name), ...(labelChanges(before, after).join(" ") || "KEY=VALUE").split(" "));
}

export function labelEndpoint(
  endpoint: { readonly name: string; readonly network: string; readonly labels: Readonly<Record<string, string>> },
  after: Readonly<Record<string, string>>,
): string {
  const changes = labelChanges(endpoint.labels, after);
  return slimfast(
    "endpoint label",
    shellWord(endpoint.name),
    ...(changes.length > 0 ? changes : ["KEY=VALUE"]),
    "--network",
    shellWord(endpoint.network),
  );
}

export function runEndpoint(wanted: {
  readonly name: string;
  readonly node: string;
  readonly network: string;
  readonly publish: string;
  readonly command: string;
}): string {
  return slimfast(
    "run",
    ...option("--node", wanted.node),
    ...option("--network", wanted.network),
    ...option("--name", wanted.name),
    ...option("--publish", wanted.publish),
    "--",
    wanted.command === "" ? "COMMAND" : wanted.command,
  );
}

export interface WantedNetwork {
  readonly name: string;
  readonly prefix: string;
  readonly prefix6: string;
  readonly vni: number;
  readonly nodeSubnetLength: number;
  readonly description: string;
  readonly labels: Readonly<Record<string, string>>;
  readonly defaultDeny: boolean;
  readonly egress: readonly string[];
}

export function createNetwork(network: WantedNetwork): string {
  return slimfast(
    "network create",
    word(network.name, "NAME"),
    ...(network.prefix === "" && network.prefix6 === "" ? ["--prefix CIDR"] : []),
    ...option("--prefix", network.prefix),
    ...option("--prefix6", network.prefix6),
    ...(network.vni > 0 ? ["--vni", String(network.vni)] : []),
    ...(network.nodeSubnetLength > 0 ? ["--node-subnets", String(network.nodeSubnetLength)] : []),
    ...option("--description", network.description),
    ...Object.entries(network.labels).flatMap(([key, value]) => option("--label", `${key}=${value}`)),
    ...(network.defaultDeny ? ["--default-deny"] : []),
    ...network.egress.flatMap((range) => option("--egress", range)),
  );
}

export function updateNetwork(before: WantedNetwork, after: WantedNetwork): string {
  const labels = labelChanges(before.labels, after.labels);
  const changes = [
    ...(before.description === after.description ? [] : ["--description", shellWord(after.description)]),
    ...labels.flatMap((label) => ["--label", label]),
    ...(before.defaultDeny === after.defaultDeny ? [] : [after.defaultDeny ? "--default-deny" : "--no-default-deny"]),
    ...(before.egress.join() === after.egress.join()
      ? []
      : (after.egress.length > 0 ? after.egress : ["none"]).flatMap((range) => option("--egress", range))),
  ];
  return slimfast("network update", shellWord(before.name), ...changes);
}

export const deleteNetwork = (name: string): string => slimfast("network delete", shellWord(name));

export type WantedPolicy = Pick<Policy, "name" | "network" | "action" | "from" | "to" | "ports" | "description">;

export function writePolicy(verb: "create" | "update" | "try", policy: WantedPolicy): string {
  return slimfast(
    `policy ${verb}`,
    word(policy.name, "NAME"),
    "--network",
    word(policy.network, "NETWORK"),
    "--action",
    policy.action === PolicyAction.POLICY_ACTION_DENY ? "deny" : "allow",
    ...policy.from.flatMap((selector) => option("--from", selectorText(selector))),
    ...policy.to.flatMap((selector) => option("--to", selectorText(selector))),
    "--port",
    policy.ports.map(rangeText).join(",") || "all",
    ...option("--description", policy.description),
  );
}

export const tryDeletion = (network: string, name: string): string =>
  slimfast("policy try", shellWord(name), "--network", shellWord(network), "--deleted");
export const deletePolicy = (network: string, name: string): string =>
  slimfast("policy delete", shellWord(name), "--network", shellWord(network));

export function createToken(token: {
  readonly name: string;
  readonly role: string;
  readonly networks: readonly string[];
  readonly lifetime: string;
  readonly description: string;
}): string {
  return slimfast(
    "token create",
    word(token.name, "NAME"),
    "--role",
    token.role,
    ...token.networks.flatMap((network) => option("--network", network)),
    ...option("--expires", token.lifetime),
    ...option("--description", token.description),
  );
}

export const revokeToken = (name: string): string => slimfast("token revoke", shellWord(name));
