import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SqliteDatabase from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StartupError } from "../errors.js";
import { openSqliteStore } from "./sqlite-store.js";
import type { Change, Store, StoreTransaction } from "./store.js";

let directory: string;
let store: Store;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-store-test-"));
  store = openSqliteStore(directory);
});

afterEach(() => {
  store.close();
  rmSync(directory, { recursive: true, force: true });
});

const NODE = {
  name: "node-1",
  underlayAddress: "10.200.0.1",
  frontPorts: { first: 7_100, count: 16 },
  createTimeMs: 1_700_000_000_000,
};

const NETWORK = { name: "blue", vni: 7, prefix: "10.32.0.0/16", nextAddress: 5, createTimeMs: 1_700_000_000_000 };

function insertEndpoint(tx: StoreTransaction, name: string, address: string) {
  return tx.insertEndpoint({
    network: "blue",
    name,
    node: "node-1",
    vni: 7,
    id: tx.takeEndpointId(7),
    address,
    publishedPorts: [{ hostPort: 8_080, endpointPort: 80 }],
    labels: { app: "web" },
    createTimeMs: 1_700_000_000_000,
  });
}

function fill(): void {
  store.transaction((tx) => tx.putNode(NODE));
  store.transaction((tx) => tx.insertNetwork(NETWORK));
  store.transaction((tx) => insertEndpoint(tx, "web", "10.32.0.1"));
}

function openingFails(): StartupError {
  try {
    openSqliteStore(directory).close();
  } catch (error) {
    if (error instanceof StartupError) return error;
    throw error;
  }
  throw new Error("the store was opened");
}

describe("transactions", () => {
  it("give each change a greater revision, and all changes of one the same", () => {
    const before = store.revision;
    const node = store.transaction((tx) => tx.putNode(NODE));
    expect(node.revision).toBe(before + 1n);
    const [network, endpoint] = store.transaction((tx) => [
      tx.insertNetwork(NETWORK),
      insertEndpoint(tx, "web", "10.32.0.1"),
    ]);
    expect([network.revision, endpoint.revision]).toEqual([before + 2n, before + 2n]);
    expect(store.revision).toBe(before + 2n);
    store.transaction((tx) => tx.deleteEndpoint(endpoint));
    expect(store.revision).toBe(before + 3n);
  });

  it("leave nothing behind when they throw, and tell nobody", () => {
    const before = store.revision;
    const heard: (readonly Change[])[] = [];
    store.onCommit((changes) => heard.push(changes));
    expect(() =>
      store.transaction((tx) => {
        tx.putNode(NODE);
        throw new Error("on second thoughts");
      }),
    ).toThrow("on second thoughts");
    expect(store.getNode("node-1")).toBeUndefined();
    expect(store.revision).toBe(before);
    expect(heard).toEqual([]);
  });

  it("that only read change no revision and tell nobody", () => {
    const before = store.revision;
    const heard: unknown[] = [];
    store.onCommit((changes) => heard.push(changes));
    store.transaction((tx) => tx.getNode("node-1"));
    expect([store.revision, heard]).toEqual([before, []]);
  });

  it("tell what they changed", () => {
    const heard: Change[] = [];
    const stop = store.onCommit((changes) => heard.push(...changes));
    fill();
    stop();
    store.transaction((tx) => tx.putNode({ ...NODE, name: "node-2", underlayAddress: "10.200.0.2" }));
    expect(heard).toEqual([
      { kind: "node", name: "node-1" },
      { kind: "network", name: "blue" },
      { kind: "endpoint", network: "blue", name: "web", node: "node-1" },
    ]);
  });
});

