/** Addresses of both families over a real socket: which endpoints get, who gets a wanted one, and what is refused. */
import type { Endpoint } from "@slimfast/proto";
import { Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { refusal, registerNode, type TestClient, TestController } from "../testing/controller.js";

let controller: TestController;
let client: TestClient;

beforeEach(async () => {
  controller = await TestController.start();
  client = controller.client;
  for (const number of [1, 2, 3]) await registerNode(client, number);
});

afterEach(async () => {
  await controller.remove();
});

const DUAL = { name: "dual", prefix: "10.32.0.0/24", prefix6: "fd00:32::/64" };
const SIX = { name: "six", prefix6: "fd00:32::/120" };

function create(network: string, name: string, rest: Partial<Endpoint> = {}) {
  return client.agent.createEndpoint({ endpoint: { name, network, node: "node-1", ...rest } });
}

describe("networks of both families", () => {
  beforeEach(async () => {
    await client.cluster.createNetwork({ network: DUAL });
  });

  it("show both prefixes, in their canonical form, wherever they are read", async () => {
    const { network } = await client.cluster.createNetwork({
      network: { ...DUAL, name: "b", prefix6: "FD00:33:0::/64" },
    });
    expect(network).toMatchObject({ prefix: "10.32.0.0/24", prefix6: "fd00:33::/64", nodeSubnet6Length: 0 });
    expect((await client.cluster.getNetwork({ name: "b" })).network).toEqual(network);
    const { networks } = await client.cluster.listNetworks({ filter: 'prefix6 = "fd00:33::*"' });
    expect(networks).toEqual([network]);
  });

  it("give an endpoint an address of each, and agents and lists hear of both", async () => {
    const agent = new TestAgent(client, "node-1");
    const { endpoint } = await create("dual", "a");
    expect(endpoint).toMatchObject({ address: "10.32.0.1", address6: "fd00:32::1" });
    await agent.holds("NODE node-1", "NODE node-2", "NODE node-3", "NETWORK dual", "ENDPOINT dual/a");
    const filter = 'address6 = "fd00:32::1"';
    expect((await client.cluster.listEndpoints({ filter })).endpoints).toEqual([endpoint]);
    expect((await client.cluster.listEndpoints({ filter: "address6 : fd00:33" })).endpoints).toEqual([]);
    await agent.vanish();
  });

  it("give the addresses that are wanted, of either family, and say who has one already", async () => {
    const fixed = { address: "10.32.0.9", address6: "fd00:32:0:0:a::9" };
    expect((await create("dual", "a", fixed)).endpoint).toMatchObject({
      address: "10.32.0.9",
      address6: "fd00:32::a:0:0:9",
    });
    // One is wanted, the other is chosen.
    expect((await create("dual", "b", { address6: "fd00:32::7" })).endpoint).toMatchObject({ address: "10.32.0.1" });
    const taken = create("dual", "c", { address6: "FD00:32::A:0:0:9" });
    expect(await refusal(taken)).toMatchObject({
      code: Status.ALREADY_EXISTS,
      fields: ["endpoint.address6"],
      resource: { type: "endpoint", name: "dual/a", owner: "endpoint/dual/a" },
    });
    // The IPv4 address that was chosen before is free again.
    expect((await create("dual", "c")).endpoint).toMatchObject({ address: "10.32.0.2", address6: "fd00:32::1" });
  });

  it("refuse addresses that are not theirs, and what is no address", async () => {
    for (const address6 of [
      "fd00:33::1",
      "fd00:32::",
      "fd00:32::ffff:ffff:ffff:ffff",
      "10.32.0.1",
      "::ffff:10.32.0.1",
      "x",
    ]) {
      expect(await refusal(create("dual", "a", { address6 }))).toMatchObject({
        code: Status.INVALID_ARGUMENT,
        fields: ["endpoint.address6"],
      });
    }
    expect((await client.cluster.listEndpoints({})).endpoints).toEqual([]);
  });

  it("keep their prefixes: an update cannot name them", async () => {
    for (const path of ["prefix6", "node_subnet6_length"]) {
      const update = client.cluster.updateNetwork({
        network: { ...DUAL, prefix6: "fd00:34::/64" },
        updateMask: [path],
      });
      expect(await refusal(update)).toMatchObject({ code: Status.INVALID_ARGUMENT });
    }
    const { network } = await client.cluster.updateNetwork({
      network: { name: "dual", egress: ["2001:DB8::/32", "192.0.2.0/24"] },
      updateMask: ["egress"],
    });
    expect(network).toMatchObject({ prefix6: "fd00:32::/64", egress: ["192.0.2.0/24", "2001:db8::/32"] });
  });
});

describe("networks of IPv6 only", () => {
  beforeEach(async () => {
    await client.cluster.createNetwork({ network: SIX });
  });

  it("give no IPv4 address, and refuse one that is wanted", async () => {
    expect((await create("six", "a")).endpoint).toMatchObject({ address: "", address6: "fd00:32::1" });
    expect(await refusal(create("six", "b", { address: "10.32.0.1" }))).toMatchObject({
      fields: ["endpoint.address"],
      message: expect.stringContaining("network six has no IPv4 prefix"),
    });
  });

  it("use every address but the first and the last, and then say that the prefix is exhausted", async () => {
    const made = await Promise.all(Array.from({ length: 254 }, (_, index) => create("six", `ep-${index}`)));
    const addresses = new Set(made.map(({ endpoint }) => endpoint?.address6));
    const all = Array.from({ length: 254 }, (_, index) => `fd00:32::${(index + 1).toString(16)}`);
    expect([...addresses].sort()).toEqual(all.sort());
    expect(await refusal(create("six", "more"))).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      resource: { type: "network", name: "six" },
      message: expect.stringContaining("all 254 addresses of network six (fd00:32::/120)"),
    });
    await client.agent.deleteEndpoint({ network: "six", name: "ep-41" });
    expect((await create("six", "more")).endpoint?.address6).toBe(made[41]?.endpoint?.address6);
  });
});

