/** Opens the networks that are asked for, all at once: rounds go from one to the next. */
import type { TwoNodes } from "../../configurations.js";
import type { AgentPids } from "../../leaks.js";
import { openHostNetwork } from "./host.js";
import type { Network, NetworkName } from "./network.js";
import { openSlimNetwork } from "./slim.js";
import { openSlimfastNetwork } from "./slimfast.js";
import { openVxlanNetwork } from "./vxlan.js";
import { reuseWaitingPorts } from "./waiting-ports.js";

export async function openNetworks(
  names: readonly NetworkName[],
  nodes: TwoNodes,
  agents: AgentPids,
  signal: AbortSignal,
): Promise<Network[]> {
  const opened: Network[] = [];
  try {
    for (const { netns } of [nodes.client, nodes.server]) await reuseWaitingPorts(netns);
    for (const name of names) {
      signal.throwIfAborted();
      opened.push(await openNetwork(name, nodes, agents));
    }
    return opened;
  } catch (error) {
    await closeNetworks(opened);
    throw error;
  }
}

export async function closeNetworks(networks: readonly Network[]): Promise<void> {
  for (const network of networks) await network.close();
}

async function openNetwork(name: NetworkName, nodes: TwoNodes, agents: AgentPids) {
  switch (name) {
    case "host":
      return openHostNetwork(nodes);
    case "vxlan":
      return openVxlanNetwork(nodes);
    case "slim":
      return openSlimNetwork(nodes);
    case "slimfast-notify":
      return openSlimfastNetwork("notify", nodes, agents);
    case "slimfast-preload":
      return openSlimfastNetwork("preload", nodes, agents);
  }
}
