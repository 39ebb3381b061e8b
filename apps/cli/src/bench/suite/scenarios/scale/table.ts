/**
 * Endpoints of other nodes, made at the controller and told to both agents by their streams, as any. The nodes that they are
 * on exist on the controller only, so that 100,000 entries take no 100,000 namespaces.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { AgentServiceDefinition } from "@slimfast/proto";
import { createClientFactory } from "nice-grpc";
import { withAgent } from "../../../../cluster/access.js";
import type { NodePlan } from "../../../../cluster/plan.js";
import { CliError } from "../../../../exit-codes.js";
import { openChannel } from "../../../control/channel.js";
import { BENCH_NETWORK } from "../../networks/slimfast.js";
import type { Growth, Site } from "../scenario.js";
import { atATime } from "./in-endpoint.js";

/** Nodes that the entries are spread over. */
const NODES = 100;
const FRONT_PORTS = { first: 7_000, count: 16 };
/** Calls at a time: the controller commits what comes together at once. */
const CONCURRENCY = 128;
const APPLY_TIMEOUT_MS = 120_000;
const POLL_MS = 100;

const nodeName = (index: number) => `bench-scale-${index}`;

export async function growTable({ nodes, controllerAddress, signal }: Site): Promise<Growth> {
  const channel = openChannel(controllerAddress);
  const controller = createClientFactory().create(AgentServiceDefinition, channel);
  let made = 0;
  const register = () =>
    atATime(NODES, CONCURRENCY, async (index) => {
      const node = { name: nodeName(index), underlayAddress: `10.201.0.${index + 1}`, frontPorts: FRONT_PORTS };
      await controller.registerNode({ node, protocolVersion: 0 });
    });
  return {
    reach: async (size) => {
      if (made === 0) await register();
      let revision = 0n;
      const first = made;
      await atATime(size - first, CONCURRENCY, async (index) => {
        signal.throwIfAborted();
        const number = first + index;
        const endpoint = { name: `entry-${number}`, network: BENCH_NETWORK.name, node: nodeName(number % NODES) };
        const { endpoint: created } = await controller.createEndpoint({ endpoint });
        if (created && created.revision > revision) revision = created.revision;
      });
      made = size;
      for (const node of [nodes.client, nodes.server]) await untilApplied(node, revision, signal);
      return {};
    },
    // The entries go with the cluster; taking them away one by one would take as long as making them.
    close: async () => channel.close(),
  };
}

async function untilApplied(node: NodePlan, revision: bigint, signal: AbortSignal): Promise<void> {
  const deadline = Date.now() + APPLY_TIMEOUT_MS;
  await withAgent(node, async ({ local }) => {
    while ((await local.getStatus({})).appliedRevision < revision) {
      signal.throwIfAborted();
      if (Date.now() > deadline)
        throw new CliError("failed", `${node.name} has not applied revision ${revision} in time`);
      await sleep(POLL_MS);
    }
  });
}
