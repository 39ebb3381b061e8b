/** ClusterService over a real socket: updates, masks, etags, repeated creations, reservations, policies, drain, subnets. */
import { Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { refusal, registerNode, type TestClient, TestController } from "../testing/controller.js";

vi.setConfig({ testTimeout: 60_000 });

let controller: TestController;
let client: TestClient;

beforeEach(async () => {
  controller = await TestController.start();
  client = controller.client;
});

afterEach(async () => {
  await controller.remove();
});

const BLUE = { name: "blue", prefix: "10.32.0.0/16" };
const WEB = { name: "web", network: "blue", node: "node-1" };
const DRAINING = 2;
const ACTIVE = 1;
const ALLOW = 1;
const DENY = 2;
const STATIC = 3;

async function withNetworkAndNode(): Promise<void> {
  await client.cluster.createNetwork({ network: BLUE });
  await registerNode(client, 1);
}

describe("updates of networks", () => {
  beforeEach(withNetworkAndNode);

  it("change what the mask names, and nothing else", async () => {
    const wanted = { ...BLUE, description: "shop", labels: { tier: "a" }, defaultDeny: true };
    const all = (await client.cluster.updateNetwork({ network: wanted })).network;
    expect(all).toMatchObject({ description: "shop", labels: { tier: "a" }, defaultDeny: true, prefix: BLUE.prefix });
    const one = await client.cluster.updateNetwork({
      network: { name: "blue", prefix: "10.99.0.0/16", description: "new", labels: {} },
      updateMask: ["description", "labels.tier", "labels.zone"],
    });
    expect(one.network).toMatchObject({ description: "new", labels: {}, defaultDeny: true, prefix: BLUE.prefix });
    expect(one.network?.revision).toBeGreaterThan(all?.revision ?? 0n);
  });

  it("that change nothing make no new revision", async () => {
    const { network } = await client.cluster.getNetwork({ name: "blue" });
    expect((await client.cluster.updateNetwork({ network })).network).toEqual(network);
  });

  it("refuse masks of fields that cannot be changed or do not exist", async () => {
    for (const path of ["prefix", "vni", "colour"]) {
      expect(await refusal(client.cluster.updateNetwork({ network: BLUE, updateMask: [path] }))).toMatchObject({
        code: Status.INVALID_ARGUMENT,
        fields: ["update_mask"],
      });
    }
    expect(await refusal(client.cluster.updateNetwork({}))).toMatchObject({ fields: ["network"] });
    expect(await refusal(client.cluster.updateNetwork({ network: { name: "red" } }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "network", name: "red" },
    });
  });

  it("and deletions are refused if the etag is an old one", async () => {
    const { network } = await client.cluster.getNetwork({ name: "blue" });
    const etag = network?.etag ?? "";
    expect(etag).not.toBe("");
    await client.cluster.updateNetwork({ network: { name: "blue", description: "1", etag } });
    const stale = { code: Status.ABORTED, resource: { type: "network", name: "blue" }, reason: "ETAG_MISMATCH" };
    expect(await refusal(client.cluster.updateNetwork({ network: { name: "blue", etag } }))).toMatchObject(stale);
    expect(await refusal(client.cluster.deleteNetwork({ name: "blue", etag }))).toMatchObject(stale);
    const { network: now } = await client.cluster.getNetwork({ name: "blue" });
    expect(now?.description).toBe("1");
    await client.cluster.deleteNetwork({ name: "blue", etag: now?.etag ?? "" });
  });

  it("of two at the same time with one etag exactly one is done", async () => {
    const { network } = await client.cluster.getNetwork({ name: "blue" });
    const results = await Promise.allSettled(
      ["a", "b", "c"].map((description) =>
        client.cluster.updateNetwork({ network: { name: "blue", description, etag: network?.etag ?? "" } }),
      ),
    );
    expect(results.filter(({ status }) => status === "fulfilled")).toHaveLength(1);
  });
});

describe("a repeated creation", () => {
  it("is answered as the first was, also after changes, a deletion and a restart", async () => {
    const request = { network: BLUE, requestId: "7b0c: try/1" };
    const first = await client.cluster.createNetwork(request);
    expect(await client.cluster.createNetwork(request)).toEqual(first);
    await client.cluster.updateNetwork({ network: { name: "blue", description: "changed" } });
    await client.cluster.deleteNetwork({ name: "blue" });
    expect(await client.cluster.createNetwork(request)).toEqual(first);
    await controller.stop();
    controller = await TestController.start(controller.directory);
    client = controller.client;
    expect(await client.cluster.createNetwork(request)).toEqual(first);
    expect((await client.cluster.listNetworks({})).networks).toEqual([]);
  });

  it("at the same time makes one", async () => {
    const request = { network: { ...BLUE, vni: 0 }, requestId: "one" };
    const answers = await Promise.all(Array.from({ length: 5 }, () => client.cluster.createNetwork(request)));
    for (const answer of answers) expect(answer).toEqual(answers[0]);
  });

  it("with another content is refused, and a failed one may be tried again", async () => {
    await client.cluster.createNetwork({ network: BLUE, requestId: "id" });
    expect(
      await refusal(client.cluster.createNetwork({ network: { ...BLUE, name: "red" }, requestId: "id" })),
    ).toMatchObject({ code: Status.INVALID_ARGUMENT, fields: ["request_id"] });
    expect(await refusal(client.cluster.createNetwork({ network: BLUE, requestId: "other" }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
    });
    await client.cluster.deleteNetwork({ name: "blue" });
    await client.cluster.createNetwork({ network: BLUE, requestId: "other" });
    expect(await refusal(client.cluster.createNetwork({ network: BLUE, requestId: "x".repeat(65) }))).toMatchObject({
      fields: ["request_id"],
    });
  });

  it("of policies and reservations works in the same way", async () => {
    await withNetworkAndNode();
    const policy = { name: "p", network: "blue", action: ALLOW, from: [{}], to: [{}] };
    const first = await client.cluster.createPolicy({ policy, requestId: "r" });
    expect(await client.cluster.createPolicy({ policy, requestId: "r" })).toEqual(first);
    const portReservation = { name: "r", node: "node-1", ports: { first: 0, count: 4 } };
    const reserved = await client.cluster.createPortReservation({ portReservation, requestId: "r" });
    expect(await client.cluster.createPortReservation({ portReservation, requestId: "r" })).toEqual(reserved);
  });
});

describe("a draining node", () => {
  beforeEach(withNetworkAndNode);

  it("takes no new endpoint, keeps those it has, and is active again when told so", async () => {
    await client.agent.createEndpoint({ endpoint: WEB });
    const { node } = await client.cluster.updateNode({
      node: { name: "node-1", state: DRAINING },
      updateMask: ["state"],
    });
    expect(node?.state).toBe(DRAINING);
    expect(await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, name: "app" } }))).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      precondition: { type: "NODE_DRAINING", subject: "node/node-1" },
    });
    await registerNode(client, 1);
    expect((await client.cluster.getNode({ name: "node-1" })).node?.state).toBe(DRAINING);
    expect((await client.cluster.listEndpoints({ node: "node-1" })).endpoints).toHaveLength(1);
    await client.cluster.updateNode({ node: { name: "node-1", state: ACTIVE }, updateMask: ["state"] });
    await client.agent.createEndpoint({ endpoint: { ...WEB, name: "app" } });
  });

  it("needs a state that there is", async () => {
    for (const state of [0, 3, 77]) {
      expect(await refusal(client.cluster.updateNode({ node: { name: "node-1", state } }))).toMatchObject({
        code: Status.INVALID_ARGUMENT,
        fields: ["node.state"],
      });
    }
  });
});