it("networks of IPv4 refuse an IPv6 address that is wanted", async () => {
  await client.cluster.createNetwork({ network: { name: "four", prefix: "10.32.0.0/24" } });
  expect((await create("four", "a")).endpoint).toMatchObject({ address: "10.32.0.1", address6: "" });
  expect(await refusal(create("four", "b", { address6: "fd00:32::1" }))).toMatchObject({
    fields: ["endpoint.address6"],
    message: expect.stringContaining("network four has no IPv6 prefix"),
  });
});

describe("networks whose nodes have subnets of both families", () => {
  beforeEach(async () => {
    await client.cluster.createNetwork({
      network: {
        name: "cut",
        prefix: "10.32.0.0/24",
        prefix6: "fd00:32::/64",
        nodeSubnetLength: 25,
        nodeSubnet6Length: 80,
      },
    });
  });

  it("give each node's endpoints addresses of its own subnets", async () => {
    expect((await create("cut", "a")).endpoint).toMatchObject({ address: "10.32.0.1", address6: "fd00:32::1" });
    expect((await create("cut", "b", { node: "node-2" })).endpoint).toMatchObject({
      address: "10.32.0.128",
      address6: "fd00:32:0:0:1::",
    });
    expect((await create("cut", "c")).endpoint).toMatchObject({ address: "10.32.0.2", address6: "fd00:32::2" });
    expect(await refusal(create("cut", "d", { address6: "fd00:32:0:0:1::9" }))).toMatchObject({
      fields: ["endpoint.address6"],
      message: expect.stringContaining("fd00:32::1 to fd00:32::ffff:ffff:ffff"),
    });
  });

  it("take both subnets back from a node that has no endpoints any more", async () => {
    await create("cut", "a");
    await create("cut", "b", { node: "node-2" });
    expect(await refusal(create("cut", "c", { node: "node-3" }))).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
    await client.agent.deleteEndpoint({ network: "cut", name: "b" });
    const { endpoint } = await create("cut", "c", { node: "node-3" });
    expect(endpoint?.address).toMatch(/^10\.32\.0\.(12[89]|1[3-9]\d|2\d\d)$/);
    expect(endpoint?.address6).toMatch(/^fd00:32:0:0:1::/);
    expect(await refusal(create("cut", "d", { node: "node-2" }))).toMatchObject({ code: Status.RESOURCE_EXHAUSTED });
  });

  it("may have subnets of one family only", async () => {
    await client.cluster.createNetwork({ network: { ...DUAL, name: "half", nodeSubnet6Length: 126 } });
    expect((await create("half", "a", { node: "node-1" })).endpoint).toMatchObject({
      address: "10.32.0.1",
      address6: "fd00:32::1",
    });
    expect((await create("half", "b", { node: "node-2" })).endpoint).toMatchObject({
      address: "10.32.0.2",
      address6: "fd00:32::4",
    });
    for (const name of ["c", "d"]) await create("half", name);
    expect(await refusal(create("half", "e"))).toMatchObject({
      code: Status.RESOURCE_EXHAUSTED,
      message: expect.stringContaining("all 3 addresses of node node-1 in network half (fd00:32::/64)"),
    });
  });
});
