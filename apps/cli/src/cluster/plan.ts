/**
 * What a cluster on one machine consists of: names, addresses and paths, derived from the run directory and the number
 * of nodes. Changes nothing.
 *
 * Names of the ordinary cluster are plain (`node-1`, `sf-node-1`). A cluster with another run directory (tests) puts a
 * tag before them: what the core and the agents name after their node is thus apart too. The tag comes first, because
 * clean-up goes by prefixes such as `sf-node-1-`, which must not match another cluster's names.
 */
import { createHash } from "node:crypto";
import { join } from "node:path";
import { CliError } from "../exit-codes.js";
import { DEFAULT_RUN_DIR } from "../paths.js";

export interface PortBlock {
  readonly first: number;
  readonly count: number;
}

export interface NodePlan {
  readonly name: string;
  /** Name of its network namespace under /run/netns. */
  readonly netns: string;
  /** Address on the wire, dotted quad. */
  readonly underlayAddress: string;
  readonly runDir: string;
  /** Below the cgroup v2 mount. */
  readonly cgroup: string;
}

export interface ClusterPlan {
  readonly runDir: string;
  readonly wireNetns: string;
  readonly nodes: readonly NodePlan[];
  readonly frontPorts: PortBlock;
  /** HOST:PORT on the wire, where agents join over TLS; absent: they use the controller's unix socket. */
  readonly tlsAddress?: string;
  /** As the agents' option has them; absent: as the core has them. */
  readonly endpointLimits?: string;
}

/** Front ports unless asked for otherwise. */
export const DEFAULT_FRONT_PORTS: PortBlock = { first: 7000, count: 16 };
export const DEFAULT_NODES = 2;
/** More would need more than one byte of the underlay prefix, and no machine has the memory for as many agents. */
export const MAX_NODES = 64;
export const UNDERLAY_PREFIX_LENGTH = 24;
/** The network that `up` creates. */
export const DEFAULT_NETWORK = { name: "default", prefix: "10.32.0.0/16" } as const;

const UNDERLAY = "10.200.0";
/** Above those of the nodes. */
export const WIRE_ADDRESS: string = `${UNDERLAY}.254`;
const TLS_PORT = 7443;
const MAX_FRONT_PORTS = 64;

export interface ClusterOptions {
  readonly hasTls?: boolean | undefined;
  readonly endpointLimits?: string | undefined;
}

export function planCluster(
  runDir: string,
  nodeCount: number,
  frontPorts: PortBlock,
  { hasTls = false, endpointLimits }: ClusterOptions = {},
): ClusterPlan {
  const tag = runDirTag(runDir);
  const nodes = Array.from({ length: nodeCount }, (_, index): NodePlan => {
    const name = `${tag}node-${index + 1}`;
    return {
      name,
      netns: `sf-${name}`,
      underlayAddress: `${UNDERLAY}.${index + 1}`,
      runDir: join(runDir, name),
      cgroup: `slimfast/${name}`,
    };
  });
  const tls = hasTls ? { tlsAddress: `${WIRE_ADDRESS}:${TLS_PORT}` } : {};
  const limits = endpointLimits === undefined ? {} : { endpointLimits };
  return { runDir, wireNetns: `sf-${tag}wire`, nodes, frontPorts, ...tls, ...limits };
}

/** Empty for the ordinary run directory. */
export function runDirTag(runDir: string): string {
  return runDir === DEFAULT_RUN_DIR ? "" : `${createHash("sha256").update(runDir).digest("hex").slice(0, 4)}-`;
}

export function controllerSocket(runDir: string): string {
  return join(runDir, "controller.sock");
}

export function controllerAddress(runDir: string): string {
  return `unix:${controllerSocket(runDir)}`;
}

export function agentAddress(node: Pick<NodePlan, "runDir">): string {
  return `unix:${join(node.runDir, "agent.sock")}`;
}

/** @throws CliError `usage` */
export function parseNodeCount(text: string): number {
  const count = Number(text);
  if (!/^\d+$/.test(text) || count < 1 || count > MAX_NODES) {
    throw new CliError("usage", `--nodes ${text}: must be a number from 1 to ${MAX_NODES}`);
  }
  return count;
}

/** `sockets=N,listeners=N,connects=N`, or some of these, for the agents. @throws CliError `usage` */
export function checkEndpointLimits(text: string): string {
  const limit = String.raw`(sockets|listeners|connects)=[1-9]\d{0,8}`;
  if (!new RegExp(`^${limit}(,${limit}){0,2}$`).test(text)) {
    throw new CliError(
      "usage",
      `--endpoint-limits ${text}: must be sockets=N,listeners=N,connects=N or some of them, for example connects=5000`,
    );
  }
  return text;
}

/** `FIRST:COUNT`. @throws CliError `usage` */
export function parseFrontPorts(text: string): PortBlock {
  const match = /^(\d{1,5}):(\d{1,2})$/.exec(text);
  const first = Number(match?.[1]);
  const count = Number(match?.[2]);
  if (!match || first < 1 || count < 1 || count > MAX_FRONT_PORTS || first + count - 1 > 65_535) {
    throw new CliError(
      "usage",
      `--front-ports ${text}: must be FIRST:COUNT with 1 to ${MAX_FRONT_PORTS} ports up to 65535, for example 7000:16`,
    );
  }
  return { first, count };
}