describe("agents", () => {
  const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } };

  it("of this version and the one before may register, others are told what to upgrade", async () => {
    for (const protocolVersion of [0, 1, 2]) await client.agent.registerNode({ node, protocolVersion });
    expect(await refusal(client.agent.registerNode({ node, protocolVersion: 3 }))).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      precondition: { type: "PROTOCOL_VERSION", subject: "controller" },
      message: expect.stringContaining("upgrade the controller first"),
    });
  });

  it("bring labels and their version, and leave an operator's labels alone", async () => {
    await client.agent.registerNode({ node: { ...node, labels: { zone: "a" }, agentVersion: "1.0" } });
    await client.cluster.updateNode({ node: { name: "node-1", labels: { team: "x" } }, updateMask: ["labels.team"] });
    const again = await client.agent.registerNode({ node: { ...node, labels: { zone: "b" }, agentVersion: "1.1" } });
    expect(again.node).toMatchObject({ labels: { zone: "b", team: "x" }, agentVersion: "1.1" });
  });
});

describe("endpoints", () => {
  beforeEach(withNetworkAndNode);

  it("are read, and their labels updated", async () => {
    const { endpoint } = await client.agent.createEndpoint({ endpoint: { ...WEB, labels: { app: "web" } } });
    expect((await client.cluster.getEndpoint({ network: "blue", name: "web" })).endpoint).toEqual(endpoint);
    const { endpoint: updated } = await client.cluster.updateEndpoint({
      endpoint: { network: "blue", name: "web", labels: { tier: "a" }, etag: endpoint?.etag ?? "" },
      updateMask: ["labels.tier"],
    });
    expect(updated).toMatchObject({ labels: { app: "web", tier: "a" }, address: endpoint?.address, id: endpoint?.id });
    expect(await refusal(client.cluster.getEndpoint({ network: "blue", name: "app" }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "endpoint", name: "blue/app" },
    });
  });
});

