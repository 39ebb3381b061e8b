import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import SqliteDatabase from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { StartupError } from "../errors.js";
import { insertEndpoint, NETWORK, NODE } from "../testing/stored.js";
import { openSqliteStore } from "./sqlite-store.js";
import type { Change, Store } from "./store.js";

/** What released versions have written, as it was: never edited, only added to. */
const RELEASED = {
  2: {
    tables: `
      CREATE TABLE store (only INTEGER PRIMARY KEY CHECK (only = 1), id TEXT NOT NULL, revision INTEGER NOT NULL) STRICT;
      CREATE TABLE documents (
        kind TEXT NOT NULL, key TEXT NOT NULL, value TEXT NOT NULL, revision INTEGER NOT NULL, lease TEXT,
        PRIMARY KEY (kind, key)
      ) STRICT, WITHOUT ROWID;
      INSERT INTO store VALUES (1, 'a store', 7);
    `,
    rows: [
      { kind: "node", value: NODE, revision: 5 },
      { kind: "network", value: NETWORK, revision: 7 },
      { kind: "counter", value: { name: "endpoint-id/00000007", next: 3 }, revision: 7 },
    ],
  },
} as const;

let directory: string;
let store: Store;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-store-test-"));
  store = openSqliteStore(directory);
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function fill(): Promise<void> {
  await store.transaction((tx) => tx.putNode(NODE));
  await store.transaction((tx) => tx.insertNetwork(NETWORK));
  await store.transaction((tx) => insertEndpoint(tx, "web", "10.32.0.1"));
}

async function openingFails(): Promise<StartupError> {
  try {
    await openSqliteStore(directory).close();
  } catch (error) {
    if (error instanceof StartupError) return error;
    throw error;
  }
  throw new Error("the store was opened");
}

describe("transactions", () => {
  it("give each change a greater revision, and all changes of one the same", async () => {
    const before = store.revision;
    const node = await store.transaction((tx) => tx.putNode(NODE));
    expect(node.revision).toBe(before + 1n);
    const [network, endpoint] = await store.transaction((tx) => [
      tx.insertNetwork(NETWORK),
      insertEndpoint(tx, "web", "10.32.0.1"),
    ]);
    expect([network.revision, endpoint.revision]).toEqual([before + 2n, before + 2n]);
    expect(store.revision).toBe(before + 2n);
    await store.transaction((tx) => tx.deleteEndpoint(endpoint));
    expect(store.revision).toBe(before + 3n);
  });

  it("leave nothing behind when they throw, and tell nobody", async () => {
    const before = store.revision;
    const heard: (readonly Change[])[] = [];
    store.onCommit(({ changes }) => heard.push(changes));
    const refused = store.transaction((tx) => {
      tx.putNode(NODE);
      throw new Error("on second thoughts");
    });
    await expect(refused).rejects.toThrow("on second thoughts");
    expect(store.getNode("node-1")).toBeUndefined();
    expect(store.revision).toBe(before);
    expect(heard).toEqual([]);
  });

  it("that only read change no revision and tell nobody", async () => {
    const before = store.revision;
    const heard: unknown[] = [];
    store.onCommit((changes) => heard.push(changes));
    await store.transaction((tx) => tx.getNode("node-1"));
    expect([store.revision, heard]).toEqual([before, []]);
  });

  it("tell what they changed", async () => {
    const heard: Change[] = [];
    const stop = store.onCommit(({ changes }) => heard.push(...changes));
    await fill();
    stop();
    await store.transaction((tx) => tx.putNode({ ...NODE, name: "node-2", underlayAddress: "10.200.0.2" }));
    expect(heard.map(({ kind, key }) => `${kind} ${key}`)).toEqual([
      "node node-1",
      "reservation node-1/7100",
      "counter endpoint-id/00000007",
      "network blue",
      "counter endpoint-id/00000007",
      "endpoint blue/web",
      "reservation node-1/8080",
    ]);
    expect(heard[5]).toMatchObject({ after: { address: "10.32.0.1", revision: store.revision - 1n } });
    expect(heard[5]?.before).toBeUndefined();
  });
});

