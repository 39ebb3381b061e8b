/** Where rows that take two are tried: a cluster, programs in its namespaces, and what was attempted so far. */
import { execFileSync } from "node:child_process";
import type { Cluster } from "../fixture/cluster.js";
import { script } from "../fixture/programs.js";
import type { Account, Attempt } from "./attempts.js";

/** What each endpoint of the stage's nodes may have. */
export const LIMITS = { sockets: 2_000, listeners: 200, connects: 1_000 } as const;
export const WAYS = "direct,fork,scm";

export interface Stage {
  readonly cluster: Cluster;
  readonly account: Account;
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
  for (const { row, achieved } of attempts) account.add(row, achieved);
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
