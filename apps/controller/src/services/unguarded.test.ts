/** Endpoints whose processes may use io_uring, as their nodes report them: kept, shown and watched. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { ReportingAgent } from "../testing/connections.js";
import { registerNode, type TestClient, TestController } from "../testing/controller.js";
import { eventually } from "../testing/operations.js";

let controller: TestController;
let client: TestClient;
const agents: ReportingAgent[] = [];

beforeEach(async () => {
  controller = await TestController.start();
  client = controller.client;
  await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  for (const number of [1, 2]) {
    await registerNode(client, number);
    await client.agent.createEndpoint({ endpoint: { name: `web-${number}`, network: "blue", node: `node-${number}` } });
  }
});

afterEach(async () => {
  for (const agent of agents.splice(0)) await agent.stop();
  await controller.remove();
});

function reporting(node: string): ReportingAgent {
  const agent = new ReportingAgent(client, node);
  agents.push(agent);
  return agent;
}

const named = (name: string, id: number, listeners: number) => ({
  endpoint: { network: "blue", name, id },
  listeners,
});

async function unguarded(filter = "unguarded_listeners > 0"): Promise<Record<string, number>> {
  const { endpoints } = await client.cluster.listEndpoints({ filter });
  return Object.fromEntries(endpoints.map(({ name, unguardedListeners }) => [name, unguardedListeners]));
}

async function becomes(wanted: Record<string, number>): Promise<void> {
  await eventually(JSON.stringify(wanted), async () => JSON.stringify(await unguarded()) === JSON.stringify(wanted));
}

it("is told of the endpoint until its node says otherwise, and the endpoint is as it was besides", async () => {
  const { endpoint } = await client.cluster.getEndpoint({ network: "blue", name: "web-1" });
  const id = endpoint?.id ?? 0;
  expect(endpoint?.unguardedListeners).toBe(0);
  const agent = reporting("node-1");
  agent.report({ unguarded: { endpoints: [named("web-1", id, 2)] } });
  await becomes({ "web-1": 2 });
  const { endpoint: noted } = await client.cluster.getEndpoint({ network: "blue", name: "web-1" });
  expect(noted).toEqual({ ...endpoint, unguardedListeners: 2, revision: noted?.revision, etag: noted?.etag });

  // The same again, and nothing about it, change nothing.
  agent.report({ unguarded: { endpoints: [named("web-1", id, 2)] } });
  agent.report({ counters: { syn_seen: 1n } });
  agent.report({ unguarded: { endpoints: [named("web-1", id, 1)] } });
  await becomes({ "web-1": 1 });
  agent.report({ unguarded: { endpoints: [] } });
  await becomes({});
});

it("is of the node's own endpoints only, and of those that it means", async () => {
  const agent = reporting("node-1");
  const { endpoints } = await client.cluster.listEndpoints({});
  const idOf = (wanted: string) => endpoints.find(({ name }) => name === wanted)?.id ?? 0;
  agent.report({
    unguarded: {
      endpoints: [
        // Another node's, a former one of the name, one that never was, and nothing.
        named("web-2", idOf("web-2"), 7),
        named("web-1", idOf("web-1") + 100, 7),
        named("nobody", 1, 7),
        { endpoint: undefined, listeners: 7 },
      ],
    },
  });
  agent.report({ unguarded: { endpoints: [named("web-1", idOf("web-1"), 1)] } });
  await becomes({ "web-1": 1 });
});

it("outlasts the node's stream, is corrected by the next one, and is seen by who watches", async () => {
  const { endpoint } = await client.cluster.getEndpoint({ network: "blue", name: "web-1" });
  const agent = reporting("node-1");
  agent.report({ unguarded: { endpoints: [named("web-1", endpoint?.id ?? 0, 1)] } });
  await becomes({ "web-1": 1 });
  await agent.vanish();
  agents.splice(0);
  expect(await unguarded()).toEqual({ "web-1": 1 });
  const seen: number[] = [];
  const end = new AbortController();
  const watched = (async () => {
    for await (const { changes } of client.cluster.watchResources({}, { signal: end.signal })) {
      for (const { resource } of changes) {
        if (resource?.$case === "endpoint" && resource.value.name === "web-1")
          seen.push(resource.value.unguardedListeners);
      }
    }
  })().catch(() => undefined);
  await eventually("it is seen", () => seen.includes(1));
  reporting("node-1").report({ unguarded: { endpoints: [] } });
  await eventually("it is corrected", () => seen.at(-1) === 0);
  end.abort();
  await watched;
});
