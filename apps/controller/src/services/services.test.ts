/** The API over a real unix socket: every refusal with its status, its fields and its resource. */
import { once } from "node:events";
import { Client, credentials } from "@grpc/grpc-js";
import { createClient, Status } from "nice-grpc";
import { HealthDefinition } from "nice-grpc-server-health";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { refusal, registerNode, type TestClient, TestController } from "../testing/controller.js";

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

async function withNetworkAndNode(): Promise<void> {
  await client.cluster.createNetwork({ network: BLUE });
  await registerNode(client, 1);
}

describe("networks", () => {
  it("are created, read, listed and deleted", async () => {
    const { network } = await client.cluster.createNetwork({ network: { ...BLUE, vni: 77 } });
    expect(network).toMatchObject({ name: "blue", vni: 77, prefix: "10.32.0.0/16" });
    expect(network?.createTime).toBeInstanceOf(Date);
    expect((await client.cluster.getNetwork({ name: "blue" })).network).toEqual(network);
    expect(await client.cluster.listNetworks({})).toEqual({
      networks: [network],
      nextPageToken: "",
      revision: network?.revision,
    });
    await client.cluster.deleteNetwork({ name: "blue" });
    expect((await client.cluster.listNetworks({})).networks).toEqual([]);
  });

  it("refuse malformed fields", async () => {
    expect(
      await refusal(client.cluster.createNetwork({ network: { name: "B", vni: 2 ** 24, prefix: "10.0.0.1/8" } })),
    ).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["network.name", "network.vni", "network.prefix"],
    });
    expect(await refusal(client.cluster.createNetwork({}))).toMatchObject({ fields: ["network"] });
  });

  it("refuse a name or a VNI that is taken", async () => {
    await client.cluster.createNetwork({ network: { ...BLUE, vni: 77 } });
    expect(await refusal(client.cluster.createNetwork({ network: BLUE }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "network", name: "blue" },
    });
    expect(await refusal(client.cluster.createNetwork({ network: { ...BLUE, name: "red", vni: 77 } }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["network.vni"],
      resource: { type: "network", name: "blue", owner: "network/blue" },
    });
  });

  it("that do not exist are not found", async () => {
    const missing = { code: Status.NOT_FOUND, resource: { type: "network", name: "red", owner: "" } };
    expect(await refusal(client.cluster.getNetwork({ name: "red" }))).toMatchObject(missing);
    expect(await refusal(client.cluster.deleteNetwork({ name: "red" }))).toMatchObject(missing);
  });

  it("with endpoints cannot be deleted", async () => {
    await withNetworkAndNode();
    await client.agent.createEndpoint({ endpoint: WEB });
    expect(await refusal(client.cluster.deleteNetwork({ name: "blue" }))).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      precondition: { type: "NETWORK_NOT_EMPTY", subject: "network/blue" },
      message: expect.stringContaining("node-1"),
    });
  });
});

describe("nodes", () => {
  it("reserve their front ports", async () => {
    await registerNode(client, 1);
    const { node } = await client.cluster.getNode({ name: "node-1" });
    expect(node).toMatchObject({
      underlayAddress: "10.200.0.1",
      frontPorts: { first: 7_100, count: 16 },
      connected: false,
    });
    const { portReservations } = await client.cluster.listPortReservations({ node: "node-1" });
    expect(portReservations).toMatchObject([{ ports: { first: 7_100, count: 16 }, purpose: 1, owner: "node/node-1" }]);
  });

  it("refuse malformed fields", async () => {
    expect(await refusal(client.agent.registerNode({ node: { name: "", underlayAddress: "host" } }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["node.name", "node.underlay_address", "node.front_ports"],
    });
  });

  it("refuse an underlay address that is taken, by whom", async () => {
    await registerNode(client, 1);
    const node = { name: "node-2", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } };
    expect(await refusal(client.agent.registerNode({ node }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["node.underlay_address"],
      resource: { type: "node", name: "node-1", owner: "node/node-1" },
      message: expect.stringContaining("delete node node-1"),
    });
  });

  it("refuse front ports in which a published port lies, by whom", async () => {
    await withNetworkAndNode();
    await client.agent.createEndpoint({
      endpoint: { ...WEB, publishedPorts: [{ hostPort: 7_200, endpointPort: 80 }] },
    });
    const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_190, count: 16 } };
    expect(await refusal(client.agent.registerNode({ node }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["node.front_ports"],
      resource: { type: "port", name: "node-1:7200", owner: "endpoint/blue/web" },
    });
  });

  it("that are connected keep their name and cannot be deleted", async () => {
    await registerNode(client, 1);
    const agent = new TestAgent(client, "node-1");
    await agent.holds("NODE node-1");
    expect((await client.cluster.getNode({ name: "node-1" })).node?.connected).toBe(true);
    expect((await client.cluster.listNodes({})).nodes).toMatchObject([{ connected: true }]);
    const node = { name: "node-1", underlayAddress: "10.200.0.9", frontPorts: { first: 7_100, count: 16 } };
    expect(await refusal(client.agent.registerNode({ node }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "node", name: "node-1", owner: "node/node-1" },
    });
    expect(await refusal(client.cluster.deleteNode({ name: "node-1" }))).toMatchObject({
      code: Status.FAILED_PRECONDITION,
      precondition: { type: "NODE_CONNECTED", subject: "node/node-1" },
    });
    await agent.vanish();
  });

  it("that do not exist are not found", async () => {
    const missing = { code: Status.NOT_FOUND, resource: { type: "node", name: "node-9", owner: "" } };
    expect(await refusal(client.cluster.getNode({ name: "node-9" }))).toMatchObject(missing);
    expect(await refusal(client.cluster.deleteNode({ name: "node-9" }))).toMatchObject(missing);
  });
});