describe("networks with node subnets", () => {
  const create = (name: string, node: string, address = "") =>
    client.agent.createEndpoint({ endpoint: { name, network: "cut", node, address } });

  beforeEach(async () => {
    for (const number of [1, 2, 3]) await registerNode(client, number);
    await client.cluster.createNetwork({ network: { name: "cut", prefix: "10.32.0.0/24", nodeSubnetLength: 25 } });
  });

  it("give each node's endpoints addresses of its own subnet, all but the network's first and last", async () => {
    expect((await create("a", "node-1")).endpoint?.address).toBe("10.32.0.1");
    expect((await create("b", "node-2")).endpoint?.address).toBe("10.32.0.128");
    expect((await create("c", "node-1")).endpoint?.address).toBe("10.32.0.2");
    expect((await create("d", "node-2", "10.32.0.254")).endpoint?.address).toBe("10.32.0.254");
    expect(await refusal(create("e", "node-2", "10.32.0.9"))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["endpoint.address"],
      message: expect.stringContaining("10.32.0.128 to 10.32.0.254"),
    });
  });

  it("take a subnet back from a node that has no endpoints any more, and say when all are in use", async () => {
    await create("a", "node-1");
    await create("b", "node-2");
    expect(await refusal(create("c", "node-3"))).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      resource: { type: "network", name: "cut" },
    });
    await client.agent.deleteEndpoint({ network: "cut", name: "b" });
    expect((await create("c", "node-3")).endpoint?.address).toMatch(/^10\.32\.0\.(12[89]|1[3-9]\d|2\d\d)$/);
  });
});

