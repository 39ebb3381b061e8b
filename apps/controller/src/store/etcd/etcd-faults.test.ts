/** What an etcd does to its controllers: it compacts what one of them has missed, and takes leases away. */
import { pino } from "pino";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { WatchHub } from "../../services/watch.js";
import { NodePresenceKeeper } from "../../sync/presence.js";
import { TestEtcd } from "../../testing/etcd.js";
import { eventually } from "../../testing/operations.js";
import { Relay } from "../../testing/relay.js";
import { insertEndpoint, NETWORK, NODE } from "../../testing/stored.js";
import type { Commit, Store } from "../store.js";
import { EtcdClient } from "./etcd-client.js";
import { openEtcdStore } from "./etcd-store.js";

const NOBODY = { isConnected: () => false, syncError: () => "" };

let etcd: TestEtcd;
let client: EtcdClient;
let relay: Relay;
/** Behind the relay. */
let far: Store;
let near: Store;

beforeAll(async () => {
  etcd = await TestEtcd.start();
  client = new EtcdClient(etcd.hosts);
}, 60_000);

afterAll(async () => {
  client.close();
  await etcd.remove();
}, 60_000);

beforeEach(async () => {
  relay = await Relay.start(etcd.hosts[0] ?? "");
  near = await openEtcdStore(etcd.hosts);
  far = await openEtcdStore([relay.address]);
  await near.transaction((tx) => tx.putNode(NODE));
  await near.transaction((tx) => tx.insertNetwork(NETWORK));
  for (const [name, address] of [
    ["stays", "10.32.0.1"],
    ["goes", "10.32.0.2"],
    ["moves", "10.32.0.3"],
  ] as const) {
    await near.transaction((tx) => insertEndpoint(tx, name, address));
  }
  await eventually("both know it", () => far.revision >= near.revision);
}, 60_000);

afterEach(async () => {
  relay.restore();
  await Promise.all([near.close(), far.close()]);
  await relay.close();
  await client.kv.deleteRange({ key: Buffer.from("/slimfast/"), range_end: Buffer.from("/slimfast0") });
}, 60_000);

describe("a controller that was cut off while etcd compacted", { timeout: 60_000 }, () => {
  it("reads everything again, tells the difference, and lets watches begin anew", async () => {
    const before = far.revision;
    const commits: Commit[] = [];
    far.onCommit((commit) => commits.push(commit));
    const stays = far.getEndpoint("blue", "stays");
    relay.cut();
    await near.transaction((tx) => tx.deleteEndpoint({ network: "blue", name: "goes" }));
    await near.transaction((tx) => tx.deleteEndpoint({ network: "blue", name: "moves" }));
    await near.transaction((tx) => insertEndpoint(tx, "comes", "10.32.0.2"));
    await near.transaction((tx) => insertEndpoint(tx, "moves", "10.32.0.4"));
    await client.kv.compact({ revision: String(near.revision), physical: true });
    expect(far.getEndpoint("blue", "goes")).toBeDefined();
    relay.restore();
    await eventually("it has what came meanwhile", () => far.revision >= near.revision);

    expect(far.listEndpoints({ limit: -1 })).toEqual(near.listEndpoints({ limit: -1 }));
    expect(far.getEndpoint("blue", "stays")).toEqual(stays);
    const changes = commits.flatMap((commit) => commit.changes).filter(({ kind }) => kind === "endpoint");
    const kinds = changes.map(({ key, before: was, after }) =>
      `${key} ${was ? "was" : ""} ${after ? "is" : ""}`.trim(),
    );
    expect(kinds.toSorted()).toEqual(["blue/comes  is", "blue/goes was", "blue/moves was is"]);

    expect(far.commitsAfter(before)).toBeUndefined();
    const hub = new WatchHub(far, NOBODY);
    const { signal } = new AbortController();
    const stale = hub.watch({ kinds: [], network: "", revision: before }, signal).next();
    await expect(stale).rejects.toMatchObject({
      code: "out_of_range",
      details: { reason: { reason: "REVISION_EXPIRED" } },
    });
    hub.close();
    // It can be written through as before.
    await far.transaction((tx) => insertEndpoint(tx, "after", "10.32.0.9"));
    await eventually("the other knows it", () => near.getEndpoint("blue", "after") !== undefined);
  });
});

describe("a controller whose lease is gone", { timeout: 60_000 }, () => {
  it("takes another, and says again which nodes it has", async () => {
    const presence = new NodePresenceKeeper(far, pino({ level: "silent" }));
    presence.claim("node-1");
    await eventually("the other knows it", () => near.get("presence", "node-1") !== undefined);
    const seen: boolean[] = [];
    near.onCommit(({ changes }) => {
      for (const { kind, after } of changes) if (kind === "presence") seen.push(after !== undefined);
    });
    const { kvs } = await client.kv.range({ key: Buffer.from("/slimfast/"), range_end: Buffer.from("/slimfast0") });
    const leases = new Set(kvs.filter(({ key }) => key.includes("presence")).map(({ lease }) => lease));
    expect(leases.size).toBe(1);
    for (const ID of leases) await client.lease.leaseRevoke({ ID });
    await eventually("it went and came back", () => seen.length >= 2);
    expect(seen).toEqual([false, true]);
    expect(near.get("presence", "node-1")?.controller).toBe(far.controllerId);
    presence.close();
  });
});
