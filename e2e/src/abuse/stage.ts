/** Where rows that take two are tried: a cluster, programs in its namespaces, and what was attempted so far. */
import { execFileSync } from "node:child_process";
import type { Endpoint } from "@slimfast/proto";
import type { Background } from "../fixture/background.js";
import type { Cluster } from "../fixture/cluster.js";
import { script } from "../fixture/programs.js";
import { type Account, type Attempt, FAMILIES, WAYS } from "./attempts.js";

/** What each endpoint of the stage's nodes may have. */
export const LIMITS = { sockets: 1_000, listeners: 200, connects: 400 } as const;
export const ALL_WAYS = WAYS.join();

/** All is tried in a network of both families. */
export const NETWORK = "both";
const PREFIXES = ["--prefix", "10.63.0.0/16", "--prefix6", "fd63::/64"];

export interface Stage {
  readonly cluster: Cluster;
  readonly account: Account;
}

export async function createNetwork({ cluster }: Pick<Stage, "cluster">): Promise<void> {
  await cluster.cli.json("network", "create", NETWORK, ...PREFIXES);
}

/** The endpoint as its node has it. */
export async function endpointOf({ cluster }: Stage, { node, name }: Background): Promise<Endpoint> {
  const { endpoints } = await cluster.agent(node).local.listAttachedEndpoints({});
  const found = endpoints.find(({ endpoint }) => endpoint?.name === name)?.endpoint;
  if (!found) throw new Error(`${node} does not have ${name}`);
  return found;
}

/** The address by which sockets of the family reach it. */
export function addressFor(family: Attempt["family"], { address, address6 }: Pick<Endpoint, "address" | "address6">) {
  return family === "inet6" ? address6 : address;
}

/** Where `listen any` has the listener of the family, of those from the port on. */
export function portFor(family: Attempt["family"], first: number): number {
  return first + FAMILIES.indexOf(family);
}

/** Command of a part of e2e/programs/hostile. */
export function hostile(...args: (string | number)[]): string[] {
  return [...script("hostile"), ...args.map(String)];
}

/** What a program of these has said: one object a line. */
export function reports<Report>(stdout: string): Report[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as Report);
}

/** Runs a program in a network namespace of the machine, where nothing protects. */
export function inNamespace(netns: string, command: readonly string[]): string {
  return execFileSync("nsenter", [`--net=/run/netns/${netns}`, ...command], { encoding: "utf8" });
}

/** Of the namespace that the nodes' devices hang in: somebody on the LAN. */
export function wireOf(cluster: Cluster): string {
  return cluster.netnsOf("node-1").replace(/node-1$/, "wire");
}

/** Enters attempts into the account, and returns those that were achieved. */
export function enter({ account }: Stage, attempts: readonly Attempt[]): Attempt[] {
  for (const each of attempts) account.add(each);
  return attempts.filter(({ achieved }) => achieved);
}

export function attempt(
  row: number,
  name: string,
  achieved: boolean,
  error: string | null,
  more: Partial<Pick<Attempt, "family" | "way">> = {},
): Attempt {
  return { row, attempt: name, family: "inet", way: "direct", achieved, error, ...more };
}