describe("endpoints", () => {
  beforeEach(withNetworkAndNode);

  it("get address, id and VNI, and keep ports and labels", async () => {
    const publishedPorts = [{ hostPort: 8_080, endpointPort: 80 }];
    const wanted = { ...WEB, publishedPorts, labels: { app: "web" } };
    const { endpoint, knownToPeers } = await client.agent.createEndpoint({ endpoint: wanted });
    expect(knownToPeers).toBe(false);
    expect(endpoint).toMatchObject({ ...wanted, address: "10.32.0.1", id: 1, vni: 1 });
    expect(await client.cluster.listEndpoints({})).toEqual({
      endpoints: [endpoint],
      nextPageToken: "",
      revision: endpoint?.revision,
    });
    const { portReservations } = await client.cluster.listPortReservations({});
    expect(portReservations[1]).toMatchObject({
      ports: { first: 8_080, count: 1 },
      purpose: 2,
      owner: "endpoint/blue/web",
    });
  });

  it("may ask for an address", async () => {
    const { endpoint } = await client.agent.createEndpoint({ endpoint: { ...WEB, address: "10.32.9.9" } });
    expect(endpoint?.address).toBe("10.32.9.9");
    expect(
      await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, name: "app", address: "10.32.9.9" } })),
    ).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["endpoint.address"],
      resource: { type: "endpoint", name: "blue/web", owner: "endpoint/blue/web" },
    });
    for (const address of ["10.32.0.0", "10.32.255.255", "10.33.0.1"]) {
      expect(await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, name: "app", address } }))).toMatchObject({
        code: Status.INVALID_ARGUMENT,
        fields: ["endpoint.address"],
      });
    }
  });

  it("refuse malformed fields", async () => {
    expect(await refusal(client.agent.createEndpoint({ endpoint: { publishedPorts: [{}] } }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: [
        "endpoint.name",
        "endpoint.network",
        "endpoint.node",
        "endpoint.published_ports[0].host_port",
        "endpoint.published_ports[0].endpoint_port",
      ],
    });
  });

  it("need their network and their node", async () => {
    expect(await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, network: "red" } }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "network", name: "red" },
    });
    expect(await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, node: "node-9" } }))).toMatchObject({
      code: Status.NOT_FOUND,
      resource: { type: "node", name: "node-9" },
    });
  });

  it("refuse a name that is taken, and say where", async () => {
    await client.agent.createEndpoint({ endpoint: WEB });
    expect(await refusal(client.agent.createEndpoint({ endpoint: WEB }))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "endpoint", name: "blue/web", owner: "node/node-1" },
    });
  });

  it("refuse a port that is taken, by whom", async () => {
    await client.agent.createEndpoint({
      endpoint: { ...WEB, publishedPorts: [{ hostPort: 8_080, endpointPort: 80 }] },
    });
    const publish = (hostPort: number) =>
      client.agent.createEndpoint({
        endpoint: { ...WEB, name: "app", publishedPorts: [{ hostPort, endpointPort: 80 }] },
      });
    expect(await refusal(publish(8_080))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["endpoint.published_ports[0].host_port"],
      resource: { type: "port", name: "node-1:8080", owner: "endpoint/blue/web" },
    });
    expect(await refusal(publish(7_115))).toMatchObject({
      code: Status.ALREADY_EXISTS,
      resource: { type: "port", name: "node-1:7100-7115", owner: "node/node-1" },
    });
    await registerNode(client, 2);
    const elsewhere = { ...WEB, name: "app", node: "node-2", publishedPorts: [{ hostPort: 8_080, endpointPort: 80 }] };
    expect((await client.agent.createEndpoint({ endpoint: elsewhere })).endpoint?.node).toBe("node-2");
  });

  it("say when the prefix is exhausted", async () => {
    await client.cluster.createNetwork({ network: { name: "tiny", prefix: "10.32.0.0/29" } });
    for (let number = 1; number <= 6; number += 1) {
      await client.agent.createEndpoint({ endpoint: { ...WEB, network: "tiny", name: `ep-${number}` } });
    }
    expect(await refusal(client.agent.createEndpoint({ endpoint: { ...WEB, network: "tiny" } }))).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      resource: { type: "network", name: "tiny" },
      message: expect.stringContaining("all 6 addresses"),
    });
  });

  it("may be deleted twice", async () => {
    await client.agent.createEndpoint({ endpoint: WEB });
    await client.agent.deleteEndpoint({ network: "blue", name: "web" });
    await client.agent.deleteEndpoint({ network: "blue", name: "web" });
    await client.agent.deleteEndpoint({ network: "red", name: "web" });
    expect((await client.cluster.listEndpoints({})).endpoints).toEqual([]);
  });
});