describe("a restart", () => {
  it("keeps everything", () => {
    fill();
    store.transaction((tx) =>
      tx.reservePorts({ node: "node-1", ports: NODE.frontPorts, purpose: "front", owner: "node/node-1" }),
    );
    const read = () => ({
      revision: store.revision,
      nodes: store.listNodes({ limit: -1 }),
      networks: store.listNetworks({ limit: -1 }),
      endpoints: store.listEndpoints({ limit: -1 }),
      reservations: store.listReservations({ limit: -1 }),
    });
    const before = read();
    expect(before.endpoints).toMatchObject([
      { name: "web", vni: 7, id: 1, address: "10.32.0.1", labels: { app: "web" } },
    ]);
    store.close();
    store = openSqliteStore(directory);
    expect(read()).toEqual(before);
  });

  it("does not give out an endpoint id again, nor does another network with the same VNI", () => {
    fill();
    const endpoint = store.getEndpoint("blue", "web");
    if (!endpoint) throw new Error("no endpoint");
    store.transaction((tx) => tx.deleteEndpoint(endpoint));
    store.transaction((tx) => tx.deleteNetwork("blue"));
    store.close();
    store = openSqliteStore(directory);
    store.transaction((tx) => tx.insertNetwork({ ...NETWORK, name: "red" }));
    expect(store.transaction((tx) => tx.takeEndpointId(7))).toBe(2);
  });
});

describe("a fresh store", () => {
  it("continues no revision of another one", () => {
    fill();
    const old = store.revision;
    store.close();
    rmSync(directory, { recursive: true });
    store = openSqliteStore(directory);
    expect(store.revision).toBeGreaterThan(old);
  });
});

describe("lists", () => {
  beforeEach(() => {
    fill();
    store.transaction((tx) => {
      tx.putNode({ ...NODE, name: "node-2", underlayAddress: "10.200.0.2" });
      tx.insertNetwork({ ...NETWORK, name: "red", vni: 8 });
      insertEndpoint(tx, "cache", "10.32.0.9");
      tx.insertEndpoint({
        network: "red",
        name: "app",
        node: "node-2",
        vni: 8,
        id: tx.takeEndpointId(8),
        address: "10.32.0.1",
        publishedPorts: [],
        labels: {},
        createTimeMs: 0,
      });
    });
  });

  const names = (page: Parameters<Store["listEndpoints"]>[0]) =>
    store.listEndpoints(page).map(({ network, name }) => `${network}/${name}`);

  it("are ordered, limited, continued and filtered", () => {
    expect(names({ limit: -1 })).toEqual(["blue/cache", "blue/web", "red/app"]);
    expect(names({ limit: 2 })).toEqual(["blue/cache", "blue/web"]);
    expect(names({ limit: 2, after: { network: "blue", name: "web" } })).toEqual(["red/app"]);
    expect(names({ limit: -1, network: "blue" })).toEqual(["blue/cache", "blue/web"]);
    expect(names({ limit: -1, network: "blue", after: { network: "blue", name: "cache" } })).toEqual(["blue/web"]);
    expect(names({ limit: -1, node: "node-2" })).toEqual(["red/app"]);
    expect(names({ limit: -1, node: "node-2", network: "blue" })).toEqual([]);
    expect(names({ limit: -1, node: "node-1", network: "blue" })).toEqual(["blue/cache", "blue/web"]);
  });

  it("know addresses and presence", () => {
    expect([...store.addressesFrom("blue", 0)]).toEqual([0x0a200001, 0x0a200009]);
    expect([...store.addressesFrom("blue", 0x0a200002)]).toEqual([0x0a200009]);
    expect(store.networksOfNode("node-1")).toEqual(["blue"]);
    expect(store.nodesOfNetwork("red")).toEqual(["node-2"]);
    expect([store.hasEndpoints("red"), store.hasEndpoints("red", "node-1")]).toEqual([true, false]);
  });
});

describe("opening", () => {
  it("refuses a state directory that is in use", () => {
    const error = openingFails();
    expect(error.code).toBe("state_locked");
    expect(error.message).toContain(directory);
  });

  it("refuses tables of a newer version", () => {
    store.close();
    const database = new SqliteDatabase(join(directory, "controller.db"));
    database.pragma("user_version = 999");
    database.close();
    expect(openingFails()).toMatchObject({ code: "state_unusable", message: expect.stringContaining("newer") });
  });

  it("refuses a file that is no database", () => {
    store.close();
    rmSync(directory, { recursive: true });
    openSqliteStore(directory).close();
    writeFileSync(join(directory, "controller.db"), "not a database".repeat(1_000));
    expect(openingFails().code).toBe("state_unusable");
  });

  it("refuses a directory that cannot be made", () => {
    store.close();
    writeFileSync(join(directory, "file"), "");
    const inner = join(directory, "file", "state");
    expect(() => openSqliteStore(inner)).toThrow(expect.objectContaining({ code: "state_unusable" }));
  });
});