describe("static reservations", () => {
  beforeEach(withNetworkAndNode);
  const reserve = (name: string, first: number, count = 1, rest: object = {}) =>
    client.cluster.createPortReservation({
      portReservation: { name, node: "node-1", ports: { first, count } },
      ...rest,
    });

  it("are created, read, listed, updated and deleted", async () => {
    const { portReservation } = await reserve("ingress", 443);
    expect(portReservation).toMatchObject({
      name: "ingress",
      node: "node-1",
      ports: { first: 443, count: 1 },
      purpose: STATIC,
      owner: "reservation/ingress",
      expireTime: undefined,
    });
    expect((await client.cluster.getPortReservation({ name: "ingress" })).portReservation).toEqual(portReservation);
    expect((await client.cluster.listPortReservations({ filter: "purpose = static" })).portReservations).toEqual([
      portReservation,
    ]);
    const { portReservation: moved } = await client.cluster.updatePortReservation({
      portReservation: { name: "ingress", ports: { first: 440, count: 8 }, description: "edge" },
    });
    expect(moved).toMatchObject({ ports: { first: 440, count: 8 }, description: "edge" });
    await client.cluster.deletePortReservation({ name: "ingress", etag: moved?.etag ?? "" });
    expect(await refusal(client.cluster.getPortReservation({ name: "ingress" }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "reservation", name: "ingress" },
    });
  });

  it("refuse ports that are taken, by whom, and say where the nearest free block is", async () => {
    await client.agent.createEndpoint({
      endpoint: { ...WEB, publishedPorts: [{ hostPort: 8_080, endpointPort: 80 }] },
    });
    await reserve("one", 8_081, 3);
    expect(await refusal(reserve("two", 8_079, 4))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "port", name: "node-1:8080", owner: "endpoint/blue/web" },
      reason: "PORTS_TAKEN",
      metadata: { free_first: "8076" },
    });
    expect(await refusal(reserve("front", 7_115))).toMatchObject({
      resource: { owner: "node/node-1" },
      metadata: { free_first: "7116" },
    });
    expect(await refusal(reserve("one", 9_000))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "reservation", name: "one", owner: "reservation/one" },
    });
    expect(
      await refusal(
        client.agent.createEndpoint({
          endpoint: { ...WEB, name: "app", publishedPorts: [{ hostPort: 8_082, endpointPort: 80 }] },
        }),
      ),
    ).toMatchObject({ code: Status.ALREADY_EXISTS, resource: { owner: "reservation/one" } });
    await reserve("two", 8_076, 4);
  });

  it("with first 0 get a free block", async () => {
    const first = (await reserve("a", 0, 100)).portReservation?.ports;
    const second = (await reserve("b", 0, 100)).portReservation?.ports;
    expect(first).toEqual({ first: 20_000, count: 100 });
    expect(second).toEqual({ first: 20_100, count: 100 });
    expect(await refusal(reserve("c", 0, 60_000))).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      resource: { type: "node", name: "node-1" },
    });
    expect(
      await refusal(
        client.cluster.createPortReservation({
          portReservation: { name: "d", node: "node-9", ports: { first: 1, count: 1 } },
        }),
      ),
    ).toMatchObject({ code: Status.NOT_FOUND, resource: { type: "node", name: "node-9" } });
  });

  it("with a lease end by themselves, and their ports are free again", async () => {
    const { revision } = await client.cluster.listPortReservations({});
    const ended = new Promise<void>((resolve, reject) => {
      void (async () => {
        for await (const { changes } of client.cluster.watchResources({ kinds: [5], revision })) {
          if (changes.some(({ name, resource }) => name === "short" && !resource)) return resolve();
        }
        throw new Error("the watch ended");
      })().catch(reject);
    });
    const { portReservation } = await reserve("short", 8_080, 1, { lease: { seconds: 1n, nanos: 0 } });
    expect(portReservation?.expireTime).toBeInstanceOf(Date);
    await ended;
    await reserve("next", 8_080);
  });

  it("have their lease changed, alone and with the rest", async () => {
    await reserve("a", 8_080, 1, { lease: { seconds: 600n, nanos: 0 } });
    const extended = await client.cluster.updatePortReservation({
      portReservation: { name: "a" },
      updateMask: ["lease"],
      lease: { seconds: 86_400n, nanos: 0 },
    });
    expect(extended.portReservation?.ports).toEqual({ first: 8_080, count: 1 });
    expect(extended.portReservation?.expireTime?.getTime()).toBeGreaterThan(Date.now() + 80_000_000);
    const kept = await client.cluster.updatePortReservation({
      portReservation: { name: "a", description: "x" },
      updateMask: ["description"],
    });
    expect(kept.portReservation?.expireTime).toEqual(extended.portReservation?.expireTime);
    const forever = await client.cluster.updatePortReservation({
      portReservation: { name: "a" },
      updateMask: ["lease"],
      lease: { seconds: 0n, nanos: 0 },
    });
    expect(forever.portReservation).toMatchObject({ expireTime: undefined, description: "x" });
    expect(await refusal(reserve("b", 8_090, 1, { lease: { seconds: 0n, nanos: 5 } }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["lease"],
    });
  });
});

