/**
 * An agent of the protocol's version before (1: nodes, networks, endpoints) and a real controller: it says nothing of stores,
 * and reads of what it is told only what it knows.
 */
import { ResourceKind, type SyncResponse } from "@slimfast/proto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { registerNode, TestController } from "../testing/controller.js";

let controller: TestController;
const agents: TestAgent[] = [];

beforeEach(async () => {
  controller = await TestController.start();
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.vanish();
  await controller.remove();
});

/** What version 1 makes of a response: the other fields are unknown to it, and skipped. */
function asVersion1(response: SyncResponse): SyncResponse {
  const removed = response.removed.filter(({ kind }) => kind !== ResourceKind.RESOURCE_KIND_POLICY);
  return { ...response, policies: [], removed, storeId: "", controllers: [], reservedPorts: undefined };
}

class Version1Agent extends TestAgent {
  override apply(response: SyncResponse): void {
    this.storeId = "";
    super.apply(asVersion1(response));
  }
}

function startAgent(
  known?: ReadonlyMap<string, bigint>,
  attached: { network: string; name: string; id: number }[] = [],
) {
  const agent = new Version1Agent(controller.client, "node-1", { ...(known && { known }), attached });
  agents.push(agent);
  return agent;
}

it("an agent of the version before registers, gets what it needs and every change, and goes on after a reconnect", async () => {
  const { client } = controller;
  // As one that does not say its version.
  await registerNode(client, 1);
  await registerNode(client, 2);
  await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  const agent = startAgent();
  await agent.holds("NODE node-1", "NODE node-2");
  const { endpoint: web } = await client.agent.createEndpoint({
    endpoint: { name: "web", network: "blue", node: "node-1" },
  });
  await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/web");
  // What it does not know goes past it, and it is acknowledged all the same: nobody waits for it in vain.
  await client.cluster.createPolicy({
    policy: { network: "blue", name: "none", action: 2, from: [{ labels: { app: "web" } }], to: [{ endpoint: "web" }] },
  });
  await client.cluster.createPortReservation({ portReservation: { name: "db", node: "node-1", ports: { count: 1 } } });
  const { knownToPeers } = await client.agent.createEndpoint({
    endpoint: { name: "db", network: "blue", node: "node-2" },
    waitForPeers: true,
  });
  expect(knownToPeers).toBe(true);
  await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/web", "ENDPOINT blue/db");
  await agent.vanish();
  await client.agent.deleteEndpoint({ network: "blue", name: "db" });
  const again = startAgent(agent.held, [{ network: "blue", name: "web", id: web?.id ?? 0 }]);
  await again.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/web");
  await client.agent.deleteEndpoint({ network: "blue", name: "web" });
  await again.holds("NODE node-1", "NODE node-2");
  expect((await client.cluster.getNode({ name: "node-1" })).node).toMatchObject({ connected: true, syncError: "" });
});
