/** Trials of policies against what real controllers keep: one on SQLite, two side by side on a real etcd. */
import * as proto from "@slimfast/proto";
import { createClient } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection, NO_DB, ReportingAgent } from "../testing/connections.js";
import { registerNode, TestController } from "../testing/controller.js";
import { TestEtcd } from "../testing/etcd.js";
import { eventually } from "../testing/operations.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

describe.each([
  { store: "SQLite", controllerCount: 1 },
  { store: "etcd", controllerCount: 2 },
])("a trial where the state is in $store", ({ controllerCount }) => {
  let etcd: TestEtcd | undefined;
  let controllers: TestController[];
  let agents: ReportingAgent[];

  const at = (index: number): TestController => {
    const controller = controllers[index % controllers.length];
    if (!controller) throw new Error("there is no controller");
    return controller;
  };
  const operations = (index: number) => createClient(proto.OperationsServiceDefinition, at(index).client.channel);

  beforeEach(async () => {
    etcd = controllerCount > 1 ? await TestEtcd.start() : undefined;
    controllers = [];
    for (let index = 0; index < controllerCount; index += 1) {
      controllers.push(await TestController.start(undefined, etcd && `etcd:${etcd.hosts.join(",")}`));
    }
    const { agent, cluster } = at(0).client;
    await cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/24" } });
    for (const number of [1, 2]) await registerNode(at(0).client, number);
    for (const { name, node, address, app } of [
      { name: "web", node: "node-1", address: "10.32.0.1", app: "web" },
      { name: "db", node: "node-2", address: "10.32.0.2", app: "db" },
      { name: "web-2", node: "node-2", address: "10.32.0.3", app: "web" },
    ]) {
      await agent.createEndpoint({ endpoint: { name, network: "blue", node, address, labels: { app } } });
    }
    await eventually("all controllers have the endpoints", async () => {
      const counts = controllers.map(async ({ client }) => (await client.cluster.listEndpoints({})).endpoints.length);
      return (await Promise.all(counts)).every((count) => count === 3);
    });
    // Each node's agent at another controller, if there is one; the end that was connected to is not tried again.
    const towards = (port: number) => connection(port, { peer: { address: "10.32.0.2", port } });
    agents = [
      new ReportingAgent(at(0).client, "node-1", [towards(80), towards(81)]),
      new ReportingAgent(at(1).client, "node-2", [
        connection(80, {
          endpoint: "db",
          direction: proto.Direction.DIRECTION_INBOUND,
          local: { address: "10.32.0.2", port: 80 },
          peer: { address: "10.32.0.1", port: 40_000 },
          peerEndpoint: "web",
        }),
        connection(82, { endpoint: "web-2", local: { address: "10.32.0.3", port: 40_000 } }),
      ]),
    ];
    await eventually("their connections are known", async () => {
      const { connections } = await operations(0).listConnectionRecords({});
      return connections.length === 4;
    });
  });

  afterEach(async () => {
    for (const agent of agents) await agent.vanish();
    for (const controller of controllers) await controller.remove();
    await etcd?.remove();
  });

  it("goes by the endpoints, labels and policies that are kept, asked of any controller, and keeps nothing", async () => {
    for (const index of controllers.keys()) {
      expect(await operations(index).tryPolicy({ policy: NO_DB })).toMatchObject({
        ...{ tried: 3, newlyDenied: 2, newlyAllowed: 0 },
      });
      expect((await at(index).client.cluster.listPolicies({})).policies).toEqual([]);
    }
    await at(0).client.cluster.createPolicy({ policy: NO_DB });
    for (const index of controllers.keys()) {
      await eventually("this controller has it", async () => {
        return (await at(index).client.cluster.listPolicies({})).policies.length === 1;
      });
      // It changes nothing when it is there already, and its deletion would.
      const again = await operations(index).tryPolicy({ policy: NO_DB });
      expect(again).toMatchObject({ tried: 3, newlyDenied: 0, newlyAllowed: 0 });
      const { name, network } = NO_DB;
      expect(await operations(index).tryPolicy({ policy: { name, network }, deleted: true })).toMatchObject({
        ...{ tried: 3, newlyDenied: 0, newlyAllowed: 2 },
      });
      const allowed = { ...NO_DB, action: proto.PolicyAction.POLICY_ACTION_ALLOW };
      expect(await operations(index).tryPolicy({ policy: allowed })).toMatchObject({ newlyAllowed: 2 });
    }
  });
});
