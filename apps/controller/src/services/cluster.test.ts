/** Allocation as the use cases do it, on a real store: what must hold after any sequence of requests. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClusterError } from "../errors.js";
import { openSqliteStore } from "../store/sqlite-store.js";
import type { Store } from "../store/store.js";
import { SEEDS, seededRandom } from "../testing/random.js";
import { Cluster } from "./cluster.js";

let directory: string;
let store: Store;
let cluster: Cluster;
const connected = new Set<string>();

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-cluster-test-"));
  store = openSqliteStore(directory);
  cluster = new Cluster(store, { isConnected: (node) => connected.has(node), syncError: () => "" });
});

afterEach(async () => {
  connected.clear();
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const frontPorts = { first: 7_100, count: 16 };

function endpoint(name: string, network = "blue", hostPorts: readonly number[] = []) {
  const publishedPorts = hostPorts.map((hostPort) => ({ hostPort, endpointPort: 80 }));
  return { name, network, node: "node-1", address: "", publishedPorts, labels: {} };
}

async function codeOf(call: () => Promise<unknown>): Promise<string> {
  try {
    await call();
    return "ok";
  } catch (error) {
    if (error instanceof ClusterError) return error.code;
    throw error;
  }
}

describe("endpoints", () => {
  it.each(SEEDS.slice(0, 12))("any sequence keeps addresses and ids apart (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    await cluster.createNetwork({ name: "blue", vni: 9, prefix: "10.32.0.0/28" });
    const capacity = 14;
    const alive = new Map<string, string>();
    const everGiven = new Set<number>();
    for (let step = 0; step < 150; step += 1) {
      const name = `ep-${random.below(20)}`;
      if (random.below(3) === 0) {
        await cluster.deleteEndpoint("blue", name, 0);
        alive.delete(name);
        continue;
      }
      const code = await codeOf(async () => {
        const created = await cluster.createEndpoint(endpoint(name));
        expect([...alive.values()]).not.toContain(created.address);
        expect(everGiven.has(created.id)).toBe(false);
        alive.set(name, created.address);
        everGiven.add(created.id);
      });
      if (code === "already_exists") expect(alive.has(name)).toBe(true);
      else if (code === "resource_exhausted") expect(alive.size).toBe(capacity);
      else expect(code).toBe("ok");
      expect(alive.size).toBeLessThanOrEqual(capacity);
    }
    expect(store.listEndpoints({ limit: -1 }).map(({ name, address }) => [name, address])).toEqual(
      [...alive].toSorted(([one], [other]) => (one < other ? -1 : 1)),
    );
  });

  it("use every address but the first and the last, and then say that the prefix is exhausted", async () => {
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.8/29" });
    const addresses = await Promise.all(
      ["a", "b", "c", "d", "e", "f"].map(async (name) => (await cluster.createEndpoint(endpoint(name))).address),
    );
    expect(addresses).toEqual([9, 10, 11, 12, 13, 14].map((last) => `10.32.0.${last}`));
    expect(await codeOf(() => cluster.createEndpoint(endpoint("g")))).toBe("resource_exhausted");
    await cluster.deleteEndpoint("blue", "c", 0);
    expect(await cluster.createEndpoint(endpoint("g"))).toMatchObject({ address: "10.32.0.11", id: 7 });
  });

  it("of networks with the same prefix have the same addresses", async () => {
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    for (const name of ["blue", "red"]) await cluster.createNetwork({ name, vni: 0, prefix: "10.32.0.0/16" });
    expect(await cluster.createEndpoint(endpoint("web"))).toMatchObject({ address: "10.32.0.1", vni: 1, id: 1 });
    expect(await cluster.createEndpoint(endpoint("web", "red"))).toMatchObject({ address: "10.32.0.1", vni: 2, id: 1 });
  });

  it("that cannot have all of their ports get none, and leave nothing behind", async () => {
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    const before = store.revision;
    expect(await codeOf(() => cluster.createEndpoint(endpoint("web", "blue", [8_080, 7_103])))).toBe("already_exists");
    expect(store.revision).toBe(before);
    expect(store.listEndpoints({ limit: -1 })).toEqual([]);
    expect(store.listReservations({ limit: -1 }).map(({ owner }) => owner)).toEqual(["node/node-1"]);
  });

  it("free their ports when they are deleted", async () => {
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    await cluster.createEndpoint(endpoint("web", "blue", [8_080]));
    expect(await codeOf(() => cluster.createEndpoint(endpoint("app", "blue", [8_080])))).toBe("already_exists");
    await cluster.deleteEndpoint("blue", "web", 0);
    expect(await codeOf(() => cluster.createEndpoint(endpoint("app", "blue", [8_080])))).toBe("ok");
  });

  it("are deleted only with the id that was named", async () => {
    await cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    const { id } = await cluster.createEndpoint(endpoint("web"));
    await cluster.deleteEndpoint("blue", "web", id + 1);
    expect(store.getEndpoint("blue", "web")).toBeDefined();
    await cluster.deleteEndpoint("blue", "web", id);
    expect(store.getEndpoint("blue", "web")).toBeUndefined();
    await cluster.deleteEndpoint("blue", "web", id);
  });
});

describe("VNIs", () => {
  it("that had a network are not chosen again while others are left", async () => {
    expect((await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" })).vni).toBe(1);
    await cluster.deleteNetwork("blue");
    expect((await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" })).vni).toBe(2);
    expect((await cluster.createNetwork({ name: "red", vni: 1, prefix: "10.32.0.0/16" })).vni).toBe(1);
  });
});

describe("nodes", () => {
  const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts };

  it("may register again, which changes nothing if nothing changed", async () => {
    const first = await cluster.registerNode(node);
    expect(await cluster.registerNode(node)).toEqual(first);
    connected.add("node-1");
    expect(await cluster.registerNode(node)).toEqual(first);
  });

  it("may change address and ports while they are not connected", async () => {
    const first = await cluster.registerNode(node);
    const moved = await cluster.registerNode({
      ...node,
      underlayAddress: "10.200.0.9",
      frontPorts: { first: 7_110, count: 8 },
    });
    expect(moved.revision).toBeGreaterThan(first.revision);
    expect(moved.createTimeMs).toBe(first.createTimeMs);
    expect(store.listReservations({ limit: -1 }).map(({ ports }) => ports)).toEqual([{ first: 7_110, count: 8 }]);
    connected.add("node-1");
    expect(await codeOf(() => cluster.registerNode(node))).toBe("already_exists");
  });

  it("are forgotten with their endpoints and reservations", async () => {
    await cluster.registerNode(node);
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    await cluster.createEndpoint(endpoint("web", "blue", [8_080]));
    connected.add("node-1");
    expect(await codeOf(() => cluster.deleteNode("node-1"))).toBe("failed_precondition");
    connected.delete("node-1");
    await cluster.deleteNode("node-1");
    expect([store.listEndpoints({ limit: -1 }), store.listReservations({ limit: -1 })]).toEqual([[], []]);
    expect(await codeOf(() => cluster.deleteNode("node-1"))).toBe("not_found");
  });
});