describe("policies", () => {
  beforeEach(withNetworkAndNode);
  const POLICY = {
    name: "web-to-db",
    network: "blue",
    action: ALLOW,
    from: [{ labels: { app: "web" } }],
    to: [{ prefix: "10.32.7.0/24" }, { endpoint: "db" }],
    ports: [{ first: 5_432, count: 1 }],
  };

  it("are created, read, listed, updated and deleted, and go with their network", async () => {
    const { policy } = await client.cluster.createPolicy({ policy: POLICY });
    expect(policy).toMatchObject({
      ...POLICY,
      from: [{ labels: { app: "web" }, prefix: "", endpoint: "" }],
      to: [{}, {}],
    });
    expect((await client.cluster.getPolicy({ network: "blue", name: "web-to-db" })).policy).toEqual(policy);
    expect((await client.cluster.listPolicies({ network: "blue", filter: "action = allow" })).policies).toEqual([
      policy,
    ]);
    expect((await client.cluster.listPolicies({ filter: "from.labels.app:web" })).policies).toEqual([policy]);
    const { policy: updated } = await client.cluster.updatePolicy({
      policy: { ...POLICY, action: DENY, ports: [], etag: policy?.etag ?? "" },
      updateMask: ["action"],
    });
    expect(updated).toMatchObject({ action: DENY, ports: POLICY.ports });
    expect(
      await refusal(client.cluster.updatePolicy({ policy: { ...POLICY, etag: policy?.etag ?? "" } })),
    ).toMatchObject({ code: Status.ABORTED });
    await client.cluster.createPolicy({ policy: { ...POLICY, name: "other" } });
    await client.cluster.deletePolicy({ network: "blue", name: "web-to-db" });
    await client.cluster.deleteNetwork({ name: "blue" });
    expect((await client.cluster.listPolicies({})).policies).toEqual([]);
  });

  it("refuse what is malformed, taken or missing", async () => {
    await client.cluster.createPolicy({ policy: POLICY });
    expect(await refusal(client.cluster.createPolicy({ policy: POLICY }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "policy", name: "blue/web-to-db" },
    });
    expect(await refusal(client.cluster.createPolicy({ policy: { ...POLICY, network: "red" } }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "network", name: "red" },
    });
    expect(
      await refusal(
        client.cluster.createPolicy({ policy: { ...POLICY, action: -1, from: [], ports: [{ first: 0 }] } }),
      ),
    ).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["policy.action", "policy.from", "policy.ports[0].first", "policy.ports[0].count"],
    });
    expect(
      await refusal(client.cluster.updatePolicy({ policy: { ...POLICY, from: [] }, updateMask: ["from"] })),
    ).toMatchObject({ fields: ["policy.from"] });
    const missing = { code: Status.NOT_FOUND, resource: { type: "policy", name: "blue/none" } };
    expect(await refusal(client.cluster.getPolicy({ network: "blue", name: "none" }))).toMatchObject(missing);
    expect(await refusal(client.cluster.deletePolicy({ network: "blue", name: "none" }))).toMatchObject(missing);
  });
});

describe("lists with filters", () => {
  beforeEach(withNetworkAndNode);

  it("page through what passes, exactly once, while others come and go", async () => {
    const names = Array.from({ length: 30 }, (_, index) => `ep-${String(index).padStart(2, "0")}`);
    for (const [index, name] of names.entries()) {
      await client.agent.createEndpoint({ endpoint: { ...WEB, name, labels: { parity: index % 2 ? "odd" : "even" } } });
    }
    const found: string[] = [];
    let pageToken = "";
    do {
      const page = await client.cluster.listEndpoints({ pageSize: 4, pageToken, filter: "labels.parity = odd" });
      found.push(...page.endpoints.map(({ name }) => name));
      pageToken = page.nextPageToken;
      await client.agent.deleteEndpoint({ network: "blue", name: names[found.length % 2 ? 0 : 2] ?? "" });
    } while (pageToken !== "");
    expect(found).toEqual(names.filter((_, index) => index % 2 === 1));
  });

  it("refuse a filter that is wrong, and a token of another list", async () => {
    expect(await refusal(client.cluster.listNodes({ filter: "nmae = x" }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["filter"],
      message: expect.stringContaining("character 1"),
    });
    for (const number of [2, 3]) await registerNode(client, number);
    const { nextPageToken: pageToken } = await client.cluster.listNodes({ pageSize: 1 });
    for (const call of [
      client.cluster.listNodes({ pageToken, filter: "connected = true" }),
      client.cluster.listNetworks({ pageToken }),
      client.cluster.listPortReservations({ pageToken }),
    ]) {
      expect(await refusal(call)).toMatchObject({ code: Status.INVALID_ARGUMENT, fields: ["page_token"] });
    }
    expect(await refusal(client.cluster.listEndpoints({ network: "Blue" }))).toMatchObject({ fields: ["network"] });
  });

  it("know which nodes are connected", async () => {
    await registerNode(client, 2);
    const agent = new TestAgent(client, "node-2");
    await agent.holds("NODE node-1", "NODE node-2");
    const { nodes } = await client.cluster.listNodes({ filter: "connected = true AND front_ports.first < 8000" });
    expect(nodes.map(({ name }) => name)).toEqual(["node-2"]);
    await agent.vanish();
  });
});
