/**
 * What the suite compares: networks on which the same programs run. Each knows how to start a server in a container of
 * its own on a node, and how to run a client on one; nothing else differs between them.
 */

export const NETWORKS = ["host", "vxlan", "slim", "slimfast-notify", "slimfast-preload"] as const;
export type NetworkName = (typeof NETWORKS)[number];

/** Client on the first node, server on the second; both nodes may have both. */
export type Side = "client" | "server";

export interface Server {
  /** IPv4 address that clients on the same network reach it at. */
  readonly address: string;
  /** Root of its process tree. */
  readonly pid: number;
  /** Its last words, for messages. */
  output(): string;
  /** Idempotent. */
  stop(): Promise<void>;
}

export interface Network {
  readonly name: NetworkName;
  /** Processes that are the network's own: agents, routers. What they use is accounted apart. */
  readonly ownPids: readonly number[];
  /** Starts a server; it may not listen yet. @param name unique among the servers of this network */
  start(side: Side, name: string, command: readonly string[]): Promise<Server>;
  /** Runs a client to its end. @returns its stdout @throws CliError if it fails */
  run(side: Side, command: readonly string[]): Promise<string>;
  /** Idempotent; servers must have been stopped. */
  close(): Promise<void>;
}

/** A client that takes longer is stuck. */
export const CLIENT_TIMEOUT_MS = 120_000;
