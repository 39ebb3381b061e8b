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
  cluster = new Cluster(store, { isConnected: (node) => connected.has(node) });
});

afterEach(() => {
  connected.clear();
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const frontPorts = { first: 7_100, count: 16 };

function endpoint(name: string, network = "blue", hostPorts: readonly number[] = []) {
  const publishedPorts = hostPorts.map((hostPort) => ({ hostPort, endpointPort: 80 }));
  return { name, network, node: "node-1", address: "", publishedPorts, labels: {} };
}

function codeOf(call: () => unknown): string {
  try {
    call();
    return "ok";
  } catch (error) {
    if (error instanceof ClusterError) return error.code;
    throw error;
  }
}

describe("endpoints", () => {
  it.each(SEEDS.slice(0, 12))("any sequence keeps addresses and ids apart (seed %i)", (seed) => {
    const random = seededRandom(seed);
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    cluster.createNetwork({ name: "blue", vni: 9, prefix: "10.32.0.0/28" });
    const capacity = 14;
    const alive = new Map<string, string>();
    const everGiven = new Set<number>();
    for (let step = 0; step < 150; step += 1) {
      const name = `ep-${random.below(20)}`;
      if (random.below(3) === 0) {
        cluster.deleteEndpoint("blue", name, 0);
        alive.delete(name);
        continue;
      }
      const code = codeOf(() => {
        const created = cluster.createEndpoint(endpoint(name));
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

  it("use every address but the first and the last, and then say that the prefix is exhausted", () => {
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.8/29" });
    const addresses = ["a", "b", "c", "d", "e", "f"].map((name) => cluster.createEndpoint(endpoint(name)).address);
    expect(addresses).toEqual([9, 10, 11, 12, 13, 14].map((last) => `10.32.0.${last}`));
    expect(codeOf(() => cluster.createEndpoint(endpoint("g")))).toBe("resource_exhausted");
    cluster.deleteEndpoint("blue", "c", 0);
    expect(cluster.createEndpoint(endpoint("g"))).toMatchObject({ address: "10.32.0.11", id: 7 });
  });

  it("of networks with the same prefix have the same addresses", () => {
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    for (const name of ["blue", "red"]) cluster.createNetwork({ name, vni: 0, prefix: "10.32.0.0/16" });
    expect(cluster.createEndpoint(endpoint("web"))).toMatchObject({ address: "10.32.0.1", vni: 1, id: 1 });
    expect(cluster.createEndpoint(endpoint("web", "red"))).toMatchObject({ address: "10.32.0.1", vni: 2, id: 1 });
  });

  it("that cannot have all of their ports get none, and leave nothing behind", () => {
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    const before = store.revision;
    expect(codeOf(() => cluster.createEndpoint(endpoint("web", "blue", [8_080, 7_103])))).toBe("already_exists");
    expect(store.revision).toBe(before);
    expect(store.listEndpoints({ limit: -1 })).toEqual([]);
    expect(store.listReservations({ limit: -1 }).map(({ owner }) => owner)).toEqual(["node/node-1"]);
  });

  it("free their ports when they are deleted", () => {
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    cluster.createEndpoint(endpoint("web", "blue", [8_080]));
    expect(codeOf(() => cluster.createEndpoint(endpoint("app", "blue", [8_080])))).toBe("already_exists");
    cluster.deleteEndpoint("blue", "web", 0);
    expect(codeOf(() => cluster.createEndpoint(endpoint("app", "blue", [8_080])))).toBe("ok");
  });

  it("are deleted only with the id that was named", () => {
    cluster.registerNode({ name: "node-1", underlayAddress: "10.200.0.1", frontPorts });
    cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    const { id } = cluster.createEndpoint(endpoint("web"));
    cluster.deleteEndpoint("blue", "web", id + 1);
    expect(store.getEndpoint("blue", "web")).toBeDefined();
    cluster.deleteEndpoint("blue", "web", id);
    expect(store.getEndpoint("blue", "web")).toBeUndefined();
    cluster.deleteEndpoint("blue", "web", id);
  });
});

describe("VNIs", () => {
  it("that had a network are not chosen again while others are left", () => {
    expect(cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" }).vni).toBe(1);
    cluster.deleteNetwork("blue");
    expect(cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" }).vni).toBe(2);
    expect(cluster.createNetwork({ name: "red", vni: 1, prefix: "10.32.0.0/16" }).vni).toBe(1);
  });
});

describe("nodes", () => {
  const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts };

  it("may register again, which changes nothing if nothing changed", () => {
    const first = cluster.registerNode(node);
    expect(cluster.registerNode(node)).toEqual(first);
    connected.add("node-1");
    expect(cluster.registerNode(node)).toEqual(first);
  });

  it("may change address and ports while they are not connected", () => {
    const first = cluster.registerNode(node);
    const moved = cluster.registerNode({
      ...node,
      underlayAddress: "10.200.0.9",
      frontPorts: { first: 7_110, count: 8 },
    });
    expect(moved.revision).toBeGreaterThan(first.revision);
    expect(moved.createTimeMs).toBe(first.createTimeMs);
    expect(store.listReservations({ limit: -1 }).map(({ ports }) => ports)).toEqual([{ first: 7_110, count: 8 }]);
    connected.add("node-1");
    expect(codeOf(() => cluster.registerNode(node))).toBe("already_exists");
  });

  it("are forgotten with their endpoints and reservations", () => {
    cluster.registerNode(node);
    cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    cluster.createEndpoint(endpoint("web", "blue", [8_080]));
    connected.add("node-1");
    expect(codeOf(() => cluster.deleteNode("node-1"))).toBe("failed_precondition");
    connected.delete("node-1");
    cluster.deleteNode("node-1");
    expect([store.listEndpoints({ limit: -1 }), store.listReservations({ limit: -1 })]).toEqual([[], []]);
    expect(codeOf(() => cluster.deleteNode("node-1"))).toBe("not_found");
  });
});