describe("lists", () => {
  it("are paged, also while items come and go", async () => {
    await withNetworkAndNode();
    for (const name of ["a", "b", "c", "d", "e"]) await client.agent.createEndpoint({ endpoint: { ...WEB, name } });
    const first = await client.cluster.listEndpoints({ pageSize: 2 });
    expect(first.endpoints.map(({ name }) => name)).toEqual(["a", "b"]);
    await client.agent.deleteEndpoint({ network: "blue", name: "b" });
    const second = await client.cluster.listEndpoints({ pageSize: 2, pageToken: first.nextPageToken });
    expect(second.endpoints.map(({ name }) => name)).toEqual(["c", "d"]);
    const third = await client.cluster.listEndpoints({ pageSize: 2, pageToken: second.nextPageToken });
    expect(third.endpoints.map(({ name }) => name)).toEqual(["e"]);
    expect(third.nextPageToken).toBe("");
  });

  it("end with a full page where nothing comes after it", async () => {
    for (const name of ["a", "b"]) await client.cluster.createNetwork({ network: { ...BLUE, name } });
    expect((await client.cluster.listNetworks({ pageSize: 2 })).nextPageToken).toBe("");
    expect((await client.cluster.listNetworks({ pageSize: 1 })).nextPageToken).not.toBe("");
  });

  it("page nodes and reservations too", async () => {
    for (const number of [1, 2, 3]) await registerNode(client, number);
    const nodes = await client.cluster.listNodes({ pageSize: 2 });
    expect((await client.cluster.listNodes({ pageToken: nodes.nextPageToken })).nodes).toMatchObject([
      { name: "node-3" },
    ]);
    const ports = await client.cluster.listPortReservations({ pageSize: 2 });
    const rest = await client.cluster.listPortReservations({ pageToken: ports.nextPageToken });
    expect(rest.portReservations).toMatchObject([{ node: "node-3" }]);
  });

  it("refuse sizes and tokens that make no sense", async () => {
    expect(await refusal(client.cluster.listNodes({ pageSize: 1_001 }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["page_size"],
    });
    const numberForName = Buffer.from("[7]").toString("base64url");
    for (const pageToken of ["nonsense", numberForName]) {
      expect(await refusal(client.cluster.listNodes({ pageToken }))).toMatchObject({
        code: Status.INVALID_ARGUMENT,
        fields: ["page_token"],
      });
    }
  });
});

describe("the server", () => {
  it("says that it is healthy", async () => {
    const SERVING = 1;
    const { status } = await createClient(HealthDefinition, client.channel).check({ service: "" });
    expect(status).toBe(SERVING);
  });

  it("describes its services by reflection", async () => {
    const asIs = (bytes: Buffer): Buffer => bytes;
    const reflection = new Client("", credentials.createInsecure(), { channelOverride: client.channel });
    const path = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
    const call = reflection.makeBidiStreamRequest(path, asIs, asIs);
    // ServerReflectionRequest { list_services: "*" }
    call.end(Buffer.from([0x3a, 1, 0x2a]));
    const [response] = (await once(call, "data")) as [Buffer];
    expect(response.toString("latin1")).toContain("slimfast.v1.ClusterService");
    expect(response.toString("latin1")).toContain("slimfast.v1.AgentService");
  });

  it("keeps its state when it is started again", async () => {
    await withNetworkAndNode();
    const { endpoint } = await client.agent.createEndpoint({ endpoint: WEB });
    await controller.stop();
    controller = await TestController.start(controller.directory);
    client = controller.client;
    expect((await client.cluster.listEndpoints({})).endpoints).toEqual([endpoint]);
    const { endpoint: next } = await client.agent.createEndpoint({ endpoint: { ...WEB, name: "app" } });
    expect(next).toMatchObject({ id: 2, address: "10.32.0.2" });
  });
});
