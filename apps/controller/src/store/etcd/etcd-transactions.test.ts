/** Transactions of more than etcd takes at a time, on a real etcd: whole or not at all, beside others, over kills. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { TestEtcd } from "../../testing/etcd.js";
import { eventually } from "../../testing/operations.js";
import { insertEndpoint, NETWORK, NODE } from "../../testing/stored.js";
import type { Commit, Store, StoreTransaction } from "../store.js";
import { nested } from "./etcd-batch.js";
import { EtcdClient } from "./etcd-client.js";
import { openEtcdStore } from "./etcd-store.js";

const STORE = new URL("../../../dist/store/etcd/etcd-store.js", import.meta.url).href;
/** With their claims more than 1,600 keys: three levels of transactions. */
const MANY = 500;
const GROUP = 700;
const KILLS = 3;
const NO_NODE = "there is no such node";

/** Makes groups of documents, each in one transaction, and deletes them so, and says what was acknowledged. */
const WRITER = `
import { writeSync } from "node:fs";
const { openEtcdStore } = await import(process.argv[1]);
const store = await openEtcdStore([process.argv[2]]);
const names = (group) => Array.from({ length: ${GROUP} }, (_, index) => "group-" + group + "/" + index);
for (let group = Number(process.argv[3]); ; group += 1) {
  await store.transaction((tx) => names(group).forEach((name) => tx.put("counter", { name, next: 1 })));
  writeSync(1, "made " + group + "\\n");
  if (group % 2 === 0) continue;
  await store.transaction((tx) => names(group - 1).forEach((name) => tx.delete("counter", name)));
  writeSync(1, "deleted " + (group - 1) + "\\n");
}
`;

let etcd: TestEtcd;
let near: Store;
let far: Store;

beforeAll(async () => {
  etcd = await TestEtcd.start();
}, 60_000);

afterAll(() => etcd?.remove(), 60_000);

beforeEach(async () => {
  near = await openEtcdStore(etcd.hosts);
  far = await openEtcdStore(etcd.hosts);
}, 60_000);

afterEach(async () => {
  await Promise.all([near.close(), far.close()]);
  const client = new EtcdClient(etcd.hosts);
  await client.kv.deleteRange({ key: Buffer.from("/slimfast/"), range_end: Buffer.from("/slimfast0") });
  client.close();
}, 60_000);

async function fill(): Promise<void> {
  await near.transaction((tx) => tx.putNode(NODE));
  await near.transaction((tx) => tx.insertNetwork(NETWORK));
  const names = Array.from(
    { length: MANY },
    (_, index) => [`ep-${index}`, `10.32.${index >> 8}.${index & 255}`] as const,
  );
  await Promise.all(names.map(([name, address]) => near.transaction((tx) => insertEndpoint(tx, name, address))));
  await eventually("the other knows them", () => far.count("endpoint") === MANY);
}

function deleteWithEndpoints(tx: StoreTransaction): void {
  for (const endpoint of tx.listEndpoints({ node: NODE.name, limit: -1 })) tx.deleteEndpoint(endpoint);
  tx.deleteNode(NODE.name);
}

const ofNodesAndEndpoints = ({ changes }: Commit) =>
  changes.filter(({ kind, after }) => (kind === "node" || kind === "endpoint") && !after).length;

