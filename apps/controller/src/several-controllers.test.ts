/** Three controllers in processes of their own on an etcd of three members: what must hold when parts of it are killed. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { Endpoint } from "@slimfast/proto";
import { ClientError, Status } from "nice-grpc";
import { afterEach, beforeEach, expect, it } from "vitest";
import { TestAgent } from "./testing/agent.js";
import { connect, registerNode, type TestClient } from "./testing/controller.js";
import { TestEtcd } from "./testing/etcd.js";

const MAIN = fileURLToPath(new URL("../bundle/main.js", import.meta.url));
const ALLOCATIONS = 10_000;
const WRITERS = 24;

let directory: string;
let etcd: TestEtcd;
let controllers: { process: ChildProcess; client: TestClient }[];

async function startController(index: number): Promise<void> {
  const listen = `unix:${directory}/controller-${index}.sock`;
  const options = ["--listen", listen, "--store", `etcd:${etcd.hosts.join(",")}`, "--log-level", "error"];
  const child = spawn(process.execPath, [MAIN, ...options], { stdio: ["ignore", "pipe", "inherit"] });
  const [line] = await once(createInterface(child.stdout), "line");
  expect(JSON.parse(String(line))).toMatchObject({ ready: true });
  controllers[index] = { process: child, client: connect(listen) };
}

function client(index: number): TestClient {
  const controller = controllers[index % controllers.length];
  if (!controller) throw new Error(`no controller ${index}`);
  return controller.client;
}

async function kill(index: number): Promise<void> {
  const child = controllers[index]?.process;
  if (!child || child.exitCode !== null || child.signalCode !== null) return;
  const exit = once(child, "exit");
  child.kill("SIGKILL");
  await exit;
}

beforeEach(async () => {
  directory = await mkdtemp(join(tmpdir(), "slimfast-controllers-test-"));
  etcd = await TestEtcd.start(3);
  controllers = [];
  await Promise.all([0, 1, 2].map(startController));
}, 120_000);

afterEach(async () => {
  for (const [index, controller] of controllers.entries()) {
    controller.client.channel.close();
    await kill(index);
  }
  await etcd.remove();
  await rm(directory, { recursive: true, force: true });
}, 60_000);

async function allEndpoints(index: number): Promise<Endpoint[]> {
  const found: Endpoint[] = [];
  let pageToken = "";
  do {
    const page = await client(index).cluster.listEndpoints({ pageSize: 1_000, pageToken });
    found.push(...page.endpoints);
    pageToken = page.nextPageToken;
  } while (pageToken !== "");
  return found;
}

it("give nothing twice and lose nothing acknowledged, though one of them and etcd's leader are killed", {
  timeout: 540_000,
}, async () => {
  for (const number of [1, 2, 3]) await registerNode(client(0), number);
  await client(0).cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16", prefix6: "fd00:32::/64" } });
  const acknowledged = new Map<string, Endpoint>();
  let started = 0;
  let isKilled = false;
  const kills: Promise<void>[] = [];
  const write = async (writer: number): Promise<void> => {
    let at = writer;
    while (acknowledged.size < ALLOCATIONS) {
      started += 1;
      const number = started;
      if (number === ALLOCATIONS * 0.4) kills.push(kill(0));
      if (number === ALLOCATIONS * 0.7 && !isKilled) {
        isKilled = true;
        kills.push(etcd.leader().then((leader) => etcd.killMember(leader)));
      }
      const publishedPorts = number % 5 === 0 ? [{ hostPort: 20_000 + (number % 1_500), endpointPort: 80 }] : [];
      const endpoint = { name: `ep-${number}`, network: "blue", node: `node-${1 + (number % 3)}`, publishedPorts };
      try {
        const created = await client(at).agent.createEndpoint({ endpoint });
        if (created.endpoint) acknowledged.set(endpoint.name, created.endpoint);
      } catch (error) {
        const code = error instanceof ClientError ? error.code : undefined;
        // A port that another endpoint has.
        if (code === Status.ALREADY_EXISTS && publishedPorts.length > 0) continue;
        if (code !== Status.UNAVAILABLE && code !== Status.ABORTED) throw error;
        at += 1;
        await new Promise((resolve) => setTimeout(resolve, 20));
      }
    }
  };
  await Promise.all(Array.from({ length: WRITERS }, (_, writer) => write(writer)));
  await Promise.all(kills);
  expect([kills.length, acknowledged.size >= ALLOCATIONS]).toEqual([2, true]);
  for (const index of [1, 2]) {
    const found = await allEndpoints(index);
    expect(new Set(found.map(({ address }) => address)).size).toBe(found.length);
    expect(new Set(found.map(({ address6 }) => address6)).size).toBe(found.length);
    expect(found.every(({ address6 }) => address6.startsWith("fd00:32::"))).toBe(true);
    expect(new Set(found.map(({ id }) => id)).size).toBe(found.length);
    const ports = found.flatMap(({ node, publishedPorts }) =>
      publishedPorts.map(({ hostPort }) => `${node}:${hostPort}`),
    );
    expect(new Set(ports).size).toBe(ports.length);
    const byName = new Map(found.map((endpoint) => [endpoint.name, endpoint]));
    const lost = [...acknowledged.values()].filter(({ name, id, address, address6 }) => {
      const kept = byName.get(name);
      return kept?.id !== id || kept.address !== address || kept.address6 !== address6;
    });
    expect(lost).toEqual([]);
  }
});

it("serve one cluster: what one is told the others distribute, and wait for", { timeout: 120_000 }, async () => {
  for (const number of [1, 2]) await registerNode(client(0), number);
  await client(0).cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  const first = await client(0).agent.createEndpoint({ endpoint: { name: "a", network: "blue", node: "node-1" } });
  while ((await client(1).cluster.listEndpoints({})).endpoints.length === 0);
  const attached = [{ network: "blue", name: "a", id: first.endpoint?.id ?? 0 }];
  const agent = new TestAgent(client(1), "node-1", { attached });
  await agent.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a");
  while (!(await client(2).cluster.getNode({ name: "node-1" })).node?.connected);
  const second = await client(2).agent.createEndpoint({
    endpoint: { name: "b", network: "blue", node: "node-2" },
    waitForPeers: true,
  });
  expect(second.knownToPeers).toBe(true);
  expect(agent.held.has("ENDPOINT blue/b")).toBe(true);
  // Its stream goes elsewhere, and the controller that had it is gone.
  await kill(1);
  await agent.vanish();
  const again = new TestAgent(client(2), "node-1", { known: agent.held, storeId: agent.storeId, attached });
  await again.holds("NODE node-1", "NODE node-2", "NETWORK blue", "ENDPOINT blue/a", "ENDPOINT blue/b");
  await again.vanish();
  while ((await client(0).cluster.getNode({ name: "node-1" })).node?.connected);
});

it("read and distribute without a quorum, and say of writes that they cannot be done", {
  timeout: 180_000,
}, async () => {
  await registerNode(client(0), 1);
  const agent = new TestAgent(client(0), "node-1");
  await agent.holds("NODE node-1");
  await etcd.killMember(0);
  await etcd.killMember(1);
  const write = client(0).cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  await expect(write).rejects.toMatchObject({ code: Status.UNAVAILABLE, details: expect.stringMatching(/quorum/) });
  expect((await client(0).cluster.listNodes({})).nodes).toMatchObject([{ name: "node-1", connected: true }]);
  etcd.startMember(0);
  etcd.startMember(1);
  await etcd.ready();
  const endMs = performance.now() + 60_000;
  for (;;) {
    try {
      await registerNode(client(0), 2);
      break;
    } catch (error) {
      if (performance.now() > endMs) throw error;
    }
  }
  // On the stream that was open all the time.
  await agent.holds("NODE node-1", "NODE node-2");
  await agent.vanish();
});
