/**
 * The networks that are compared, each with a running server and a way to run a client against it. Server on the second
 * node, client on the first, over the same wire:
 *
 * - host: the nodes' own namespaces and addresses, nothing between;
 * - vxlan: a container on each node, joined by bridge, veth and the kernel's VXLAN, as container overlays do it;
 * - notify, preload: SlimFast endpoints, both ends in that tier.
 */
import { withAgent } from "../cluster/access.js";
import type { ClusterPlan, NodePlan } from "../cluster/plan.js";
import { CliError } from "../exit-codes.js";
import { rustProduct } from "../paths.js";
import { capture } from "../run/capture.js";
import { launch, type TierChoice } from "../run/launch.js";
import { openFabric } from "./fabric.js";
import { benchInNetns, serveInNetns, serverReady, stopServer } from "./run-bench.js";

export const CONFIGURATIONS = ["host", "vxlan", "notify", "preload"] as const;
export type ConfigurationName = (typeof CONFIGURATIONS)[number];

export interface Configuration {
  readonly name: ConfigurationName;
  /** `ADDRESS:PORT` for the client's `--to`. */
  readonly target: string;
  /** Runs a client to its end. @returns the object that it prints */
  client(args: readonly string[]): Promise<unknown>;
  close(): Promise<void>;
}

/** Client on the first node, server on the second. */
export interface TwoNodes {
  readonly client: NodePlan;
  readonly server: NodePlan;
}

/**
 * Which CPUs client and server run on; null: where the scheduler puts them. It may choose one CPU for both or one for
 * each, and on small machines that changes latencies by more than what is compared. What else takes part (the agents'
 * threads, the kernel's) stays free.
 */
export type Placement = { readonly client: number; readonly server: number } | null;

const PORT = 9100;
const VXLAN_VNI = 4242;
const CLIENT_TIMEOUT_MS = 120_000;

/** @throws CliError if there are fewer */
export function twoNodes(plan: ClusterPlan): TwoNodes {
  const [client, server] = plan.nodes;
  if (!client || !server) throw new CliError("failed", "the benchmark needs a cluster of two nodes");
  return { client, server };
}

/** Opens all of them; the cluster must be up. */
export async function openConfigurations(
  nodes: TwoNodes,
  placement: Placement,
  signal: AbortSignal,
): Promise<Configuration[]> {
  const opened: Configuration[] = [];
  try {
    opened.push(await openHost(nodes, placement));
    opened.push(await openVxlan(nodes, placement));
    opened.push(await openTier("notify", nodes, placement, signal));
    opened.push(await openTier("preload", nodes, placement, signal));
    return opened;
  } catch (error) {
    await closeConfigurations(opened);
    throw error;
  }
}

export async function closeConfigurations(configurations: readonly Configuration[]): Promise<void> {
  for (const configuration of configurations) await configuration.close();
}

function onCpu(cpu: number | undefined): string[] {
  return cpu === undefined ? [] : ["--cpu", String(cpu)];
}

async function openHost(nodes: TwoNodes, placement: Placement): Promise<Configuration> {
  const server = serveInNetns(nodes.server.netns, PORT, onCpu(placement?.server));
  await serverReady(server, "host");
  return {
    name: "host",
    target: `${nodes.server.underlayAddress}:${PORT}`,
    client: (args) => benchInNetns(nodes.client.netns, [...args, ...onCpu(placement?.client)]),
    close: () => stopServer(server),
  };
}

async function openVxlan(nodes: TwoNodes, placement: Placement): Promise<Configuration> {
  const fabric = await openFabric(nodes, "b", VXLAN_VNI);
  try {
    const [at, from] = [await fabric.container("server", "vxlan"), await fabric.container("client", "vxlan")];
    const server = serveInNetns(at.netns, PORT, onCpu(placement?.server));
    await serverReady(server, "vxlan");
    return {
      name: "vxlan",
      target: `${at.address}:${PORT}`,
      client: (args) => benchInNetns(from.netns, [...args, ...onCpu(placement?.client)]),
      close: async () => {
        await stopServer(server);
        await fabric.close();
      },
    };
  } catch (error) {
    await fabric.close();
    throw error;
  }
}

/** A server in an endpoint of the tier. */
export async function openTier(
  tier: Exclude<TierChoice, "auto" | "plain">,
  nodes: TwoNodes,
  placement: Placement,
  signal: AbortSignal,
): Promise<Configuration> {
  const bench = rustProduct("slimfast-bench");
  const common = { network: "default", tier, publishedPorts: [] };
  const command = [bench, "serve", "--port", String(PORT), ...onCpu(placement?.server)];
  const server = await withAgent(nodes.server, (agent) =>
    launch(agent, { ...common, name: `bench-${tier}`, command }, ["ignore", "pipe", "pipe"]),
  );
  const close = async () => {
    await stopServer(server.child);
    await withAgent(nodes.server, (agent) =>
      agent.local.detachEndpoint({ network: common.network, name: `bench-${tier}` }),
    );
  };
  try {
    await serverReady(server.child, tier);
  } catch (error) {
    await close();
    throw error;
  }
  return {
    name: tier,
    target: `${server.address}:${PORT}`,
    client: async (args) => {
      const options = { ...common, name: "", command: [bench, ...args, ...onCpu(placement?.client)] };
      const result = await withAgent(nodes.client, (agent) => capture(agent, options, CLIENT_TIMEOUT_MS, signal));
      if (result.exitCode !== 0) {
        throw new CliError("failed", `${tier}: slimfast-bench ${args.join(" ")}: ${result.stderr.trim()}`);
      }
      return JSON.parse(result.stdout);
    },
    close,
  };
}