describe("a transaction of more keys than etcd takes", { timeout: 120_000 }, () => {
  it("is one change at one revision, here and at every other controller", async () => {
    await fill();
    const heard: Commit[][] = [[], []];
    [near, far].forEach((store, index) => {
      store.onCommit((commit) => heard[index]?.push(commit));
    });
    await near.transaction(deleteWithEndpoints);
    await eventually("the other knows it", () => far.count("node") === 0);
    for (const commits of heard) expect(commits.map(ofNodesAndEndpoints)).toEqual([MANY + 1]);
    expect(heard[0]?.[0]?.revision).toBe(heard[1]?.[0]?.revision);
    for (const store of [near, far]) expect(store.count("endpoint")).toBe(0);
  });

  it("is made from what is so when it is applied, whatever others change meanwhile", async () => {
    await fill();
    const refused: string[] = [];
    let inserted = 0;
    let isDeleted = false;
    const inserting = (async () => {
      for (let number = 0; !isDeleted || number === 0; number += 1) {
        const insert = (tx: StoreTransaction) => {
          if (!tx.getNode(NODE.name)) throw new Error(NO_NODE);
          insertEndpoint(tx, `late-${number}`, `10.32.${100 + (number >> 8)}.${number & 255}`);
        };
        await far.transaction(insert).then(
          () => (inserted += 1),
          (error: Error) => refused.push(error.message),
        );
      }
    })();
    await eventually("others are at it", () => inserted > 3);
    await near.transaction(deleteWithEndpoints).finally(() => {
      isDeleted = true;
    });
    await inserting;
    await eventually("both know the same", () => near.revision === far.revision);
    for (const store of [near, far]) expect([store.count("node"), store.count("endpoint")]).toEqual([0, 0]);
    expect(new Set([...refused, NO_NODE])).toEqual(new Set([NO_NODE]));
  });

  it("that reads more than etcd compares loses no update", async () => {
    await near.transaction((tx) => {
      for (let index = 0; index < 300; index += 1) tx.put("counter", { name: `read-${index}`, next: 1 });
      tx.put("counter", { name: "total", next: 0 });
    });
    await eventually("the other knows them", () => far.get("counter", "total") !== undefined);
    const increment = (tx: StoreTransaction) => {
      for (let index = 0; index < 300; index += 1) tx.get("counter", `read-${index}`);
      tx.put("counter", { name: "total", next: (tx.get("counter", "total")?.next ?? 0) + 1 });
    };
    const each = async (store: Store) => {
      for (let round = 0; round < 20; round += 1) await store.transaction(increment);
    };
    await Promise.all([each(near), each(far)]);
    expect(Math.max(near.get("counter", "total")?.next ?? 0, far.get("counter", "total")?.next ?? 0)).toBe(40);
  });

  it("is there whole or not at all when its controller is killed in the midst of it", async () => {
    const made = new Set<number>();
    const deleted = new Set<number>();
    let group = 0;
    for (let round = 0; round < KILLS; round += 1) {
      const options = ["--input-type=module", "-e", WRITER, STORE, etcd.hosts[0] ?? "", String(group)];
      const child = spawn(process.execPath, options, { stdio: ["ignore", "pipe", "inherit"] });
      const exit = once(child, "exit");
      let said = 0;
      for await (const line of createInterface(child.stdout)) {
        const [what, number] = line.split(" ");
        (what === "made" ? made : deleted).add(Number(number));
        said += 1;
        // At another moment of the next transaction in each round.
        if (said === 3) setTimeout(() => child.kill("SIGKILL"), round * 9);
      }
      expect((await exit)[1]).toBe("SIGKILL");
      group = Math.max(...made) + 3 - (Math.max(...made) % 2);
    }
    const reader = await openEtcdStore(etcd.hosts);
    const counts = new Map<string, number>();
    for (const { name } of reader.list("counter", { limit: -1, prefix: "group-" })) {
      const of = name.slice(0, name.indexOf("/"));
      counts.set(of, (counts.get(of) ?? 0) + 1);
    }
    await reader.close();
    expect(new Set(counts.values())).toEqual(new Set([GROUP]));
    for (const number of made)
      if (!deleted.has(number)) expect(counts.has(`group-${number}`) || number % 2 === 0).toBe(true);
    for (const number of deleted) expect(counts.has(`group-${number}`)).toBe(false);
  });

  it("and of more bytes than it takes is refused with what to do, and nothing of it is made", async () => {
    const tooMuch = near.transaction((tx) => {
      for (let index = 0; index < 200; index += 1) {
        tx.put("policy", { ...POLICY, name: `p-${index}`, description: "x".repeat(20_000) });
      }
    });
    await expect(tooMuch).rejects.toMatchObject({
      code: "failed_precondition",
      message: expect.stringMatching(/touches 200 keys.*nothing was changed; make it in smaller steps/),
    });
    await near.transaction((tx) => tx.put("policy", { ...POLICY, name: "small" }));
    expect(near.list("policy", { limit: -1 }).map(({ name }) => name)).toEqual(["small"]);
  });
});

const POLICY = {
  network: "blue",
  name: "p",
  action: "allow",
  from: [],
  to: [],
  ports: [],
  description: "",
  createTimeMs: 0,
} as const;

describe("an etcd that takes fewer operations than by default", { timeout: 120_000 }, () => {
  it("is named in the refusal", async () => {
    const small = await TestEtcd.start(1, { options: { "--max-txn-ops": "16" } });
    const store = await openEtcdStore(small.hosts);
    try {
      const write = store.transaction((tx) => {
        for (let index = 0; index < 30; index += 1) tx.put("counter", { name: `c-${index}`, next: 1 });
      });
      await expect(write).rejects.toMatchObject({
        code: "failed_precondition",
        message: expect.stringMatching(/too many operations.*--max-txn-ops/),
      });
      expect(store.count("counter")).toBe(0);
    } finally {
      await store.close();
      await small.remove();
    }
  });
});

it("operations inside each other stay below what etcd takes at each level, all of them in their order", () => {
  const put = (index: number) => ({ request_put: { key: Buffer.from(String(index)), value: Buffer.from("") } });
  for (const count of [1, 100, 101, 1_600, 1_601, 60_000]) {
    const all = Array.from({ length: count }, (_, index) => put(index));
    const order: number[] = [];
    const walk = (operations: ReturnType<typeof nested>, room: number): void => {
      expect(operations.length).toBeLessThanOrEqual(room);
      for (const { request_put, request_txn } of operations) {
        if (request_put) order.push(Number(String(request_put.key)));
        else walk(request_txn?.success ?? [], room - operations.length);
      }
    };
    // Beside the mark of the batch.
    walk(nested(all), 127);
    expect(order).toEqual(all.map((_, index) => index));
  }
});