describe("a restart", () => {
  it("keeps everything", async () => {
    await fill();
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
    await store.close();
    store = openSqliteStore(directory);
    expect(read()).toEqual(before);
  });

  it("does not give out an endpoint id again, nor does another network with the same VNI", async () => {
    await fill();
    const endpoint = store.getEndpoint("blue", "web");
    if (!endpoint) throw new Error("no endpoint");
    await store.transaction((tx) => tx.deleteEndpoint(endpoint));
    await store.transaction((tx) => tx.deleteNetwork("blue"));
    await store.close();
    store = openSqliteStore(directory);
    await store.transaction((tx) => tx.insertNetwork({ ...NETWORK, name: "red" }));
    expect(await store.transaction((tx) => tx.takeEndpointId(7))).toBe(2);
  });
});

describe("a fresh store", () => {
  it("continues no revision of another one", async () => {
    await fill();
    const old = store.revision;
    await store.close();
    rmSync(directory, { recursive: true });
    store = openSqliteStore(directory);
    expect(store.revision).toBeGreaterThan(old);
  });
});

describe("lists", () => {
  beforeEach(async () => {
    await fill();
    await store.transaction((tx) => {
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

  it("are ordered, limited, continued and filtered", async () => {
    expect(names({ limit: -1 })).toEqual(["blue/cache", "blue/web", "red/app"]);
    expect(names({ limit: 2 })).toEqual(["blue/cache", "blue/web"]);
    expect(names({ limit: 2, after: { network: "blue", name: "web" } })).toEqual(["red/app"]);
    expect(names({ limit: -1, network: "blue" })).toEqual(["blue/cache", "blue/web"]);
    expect(names({ limit: -1, network: "blue", after: { network: "blue", name: "cache" } })).toEqual(["blue/web"]);
    expect(names({ limit: -1, node: "node-2" })).toEqual(["red/app"]);
    expect(names({ limit: -1, node: "node-2", network: "blue" })).toEqual([]);
    expect(names({ limit: -1, node: "node-1", network: "blue" })).toEqual(["blue/cache", "blue/web"]);
  });

  it("know addresses and presence", async () => {
    expect([...store.addressesFrom("blue", { family: 4, value: 0n })]).toEqual([0x0a200001n, 0x0a200009n]);
    expect([...store.addressesFrom("blue", { family: 4, value: 0x0a200002n })]).toEqual([0x0a200009n]);
    expect(store.networksOfNode("node-1")).toEqual(["blue"]);
    expect(store.nodesOfNetwork("red")).toEqual(["node-2"]);
    expect([store.hasEndpoints("red"), store.hasEndpoints("red", "node-1")]).toEqual([true, false]);
  });
});

describe("opening", () => {
  it("refuses a state directory that is in use", async () => {
    const error = await openingFails();
    expect(error.code).toBe("state_locked");
    expect(error.message).toContain(directory);
  });

  it("takes over what controllers of each released version have written", async () => {
    await store.close();
    for (const [version, { tables, rows }] of Object.entries(RELEASED)) {
      rmSync(directory, { recursive: true });
      mkdirSync(directory);
      const database = new SqliteDatabase(join(directory, "controller.db"));
      database.exec(tables);
      for (const { kind, value, revision } of rows) {
        const insert = database.prepare("INSERT INTO documents VALUES (?, ?, ?, ?, NULL)");
        insert.run(kind, value.name, JSON.stringify(value), revision);
      }
      database.pragma(`user_version = ${version}`);
      database.close();
      store = openSqliteStore(directory);
      expect([store.storeId, store.revision]).toEqual(["a store", 7n]);
      expect(store.getNode("node-1")).toEqual({ ...NODE, revision: 5n });
      expect(store.getNetworkByVni(7)).toMatchObject({ name: "blue", revision: 7n });
      expect((await store.transaction((tx) => insertEndpoint(tx, "web", "10.32.0.1"))).revision).toBe(8n);
      await store.close();
    }
  });

  it("refuses tables of a newer version", async () => {
    await store.close();
    const database = new SqliteDatabase(join(directory, "controller.db"));
    database.pragma("user_version = 999");
    database.close();
    expect(await openingFails()).toMatchObject({ code: "state_unusable", message: expect.stringContaining("newer") });
  });

  it("refuses a file that is no database", async () => {
    await store.close();
    rmSync(directory, { recursive: true });
    await openSqliteStore(directory).close();
    writeFileSync(join(directory, "controller.db"), "not a database".repeat(1_000));
    expect((await openingFails()).code).toBe("state_unusable");
  });

  it("refuses a directory that cannot be made", async () => {
    await store.close();
    writeFileSync(join(directory, "file"), "");
    const inner = join(directory, "file", "state");
    expect(() => openSqliteStore(inner)).toThrow(expect.objectContaining({ code: "state_unusable" }));
  });
});
