/** The distribution of changes, with agents on real streams. */
import type { SyncResponse } from "@slimfast/proto";
import { ResourceKind } from "@slimfast/proto";
import { ClientError, Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { registerNode, type TestClient, TestController } from "../testing/controller.js";
import { eventually } from "../testing/operations.js";

let controller: TestController;
let client: TestClient;
let agents: TestAgent[];

beforeEach(async () => {
  agents = [];
  controller = await TestController.start();
  client = controller.client;
  await registerNode(client, 1);
  await registerNode(client, 2);
  await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  await client.cluster.createNetwork({ network: { name: "red", prefix: "10.32.0.0/16" } });
});

afterEach(async () => {
  for (const agent of agents) await agent.vanish();
  await controller.remove();
});

function startAgent(node: string, options: ConstructorParameters<typeof TestAgent>[2] = {}): TestAgent {
  const agent = new TestAgent(client, node, options);
  agents.push(agent);
  return agent;
}

/** An agent that is in step with what is there. */
async function startManualAgent(node: string): Promise<TestAgent> {
  const agent = startAgent(node, { automatic: false });
  agent.ack(await agent.expectNext());
  return agent;
}

async function createEndpoint(node: string, network: string, name: string, waitForPeers = false) {
  const { endpoint, knownToPeers } = await client.agent.createEndpoint({
    endpoint: { name, network, node },
    waitForPeers,
  });
  if (!endpoint) throw new Error("no endpoint");
  return { ...endpoint, knownToPeers };
}

function summary(response: SyncResponse) {
  return {
    nodes: response.nodes.map(({ name }) => name),
    networks: response.networks.map(({ name }) => name),
    endpoints: response.endpoints.map(({ network, name }) => `${network}/${name}`),
    removed: response.removed.map(({ kind, name }) => `${ResourceKind[kind].replace("RESOURCE_KIND_", "")} ${name}`),
  };
}

const NOTHING = { nodes: [], networks: [], endpoints: [], removed: [] };

async function statusOf(agent: TestAgent): Promise<Status> {
  try {
    for (let response = await agent.next(); response; response = await agent.next()) agent.ack(response);
    return Status.OK;
  } catch (error) {
    if (error instanceof ClientError) return error.code;
    throw error;
  }
}

describe("a node", () => {
  it("gets all nodes, and networks and endpoints only of networks in which it has endpoints", async () => {
    const a = await createEndpoint("node-1", "blue", "a");
    await createEndpoint("node-2", "blue", "b");
    await createEndpoint("node-2", "red", "c");
    const agent = startAgent("node-1", { attached: [{ network: "blue", name: "a", id: a.id }] });
    await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a", "ENDPOINT blue/b");
  });

  it("gets an empty first response if it needs nothing new", async () => {
    const first = startAgent("node-1");
    await first.holds("NODE node-1", "NODE node-2");
    await first.vanish();
    const second = startAgent("node-1", { known: first.held, storeId: first.storeId, automatic: false });
    const response = await second.expectNext();
    expect(summary(response)).toEqual(NOTHING);
    expect(response.nonce).toBe(1n);
    expect(response.revision).toBeGreaterThan(0n);
  });

  it("gets a network with all its endpoints with its first endpoint there, and loses them with its last", async () => {
    const agent = startAgent("node-1");
    await createEndpoint("node-2", "blue", "b");
    await agent.holds("NODE node-1", "NODE node-2");
    await createEndpoint("node-1", "blue", "a");
    await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a", "ENDPOINT blue/b");
    await client.agent.deleteEndpoint({ network: "blue", name: "a" });
    await agent.holds("NODE node-1", "NODE node-2");
  });

  it("loses endpoints, networks and nodes before others refer to them no more", async () => {
    const agent = await startManualAgent("node-1");
    await createEndpoint("node-1", "blue", "a");
    agent.ack(await agent.expectNext());
    await createEndpoint("node-2", "blue", "b");
    agent.ack(await agent.expectNext());
    await client.agent.deleteEndpoint({ network: "blue", name: "a" });
    expect(summary(await agent.expectNext()).removed).toEqual(["ENDPOINT blue/a", "ENDPOINT blue/b", "NETWORK blue"]);
  });

  it("hears of nodes that come, change and go", async () => {
    const agent = await startManualAgent("node-1");
    await registerNode(client, 3);
    const came = await agent.expectNext();
    expect(came.nodes).toMatchObject([{ name: "node-3", underlayAddress: "10.200.0.3" }]);
    agent.ack(came);
    await client.agent.registerNode({
      node: { name: "node-3", underlayAddress: "10.200.0.33", frontPorts: { first: 7_100, count: 16 } },
    });
    const changed = await agent.expectNext();
    expect(changed.nodes).toMatchObject([{ name: "node-3", underlayAddress: "10.200.0.33" }]);
    agent.ack(changed);
    await client.cluster.deleteNode({ name: "node-3" });
    expect(summary(await agent.expectNext())).toEqual({ ...NOTHING, removed: ["NODE node-3"] });
  });
});

describe("a node that reads addresses", () => {
  const addresses = (agent: TestAgent) => [...agent.addresses].toSorted();

  it("gets the nodes of its networks, and loses them with the network or with their last endpoint there", async () => {
    await registerNode(client, 3);
    await createEndpoint("node-2", "blue", "b");
    await createEndpoint("node-3", "red", "c");
    const agent = startAgent("node-1", { readsNodeAddresses: true });
    await agent.holds("NODE node-1");
    const { id } = await createEndpoint("node-1", "blue", "a");
    const blue = ["NETWORK blue", "ENDPOINT blue/a", "ENDPOINT blue/b"];
    await agent.holds("NODE node-1", "NODE node-2", ...blue);
    await createEndpoint("node-3", "blue", "d");
    await agent.holds("NODE node-1", "NODE node-2", "NODE node-3", ...blue, "ENDPOINT blue/d");
    await client.cluster.updateNode({ node: { name: "node-3", labels: { a: "b" } }, updateMask: ["labels"] });
    await eventually("the change is there", async () => {
      const { node } = await client.cluster.getNode({ name: "node-3" });
      return agent.held.get("NODE node-3") === node?.revision;
    });
    await client.cluster.deleteNode({ name: "node-3" });
    await agent.holds("NODE node-1", "NODE node-2", ...blue);
    await client.agent.deleteEndpoint({ network: "blue", name: "a", id });
    await agent.holds("NODE node-1");
    expect(agent.addresses.size).toBe(0);
  });

  it("gets the addresses of all nodes with the first egress range, and what changes, until the last range goes", async () => {
    await createEndpoint("node-1", "blue", "a");
    const agent = startAgent("node-1", { readsNodeAddresses: true, attached: [{ network: "blue", name: "a", id: 0 }] });
    const setEgress = (...egress: string[]) =>
      client.cluster.updateNetwork({ network: { name: "blue", egress }, updateMask: ["egress"] });
    await agent.holds("NODE node-1", "NETWORK blue", "ENDPOINT blue/a");
    expect(agent.addresses.size).toBe(0);
    await setEgress("0.0.0.0/0");
    await eventually("two addresses are there", () => agent.addresses.size === 2);
    await registerNode(client, 3);
    await registerNode(client, 4);
    await eventually("four addresses are there", () => agent.addresses.size === 4);
    await client.cluster.deleteNode({ name: "node-3" });
    await eventually("one is gone", () => agent.addresses.size === 3);
    expect(addresses(agent)).toEqual([0x0ac80001, 0x0ac80002, 0x0ac80004]);
    await agent.holds("NODE node-1", "NETWORK blue", "ENDPOINT blue/a");
    await setEgress();
    await eventually("none is there", () => agent.addresses.size === 0);
  });
});

describe("on reconnecting", () => {
  it("only the difference is sent", async () => {
    const first = startAgent("node-1");
    const a = await createEndpoint("node-1", "blue", "a");
    await createEndpoint("node-2", "blue", "b");
    await createEndpoint("node-2", "blue", "c");
    await first.holds(
      "NODE node-1",
      "NODE node-2",
      "NETWORK blue",
      "ENDPOINT blue/a",
      "ENDPOINT blue/b",
      "ENDPOINT blue/c",
    );
    await first.vanish();
    await client.agent.deleteEndpoint({ network: "blue", name: "b" });
    await client.agent.deleteEndpoint({ network: "blue", name: "c" });
    await createEndpoint("node-2", "blue", "c");
    await registerNode(client, 3);
    const second = startAgent("node-1", {
      known: first.held,
      storeId: first.storeId,
      attached: [{ network: "blue", name: "a", id: a.id }],
      automatic: false,
    });
    expect(summary(await second.expectNext())).toEqual({
      nodes: ["node-3"],
      networks: [],
      endpoints: ["blue/c"],
      removed: ["ENDPOINT blue/b"],
    });
  });

  it("what the agent holds and should not is removed, whatever it is", async () => {
    const known = new Map([
      ["NODE node-9", 1n],
      ["NETWORK green", 1n],
      ["ENDPOINT green/x", 1n],
    ]);
    const agent = startAgent("node-1", { known });
    await agent.holds("NODE node-1", "NODE node-2");
  });

  it("endpoints that are not attached are deleted", async () => {
    const a = await createEndpoint("node-1", "blue", "a");
    await createEndpoint("node-1", "blue", "b");
    const c = await createEndpoint("node-1", "red", "c");
    await createEndpoint("node-2", "blue", "d");
    const attached = [
      { network: "blue", name: "a", id: a.id },
      // Another one of this name, which is gone.
      { network: "red", name: "c", id: c.id + 1 },
    ];
    const agent = startAgent("node-1", { attached });
    await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a", "ENDPOINT blue/d");
    const { endpoints } = await client.cluster.listEndpoints({});
    expect(endpoints.map(({ name }) => name)).toEqual(["a", "d"]);
    const lines = controller.log.filter(({ msg }) => msg === "stale endpoint deleted");
    expect(lines.map(({ endpoint }) => endpoint)).toEqual(["b", "c"]);
  });

  it("a second stream of a node ends the first", async () => {
    const first = await startManualAgent("node-1");
    const second = await startManualAgent("node-1");
    expect(await statusOf(first)).toBe(Status.ABORTED);
    expect((await client.cluster.getNode({ name: "node-1" })).node?.connected).toBe(true);
    await second.vanish();
  });
});

describe("what an agent holds of another store", () => {
  it("is sent again, and what is not here is removed", async () => {
    const first = startAgent("node-1");
    await first.holds("NODE node-1", "NODE node-2");
    await first.vanish();
    const known = new Map([...first.held, ["NODE node-9", 1n] as const]);
    const second = startAgent("node-1", { known, storeId: "another", automatic: false });
    const response = await second.expectNext();
    expect(summary(response)).toEqual({ ...NOTHING, nodes: ["node-1", "node-2"], removed: ["NODE node-9"] });
    expect(response.storeId).toBe(first.storeId);
  });
});

describe("while a response is not acknowledged", () => {
  it("nothing is sent, and changes are merged", async () => {
    const agent = startAgent("node-1", { automatic: false });
    const first = await agent.expectNext();
    await createEndpoint("node-1", "blue", "a");
    await createEndpoint("node-2", "blue", "b");
    await createEndpoint("node-2", "blue", "passing");
    await client.agent.deleteEndpoint({ network: "blue", name: "passing" });
    const last = await createEndpoint("node-2", "blue", "c");
    expect(agent.waiting).toBe(0);
    agent.ack(first);
    const second = await agent.expectNext();
    expect(summary(second)).toEqual({
      ...NOTHING,
      networks: ["blue"],
      endpoints: ["blue/a", "blue/b", "blue/c"],
    });
    expect(second.nonce).toBe(first.nonce + 1n);
    // What the controller itself does meanwhile may come after it.
    expect(second.revision >= last.revision).toBe(true);
  });

  it("a refusal is logged, and the stream goes on", async () => {
    const agent = startAgent("node-1", { automatic: false });
    agent.ack(await agent.expectNext(), "no room in the map");
    await registerNode(client, 3);
    expect(summary(await agent.expectNext()).nodes).toEqual(["node-3"]);
    const line = controller.log.find(({ msg }) => msg === "agent refused changes");
    expect(line).toMatchObject({ node: "node-1", reason: "no room in the map" });
  });
});

describe("what a node has refused", () => {
  async function syncError(): Promise<string | undefined> {
    return (await client.cluster.getNode({ name: "node-1" })).node?.syncError;
  }

  it("is shown with its reason, to watchers as well, until the node has everything", async () => {
    const agent = await startManualAgent("node-1");
    expect(await syncError()).toBe("");
    const changes = client.cluster.watchResources({ kinds: [ResourceKind.RESOURCE_KIND_NODE] });
    const seen: string[] = [];
    const watching = (async () => {
      for await (const { changes: some } of changes) {
        for (const { resource } of some) {
          if (resource?.$case !== "node" || resource.value.name !== "node-1") continue;
          if (resource.value.syncError !== seen.at(-1)) seen.push(resource.value.syncError);
        }
        if (seen.length === 3) return;
      }
    })();
    await registerNode(client, 3);
    agent.ack(await agent.expectNext(), "no room in the map");
    await eventually("the refusal is shown", async () => (await syncError()) === "no room in the map");
    // What comes next on the same stream does not make up for it.
    await registerNode(client, 4);
    agent.ack(await agent.expectNext());
    await registerNode(client, 5);
    agent.ack(await agent.expectNext());
    expect(await syncError()).toBe("no room in the map");
    // Nor does its going: it says so until another stream is in step.
    await agent.vanish();
    await eventually("the agent is gone", async () => {
      return (await client.cluster.getNode({ name: "node-1" })).node?.connected === false;
    });
    expect(await syncError()).toBe("no room in the map");
    startAgent("node-1");
    await eventually("the node is in step", async () => (await syncError()) === "");
    await watching;
    expect(seen).toEqual(["", "no room in the map", ""]);
  });

  it("is forgotten with the node", async () => {
    const agent = await startManualAgent("node-1");
    await registerNode(client, 3);
    agent.ack(await agent.expectNext(), "no room in the map");
    await eventually("the refusal is shown", async () => (await syncError()) === "no room in the map");
    await agent.vanish();
    await eventually("the agent is gone", async () => {
      return (await client.cluster.getNode({ name: "node-1" })).node?.connected === false;
    });
    await client.cluster.deleteNode({ name: "node-1" });
    await registerNode(client, 1);
    expect(await syncError()).toBe("");
  });
});

describe("the ports of static reservations", () => {
  const reserve = (name: string, node: string, first: number, count: number) =>
    client.cluster.createPortReservation({ portReservation: { name, node, ports: { first, count } } });

  it("are told to their node, at first and when they change, as a whole", async () => {
    await reserve("one", "node-1", 9_000, 2);
    await reserve("other", "node-2", 9_100, 1);
    const agent = startAgent("node-1", { automatic: false });
    const first = await agent.expectNext();
    expect(first.reservedPorts).toEqual({ ranges: [{ first: 9_000, count: 2 }] });
    agent.ack(first);
    await reserve("before", "node-1", 8_000, 1);
    const second = await agent.expectNext();
    expect(second.reservedPorts?.ranges.map(({ first: port }) => port)).toEqual([8_000, 9_000]);
    agent.ack(second);
    await reserve("another", "node-2", 9_200, 1);
    await client.cluster.deletePortReservation({ name: "one" });
    const third = await agent.expectNext();
    expect(third.reservedPorts?.ranges).toEqual([{ first: 8_000, count: 1 }]);
    agent.ack(third);
    await client.cluster.deletePortReservation({ name: "before" });
    expect((await agent.expectNext()).reservedPorts).toEqual({ ranges: [] });
  });

  it("are not told with other changes", async () => {
    const agent = await startManualAgent("node-1");
    await registerNode(client, 3);
    expect((await agent.expectNext()).reservedPorts).toBeUndefined();
  });
});

describe("wait_for_peers", () => {
  it("answers when the connected nodes of the network have acknowledged", async () => {
    await createEndpoint("node-2", "blue", "b");
    const { endpoints } = await client.cluster.listEndpoints({});
    const attached = endpoints.map(({ network, name, id }) => ({ network, name, id }));
    const one = startAgent("node-1");
    const two = startAgent("node-2", { attached, automatic: false });
    two.ack(await two.expectNext());
    await one.holds("NODE node-1", "NODE node-2");
    let isAnswered = false;
    const creation = createEndpoint("node-1", "blue", "a", true).then((endpoint) => {
      isAnswered = true;
      return endpoint;
    });
    const response = await two.expectNext();
    expect(summary(response).endpoints).toEqual(["blue/a"]);
    expect(isAnswered).toBe(false);
    two.ack(response);
    expect((await creation).knownToPeers).toBe(true);
    expect(one.held.has("ENDPOINT blue/b")).toBe(true);
  });

  it("waits for nobody if no node of the network is connected", async () => {
    await startManualAgent("node-2");
    expect((await createEndpoint("node-1", "blue", "a", true)).knownToPeers).toBe(true);
  });

  it("says so when a node refuses", async () => {
    const agent = await startManualAgent("node-1");
    const creation = createEndpoint("node-1", "blue", "a", true);
    agent.ack(await agent.expectNext(), "no room in the map");
    expect((await creation).knownToPeers).toBe(false);
  });

  it("says so when a node does not answer in time, and keeps the endpoint", async () => {
    await startManualAgent("node-1");
    expect((await createEndpoint("node-1", "blue", "a", true)).knownToPeers).toBe(false);
    expect((await client.cluster.listEndpoints({})).endpoints).toMatchObject([{ name: "a" }]);
  });

  it("does not wait for a node that goes away", async () => {
    const agent = await startManualAgent("node-1");
    const creation = createEndpoint("node-1", "blue", "a", true);
    await agent.expectNext();
    await agent.vanish();
    expect((await creation).knownToPeers).toBe(true);
  });

  it("keeps an endpoint whose creation is not answered yet from a hello that cannot name it", async () => {
    const agent = await startManualAgent("node-1");
    const creation = createEndpoint("node-1", "blue", "a", true);
    await agent.expectNext();
    const again = startAgent("node-1");
    await again.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a");
    await creation;
    expect((await client.cluster.listEndpoints({})).endpoints).toMatchObject([{ name: "a" }]);
  });
});

describe("a stream is refused", () => {
  it("for a node that has not registered", async () => {
    expect(await statusOf(startAgent("node-9", { automatic: false }))).toBe(Status.NOT_FOUND);
  });

  it("for a malformed node name", async () => {
    expect(await statusOf(startAgent("", { automatic: false }))).toBe(Status.INVALID_ARGUMENT);
  });

  it("when an ack has a nonce that was not sent", async () => {
    const agent = startAgent("node-1", { automatic: false });
    agent.ack({ nonce: 7n });
    expect(await statusOf(agent)).toBe(Status.INVALID_ARGUMENT);
  });

  it("when an ack comes twice", async () => {
    const agent = startAgent("node-1", { automatic: false });
    const response = await agent.expectNext();
    agent.ack(response);
    agent.ack(response);
    expect(await statusOf(agent)).toBe(Status.INVALID_ARGUMENT);
  });

  it("when a second hello comes", async () => {
    const agent = await startManualAgent("node-1");
    agent.send({
      kind: {
        $case: "hello",
        value: { node: "node-1", known: [], attached: [], storeId: "", readsNodeAddresses: false },
      },
    });
    expect(await statusOf(agent)).toBe(Status.INVALID_ARGUMENT);
  });

  it("when the first request is no hello", async () => {
    const requests = (async function* () {
      yield { kind: { $case: "ack" as const, value: { nonce: 1n } } };
    })();
    const read = async () => {
      for await (const _ of client.agent.sync(requests)) throw new Error("a response came");
    };
    await expect(read()).rejects.toMatchObject({ code: Status.INVALID_ARGUMENT });
  });

  it("when the controller stops", async () => {
    const agent = await startManualAgent("node-1");
    const status = statusOf(agent);
    await controller.stop();
    expect(await status).toBe(Status.UNAVAILABLE);
  });
});
