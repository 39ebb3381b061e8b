/**
 * SlimFast endpoints, all of one tier, on the cluster that the benchmark has brought up. Clients run in one endpoint per
 * node that stays: attaching is no part of what is measured.
 */
import type { AttachedEndpoint } from "@slimfast/proto";
import { withAgent } from "../../../cluster/access.js";
import { CliError } from "../../../exit-codes.js";
import { exec } from "../../../process/exec.js";
import { launch, launcherCommand } from "../../../run/launch.js";
import type { TwoNodes } from "../../configurations.js";
import type { AgentPids } from "../../leaks.js";
import { childServer } from "./child-server.js";
import { CLIENT_TIMEOUT_MS, type Network, type Side } from "./network.js";

interface ClientPlace {
  readonly attached: AttachedEndpoint;
  readonly seccompSocket: string;
}

/** Of the suite's own, so that it has room for a full table. */
export const BENCH_NETWORK = { name: "bench", prefix: "10.64.0.0/14" } as const;

export function openSlimfastNetwork(tier: "notify" | "preload", nodes: TwoNodes, agents: AgentPids): Network {
  const clients = new Map<Side, ClientPlace>();
  const nameOf = (name: string) => `bench-${tier}-${name}`;
  const clientPlace = async (side: Side): Promise<ClientPlace> => {
    const known = clients.get(side);
    if (known) return known;
    const made = await withAgent(nodes[side], async ({ local }) => {
      const { seccompSocket } = await local.getStatus({});
      const request = {
        name: nameOf("client"),
        network: BENCH_NETWORK.name,
        publishedPorts: [],
        labels: {},
        address: "",
      };
      const { endpoint } = await local.attachEndpoint({ ...request, ephemeral: false });
      if (!endpoint) throw new CliError("failed", "the agent answered without an endpoint");
      return { attached: endpoint, seccompSocket };
    });
    clients.set(side, made);
    return made;
  };
  const detach = (side: Side, name: string) =>
    withAgent(nodes[side], async ({ local }) => {
      await local.detachEndpoint({ network: BENCH_NETWORK.name, name: nameOf(name) });
    });
  return {
    name: `slimfast-${tier}`,
    ownPids: [agents.client, agents.server, ...agents.keepers],
    start: (side, name, command) =>
      withAgent(nodes[side], async (agent) => {
        const options = { network: BENCH_NETWORK.name, tier, publishedPorts: [], name: nameOf(name), command };
        const launched = await launch(agent, options, ["ignore", "pipe", "pipe"]);
        return childServer(launched.child, launched.address, () => detach(side, name));
      }),
    run: async (side, command) => {
      const { attached, seccompSocket } = await clientPlace(side);
      const [program = "", ...args] = launcherCommand(attached, seccompSocket, tier, command);
      return exec(program, args, { timeoutMs: CLIENT_TIMEOUT_MS });
    },
    close: async () => {
      for (const side of clients.keys()) await detach(side, "client");
      clients.clear();
    },
  };
}
