/** What every store must do, tried on SQLite and on a real etcd. */
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestEtcd } from "../testing/etcd.js";
import { insertEndpoint, NETWORK, NODE } from "../testing/stored.js";
import { EtcdClient } from "./etcd/etcd-client.js";
import { openEtcdStore } from "./etcd/etcd-store.js";
import { openSqliteStore } from "./sqlite-store.js";
import type { Change, Store, StoreTransaction } from "./store.js";

const RESERVATION = {
  node: "node-1",
  ports: { first: 9_000, count: 10 },
  purpose: "static",
  owner: "reservation/db",
  name: "db",
  description: "",
  createTimeMs: 0,
} as const;

interface Backend {
  readonly name: string;
  start(): Promise<void>;
  open(): Promise<Store>;
  /** Makes the store another, empty one. */
  reset(): Promise<void>;
  stop(): Promise<void>;
}

class SqliteBackend implements Backend {
  readonly name = "sqlite";
  #directory = "";

  async start(): Promise<void> {
    this.#directory = await mkdtemp(join(tmpdir(), "slimfast-store-test-"));
  }

  open(): Promise<Store> {
    return Promise.resolve(openSqliteStore(this.#directory));
  }

  async reset(): Promise<void> {
    await rm(this.#directory, { recursive: true, force: true });
  }

  stop(): Promise<void> {
    return this.reset();
  }
}

class EtcdBackend implements Backend {
  readonly name = "etcd";
  #etcd: TestEtcd | undefined;

  get hosts(): string[] {
    return this.#etcd?.hosts ?? [];
  }

  async start(): Promise<void> {
    this.#etcd = await TestEtcd.start();
  }

  open(): Promise<Store> {
    return openEtcdStore(this.hosts);
  }

  async reset(): Promise<void> {
    const client = new EtcdClient(this.hosts);
    await client.kv.deleteRange({ key: Buffer.from("/slimfast/"), range_end: Buffer.from("/slimfast0") });
    client.close();
  }

  async stop(): Promise<void> {
    await this.#etcd?.remove();
  }
}

describe.each([new SqliteBackend(), new EtcdBackend()])("a store in $name", { timeout: 60_000 }, (backend) => {
  let store: Store;

  beforeAll(() => backend.start(), 60_000);
  afterAll(() => backend.stop(), 60_000);
  beforeEach(async () => {
    store = await backend.open();
  }, 60_000);
  afterEach(async () => {
    await store.close();
    await backend.reset();
  }, 60_000);

  async function reopen(): Promise<void> {
    await store.close();
    store = await backend.open();
  }

  async function fill(): Promise<void> {
    await store.transaction((tx) => tx.putNode(NODE));
    await store.transaction((tx) => tx.insertNetwork(NETWORK));
    await store.transaction((tx) => insertEndpoint(tx, "web", "10.32.0.1"));
  }

  it("gives each change a greater revision, and all changes of one transaction the same", async () => {
    const before = store.revision;
    const node = await store.transaction((tx) => tx.putNode(NODE));
    expect(node.revision).toBeGreaterThan(before);
    expect(store.revision).toBe(node.revision);
    expect(store.getNode("node-1")).toEqual(node);
    const [network, endpoint] = await store.transaction((tx) => [
      tx.insertNetwork(NETWORK),
      tx.put("policy", {
        name: "p",
        network: "blue",
        action: "deny",
        from: [],
        to: [],
        ports: [],
        description: "",
        createTimeMs: 0,
      }),
    ]);
    expect(network.revision).toBe(endpoint.revision);
    expect(network.revision).toBeGreaterThan(node.revision);
    expect(store.getPolicy("blue", "p")).toEqual(endpoint);
  });

  it("keeps nothing of what throws, and tells nobody", async () => {
    const before = store.revision;
    const heard: unknown[] = [];
    store.onCommit((commit) => heard.push(commit));
    const refused = store.transaction((tx) => {
      tx.putNode(NODE);
      throw new Error("on second thoughts");
    });
    await expect(refused).rejects.toThrow("on second thoughts");
    expect([store.getNode("node-1"), store.revision, heard]).toEqual([undefined, before, []]);
  });

  it("answers what only reads without a change", async () => {
    const before = store.revision;
    expect(await store.transaction((tx) => tx.listNodes({ limit: -1 }))).toEqual([]);
    expect(store.revision).toBe(before);
  });

  it("tells changes with what was before and after, and keeps them for those who were away", async () => {
    const heard: Change[] = [];
    const stop = store.onCommit(({ changes }) => heard.push(...changes));
    const node = await store.transaction((tx) => tx.putNode(NODE));
    const moved = await store.transaction((tx) => tx.putNode({ ...NODE, state: "draining" }));
    await store.transaction((tx) => tx.deleteNode("node-1"));
    stop();
    expect(heard.filter(({ kind }) => kind === "node")).toEqual([
      { kind: "node", key: "node-1", after: node },
      { kind: "node", key: "node-1", before: node, after: moved },
      { kind: "node", key: "node-1", before: moved },
    ]);
    const missed = store.commitsAfter(node.revision);
    expect(missed?.flatMap(({ changes }) => changes).filter(({ kind }) => kind === "node")).toHaveLength(2);
    expect(store.commitsAfter(store.revision)).toEqual([]);
    expect(store.commitsAfter(node.revision - 1_000_000n)).toBeUndefined();
    expect(store.commitsAfter(store.revision + 1n)).toBeUndefined();
  });

  it("gives what must be unique to one document at a time", async () => {
    await fill();
    const taken = store.transaction((tx) => insertEndpoint(tx, "other", "10.32.0.1"));
    await expect(taken).rejects.toMatchObject({ code: "already_exists" });
    expect(store.getEndpoint("blue", "other")).toBeUndefined();
    await store.transaction((tx) => {
      tx.deleteEndpoint({ network: "blue", name: "web" });
      insertEndpoint(tx, "other", "10.32.0.1");
    });
    expect(store.getEndpointByAddress("blue", { family: 4, value: 0x0a200001n })?.name).toBe("other");
    const both = [
      store.transaction((tx) => tx.deleteEndpoint({ network: "blue", name: "other" })),
      store.transaction((tx) => insertEndpoint(tx, "third", "10.32.0.1")),
    ];
    await Promise.all(both);
    expect(store.getEndpointByAddress("blue", { family: 4, value: 0x0a200001n })?.name).toBe("third");
  });

  it("gives an IPv6 address and an IPv6 subnet to one at a time, and lists both families apart", async () => {
    await fill();
    const insert = (tx: StoreTransaction, name: string, address: string, address6: string) => {
      const rest = { node: "node-1", vni: 7, publishedPorts: [], labels: {}, createTimeMs: 0 };
      return tx.insertEndpoint({ network: "blue", name, id: tx.takeEndpointId(7), address, address6, ...rest });
    };
    await store.transaction((tx) => {
      insert(tx, "both", "10.32.0.2", "fd00:32::a");
      // Without an address of the other family nothing is claimed there.
      insert(tx, "six", "", "fd00:32::2");
      insert(tx, "six-too", "", "fd00:32::1:0");
      tx.put("subnet", { network: "blue", node: "node-1", prefix: "", prefix6: "fd00:32::/80" });
    });
    const six = { family: 6, value: (0xfd00_0032n << 96n) | 0xan } as const;
    for (const reopened of [false, true]) {
      if (reopened) await reopen();
      expect(store.getEndpointByAddress("blue", six)?.name).toBe("both");
      expect(store.getEndpointByAddress("blue", { ...six, value: 0xan })).toBeUndefined();
      expect([...store.addressesFrom("blue", six)]).toEqual([six.value, (0xfd00_0032n << 96n) | 0x1_0000n]);
      expect([...store.addressesFrom("blue", { family: 4, value: 0n })]).toEqual([0x0a200001n, 0x0a200002n]);
      const taken = store.transaction((tx) => insert(tx, "other", "10.32.0.3", "fd00:32::a"));
      await expect(taken).rejects.toMatchObject({ code: "already_exists" });
      const subnet = { network: "blue", node: "node-2", prefix: "", prefix6: "fd00:32::/80" };
      await expect(store.transaction((tx) => tx.put("subnet", subnet))).rejects.toMatchObject({
        code: "already_exists",
      });
    }
    await store.transaction((tx) => {
      tx.deleteEndpoint({ network: "blue", name: "both" });
      insert(tx, "other", "10.32.0.3", "fd00:32::a");
    });
    expect(store.getEndpointByAddress("blue", six)?.name).toBe("other");
  });

  it("runs transactions that are asked for at the same time one after the other", async () => {
    const increment = (tx: StoreTransaction) => {
      const next = (tx.get("counter", "test")?.next ?? 0) + 1;
      tx.put("counter", { name: "test", next });
      return next;
    };
    const results = await Promise.all(Array.from({ length: 300 }, () => store.transaction(increment)));
    expect(new Set(results).size).toBe(300);
    expect(store.get("counter", "test")?.next).toBe(300);
  });

  it("keeps everything over a restart, and gives out no endpoint id again", async () => {
    await fill();
    await store.transaction((tx) => tx.put("reservation", RESERVATION));
    const read = () => ({
      storeId: store.storeId,
      nodes: store.listNodes({ limit: -1 }),
      networks: store.listNetworks({ limit: -1 }),
      endpoints: store.listEndpoints({ limit: -1 }),
      reservations: store.listReservations({ limit: -1 }),
      vnis: [...store.vnisEverUsed()],
    });
    const before = read();
    expect(before.reservations.map(({ owner }) => owner)).toEqual([
      "node/node-1",
      "endpoint/blue/web",
      "reservation/db",
    ]);
    await reopen();
    expect(read()).toEqual(before);
    const given = store.getEndpoint("blue", "web")?.id ?? 0;
    await store.transaction((tx) => tx.deleteEndpoint({ network: "blue", name: "web" }));
    await store.transaction((tx) => tx.deleteNetwork("blue"));
    await reopen();
    await store.transaction((tx) => tx.insertNetwork({ ...NETWORK, name: "red" }));
    expect(await store.transaction((tx) => tx.takeEndpointId(7))).toBeGreaterThan(given);
  });

  it("lists in order, limited, continued and filtered", async () => {
    await fill();
    await store.transaction((tx) => {
      tx.putNode({ ...NODE, name: "node-2", underlayAddress: "10.200.0.2" });
      tx.insertNetwork({ ...NETWORK, name: "blue-2", vni: 8 });
      insertEndpoint(tx, "cache", "10.32.0.9");
      const rest = { vni: 8, id: 1, address: "10.32.0.1", publishedPorts: [], labels: {}, createTimeMs: 0 };
      tx.insertEndpoint({ network: "blue-2", name: "app", node: "node-2", ...rest });
    });
    const names = (page: Parameters<Store["listEndpoints"]>[0]) =>
      store.listEndpoints(page).map(({ network, name }) => `${network}/${name}`);
    expect(names({ limit: -1 })).toEqual(["blue/cache", "blue/web", "blue-2/app"]);
    expect(names({ limit: 1, after: { network: "blue", name: "cache" } })).toEqual(["blue/web"]);
    expect(names({ limit: -1, network: "blue" })).toEqual(["blue/cache", "blue/web"]);
    expect(names({ limit: -1, node: "node-2" })).toEqual(["blue-2/app"]);
    expect(names({ limit: -1, node: "node-2", network: "blue" })).toEqual([]);
    expect([...store.addressesFrom("blue", { family: 4, value: 0x0a200002n })]).toEqual([0x0a200009n]);
    expect([store.networksOfNode("node-1"), store.nodesOfNetwork("blue-2")]).toEqual([["blue"], ["node-2"]]);
    expect([store.hasEndpoints("blue-2"), store.hasEndpoints("blue-2", "node-1")]).toEqual([true, false]);
  });

  it("ends a document whose lease is over, and no other", async () => {
    await store.transaction((tx) => tx.putNode(NODE));
    const gone = new Promise<Change>((resolve) => {
      store.onCommit(({ changes }) => {
        for (const change of changes) if (change.kind === "reservation" && !change.after) resolve(change);
      });
    });
    await store.transaction((tx) => {
      tx.put("reservation", RESERVATION, { leaseMs: 2_000 });
      const other = { ...RESERVATION, ports: { first: 9_100, count: 1 } };
      tx.put("reservation", { ...other, name: "kept" }, { leaseMs: 2_000 });
      tx.put("reservation", { ...other, name: "for-ever" });
    });
    await store.transaction((tx) => tx.put("reservation", { ...RESERVATION, name: "kept" }, { leaseMs: 0 }));
    expect(await gone).toMatchObject({ key: "db" });
    expect(store.list("reservation", { limit: -1 }).map(({ name }) => name)).toEqual(["for-ever", "kept"]);
  });

  it("deletes a node with more endpoints than fit into one step", async () => {
    await store.transaction((tx) => tx.putNode(NODE));
    await store.transaction((tx) => tx.insertNetwork(NETWORK));
    const names = Array.from({ length: 120 }, (_, index) => `ep-${index}`);
    await Promise.all(
      names.map((name, index) => store.transaction((tx) => insertEndpoint(tx, name, `10.32.1.${index}`))),
    );
    await store.transaction((tx) => {
      for (const endpoint of tx.listEndpoints({ node: "node-1", limit: -1 })) tx.deleteEndpoint(endpoint);
      tx.deleteNode("node-1");
    });
    expect([store.count("endpoint"), store.count("node")]).toEqual([0, 0]);
  });

  it("refuses transactions once it is closed", async () => {
    await store.close();
    await expect(store.transaction(() => 1)).rejects.toMatchObject({ code: "unavailable" });
    await store.close();
  });
});
