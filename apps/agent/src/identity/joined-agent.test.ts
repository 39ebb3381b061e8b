/** An agent that has joined over TLS, with the real controller and a fake core: its streams over renewals and revocation. */
import { join } from "node:path";
import { pino } from "pino";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { Agent } from "../agent.js";
import { attachment, TestBed } from "../testing/agent.js";
import { eventually } from "../testing/eventually.js";
import { RealController } from "../testing/real-controller.js";
import { WALL_CLOCK } from "./clock.js";
import { NodeIdentity } from "./node-identity.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

let controller: RealController;
let bed: TestBed;
let token: string | undefined;
let identity: NodeIdentity;

beforeEach(async () => {
  bed = await TestBed.create(false);
});

afterEach(async () => {
  await bed.remove();
  await controller?.remove();
});

async function start(lifetimeSeconds: number): Promise<Agent> {
  controller = new RealController(lifetimeSeconds);
  await controller.start();
  await controller.client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  token = await controller.joinToken();
  identity = await NodeIdentity.open({
    node: "node-1",
    addresses: [controller.address],
    path: join(controller.directory, "node", "identity.pem"),
    trust: {},
    joinToken: async () => token,
    clock: WALL_CLOCK,
    timeoutMs: 10_000,
    log: pino({ level: "trace" }, { write: (line: string) => bed.log.push(JSON.parse(line)) }),
  });
  token = undefined;
  return bed.startAgent({ streamHealthyMs: 100 }, { controllerAddresses: [controller.address], identity });
}

function said(message: string): readonly unknown[] {
  return bed.log.filter(({ msg }) => msg === message);
}

async function isConnected(): Promise<boolean> {
  const { node } = await controller.client.cluster.getNode({ name: "node-1" });
  return node?.connected === true;
}

it("outlives several certificates and an authority: nothing that it has goes, and what changes comes", async () => {
  await start(6);
  const { local } = bed.connect();
  await local.attachEndpoint(attachment("web"));
  const firstExpireMs = identity.expireTimeMs;
  const { access } = controller.client;
  const { authority } = await access.rotateAuthority({});
  await eventually(async () => {
    const { authorities } = await access.listAuthorities({});
    expect(authorities.map(({ name }) => name)).toEqual([authority?.name]);
  }, 60_000);
  expect(said("certificate renewed").length).toBeGreaterThanOrEqual(2);
  expect(Date.now()).toBeGreaterThan(firstExpireMs);
  expect(said("the stream to the controller ended")).toEqual([]);
  await eventually(async () => expect(await isConnected()).toBe(true));
  await local.attachEndpoint(attachment("other"));
  const { endpoints } = await controller.client.cluster.listEndpoints({});
  expect(endpoints.map(({ name, node }) => `${node}/${name}`)).toEqual(["node-1/other", "node-1/web"]);
  expect([...bed.core.held.keys()]).toHaveLength(2);
});

it("loses its streams when its certificates are revoked, keeps what it has, and comes back with a token", async () => {
  await start(3_600);
  const { local } = bed.connect();
  await local.attachEndpoint(attachment("web"));
  await controller.client.access.revokeNodeCertificates({ node: "node-1" });
  await eventually(async () => expect(await isConnected()).toBe(false));
  await eventually(() =>
    expect(bed.log.map(({ reason }) => String(reason)).join("\n")).toMatch(/was revoked.*: join again/),
  );
  expect([...bed.core.held.keys()]).toHaveLength(1);
  expect((await local.getStatus({})).controllerConnected).toBe(false);
  token = await controller.joinToken();
  await eventually(async () => expect(await isConnected()).toBe(true), 60_000);
  const { endpoints } = await controller.client.cluster.listEndpoints({});
  expect(endpoints.map(({ name }) => name)).toEqual(["web"]);
});

it("is still known after the controller was away", async () => {
  await start(3_600);
  await controller.stop();
  await eventually(() => expect(said("the stream to the controller ended").length).toBeGreaterThan(0));
  await controller.start();
  await eventually(async () => expect(await isConnected()).toBe(true), 60_000);
});
