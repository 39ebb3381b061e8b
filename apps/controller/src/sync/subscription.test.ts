/** The state of one stream, without a server: chunks, and any sequence of changes. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { PolicyAction, ResourceKind, type SyncResponse } from "@slimfast/proto";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ClusterError } from "../errors.js";
import { Cluster } from "../services/cluster.js";
import { openSqliteStore } from "../store/sqlite-store.js";
import type { Store } from "../store/store.js";
import { SEEDS, seededRandom } from "../testing/random.js";
import { SyncKeys } from "./keys.js";
import { SyncMessages } from "./messages.js";
import { NetworkContents } from "./network-contents.js";
import { NodeAddressBook } from "./node-addresses.js";
import { Subscription } from "./subscription.js";

let directory: string;
let store: Store;
let cluster: Cluster;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-sync-test-"));
  store = openSqliteStore(directory);
  cluster = new Cluster(store, { isConnected: () => false, syncError: () => "" });
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

async function register(number: number): Promise<void> {
  await cluster.registerNode({
    name: `node-${number}`,
    underlayAddress: `10.200.0.${number}`,
    frontPorts: { first: 7_100, count: 16 },
  });
}

async function create(network: string, name: string, node: string): Promise<void> {
  await cluster.createEndpoint({ network, name, node, address: "", publishedPorts: [], labels: {} });
}

function subscribe(node: string, maxResources?: number, book?: NodeAddressBook): Subscription {
  const keys = new SyncKeys();
  const contents = new NetworkContents(store, keys);
  const options = {
    node,
    store,
    storeId: store.storeId,
    keys,
    contents,
    messages: new SyncMessages(() => false),
    known: [],
    knownStoreId: "",
    allAddresses: book && (() => book.all()),
  };
  const subscription = new Subscription(maxResources === undefined ? options : { ...options, maxResources });
  store.onCommit(({ changes }) => {
    contents.noteChanges(changes);
    subscription.noteChanges(changes);
  });
  return subscription;
}

async function setEgress(network: string, egress: string[]): Promise<void> {
  await store.transaction((tx) => {
    const present = tx.getNetwork(network);
    if (present) tx.put("network", { ...present, egress });
  });
}

function apply(held: Map<string, bigint>, response: SyncResponse): void {
  for (const { name, revision } of response.nodes) held.set(`NODE ${name}`, revision);
  for (const { name, revision } of response.networks) held.set(`NETWORK ${name}`, revision);
  for (const { network, name, revision } of response.endpoints) held.set(`ENDPOINT ${network}/${name}`, revision);
  for (const { kind, name } of response.removed) {
    // Of commits that came together, what came and went may be taken back without having been told.
    held.delete(`${ResourceKind[kind].replace("RESOURCE_KIND_", "")} ${name}`);
  }
}

/** What the node needs, computed from scratch. */
function needed(node: string, ofItsNetworks = false): Map<string, bigint> {
  const result = new Map<string, bigint>();
  const near = new Set([node, ...store.networksOfNode(node).flatMap((network) => store.nodesOfNetwork(network))]);
  for (const { name, revision } of store.listNodes({ limit: -1 })) {
    if (!ofItsNetworks || near.has(name)) result.set(`NODE ${name}`, revision);
  }
  for (const network of store.networksOfNode(node)) {
    result.set(`NETWORK ${network}`, store.getNetwork(network)?.revision ?? 0n);
    for (const { name, revision } of store.listEndpoints({ network, limit: -1 })) {
      result.set(`ENDPOINT ${network}/${name}`, revision);
    }
  }
  return result;
}

function sorted(held: Map<string, bigint>): [string, bigint][] {
  return [...held].toSorted(([one], [other]) => (one < other ? -1 : 1));
}

describe("subscription", () => {
  it.each(SEEDS.slice(0, 15))("ends with exactly what the node needs, whatever happens (seed %i)", async (seed) => {
    const random = seededRandom(seed);
    const networks = ["blue", "red"];
    for (const number of [1, 2, 3]) await register(number);
    for (const name of networks) await cluster.createNetwork({ name, vni: 0, prefix: "10.32.0.0/16" });
    const subscription = subscribe("node-1", 1 + random.below(6));
    const held = new Map<string, bigint>();
    let underWay: SyncResponse | undefined;
    const step = (): void => {
      if (underWay) {
        apply(held, underWay);
        subscription.acknowledge(underWay.nonce, "");
        underWay = undefined;
      } else {
        underWay = subscription.next();
      }
    };
    // Several at once are committed together, and each is noted when the store shows them all.
    const together: Promise<unknown>[] = [];
    const settled = () => Promise.allSettled(together.splice(0));
    for (let count = 0; count < 200; count += 1) {
      const network = random.pick(networks);
      const name = `ep-${random.below(8)}`;
      const choice = random.below(10);
      if (choice < 4) {
        together.push(create(network, name, `node-${1 + random.below(3)}`));
      } else if (choice < 7) {
        together.push(cluster.deleteEndpoint(network, name, 0));
      } else {
        step();
      }
      if (random.below(3) === 0) await settled();
    }
    await settled();
    while (!subscription.isUpToDate()) step();
    expect(sorted(held)).toEqual(sorted(needed("node-1")));
  });

  it.each(SEEDS.slice(0, 15))(
    "tells an agent that reads addresses of the nodes of its networks, and of all addresses where there is egress (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      for (const number of [1, 2, 3, 4]) await register(number);
      for (const name of ["blue", "red"]) await cluster.createNetwork({ name, vni: 0, prefix: "10.32.0.0/16" });
      const book = new NodeAddressBook(store);
      const subscription = subscribe("node-1", 1 + random.below(6), book);
      let isNoted = false;
      store.onCommit(({ changes }) => {
        for (const change of changes) isNoted = book.note(change) || isNoted;
      });
      const held = new Map<string, bigint>();
      const addresses = new Set<number>();
      const tellAddresses = (): void => {
        if (isNoted) subscription.noteAddresses(book.take());
        isNoted = false;
      };
      const step = (): void => {
        const response = subscription.next();
        if (!response) return;
        apply(held, response);
        if (response.nodeAddresses?.isComplete) addresses.clear();
        for (const address of response.nodeAddresses?.added ?? []) addresses.add(address);
        for (const address of response.nodeAddresses?.removed ?? []) addresses.delete(address);
        // No range is there before the addresses that it must not lead to.
        if (response.networks.some(({ egress }) => egress.length > 0)) expect(addresses.size).toBeGreaterThan(0);
        subscription.acknowledge(response.nonce, "");
      };
      const changes = [
        () => create(random.pick(["blue", "red"]), `ep-${random.below(8)}`, `node-${1 + random.below(4)}`),
        () => cluster.deleteEndpoint(random.pick(["blue", "red"]), `ep-${random.below(8)}`, 0),
        () => cluster.deleteNode(`node-${2 + random.below(5)}`),
        () => register(2 + random.below(5)),
        () => setEgress(random.pick(["blue", "red"]), random.below(2) === 0 ? [] : ["192.0.2.0/24"]),
      ];
      for (let count = 0; count < 200; count += 1) {
        await random
          .pick(changes)()
          .catch((error: unknown) => expect(error).toBeInstanceOf(ClusterError));
        if (random.below(3) === 0) step();
        if (random.below(5) === 0) tellAddresses();
      }
      tellAddresses();
      while (!subscription.isUpToDate()) step();
      expect(sorted(held)).toEqual(sorted(needed("node-1", true)));
      const hasEgress = store
        .networksOfNode("node-1")
        .some((name) => (store.getNetwork(name)?.egress?.length ?? 0) > 0);
      expect([...addresses].toSorted()).toEqual(hasEgress ? [...book.all().added].toSorted() : []);
    },
  );

  it("cuts a long answer, and claims the revision only with the last part", async () => {
    await register(1);
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    for (let number = 0; number < 7; number += 1) await create("blue", `ep-${number}`, "node-1");
    const subscription = subscribe("node-1", 4);
    const responses: SyncResponse[] = [];
    for (let response = subscription.next(); response; response = subscription.next()) {
      responses.push(response);
      subscription.acknowledge(response.nonce, "");
    }
    expect(
      responses.map(({ nodes, networks, endpoints, revision }) => [
        nodes.length + networks.length,
        endpoints.length,
        revision,
      ]),
    ).toEqual([
      [2, 2, 0n],
      [0, 4, 0n],
      [0, 1, store.revision],
    ]);
  });

  it("does not count a series as applied of which a part was refused, but does count the next", async () => {
    await register(1);
    await register(2);
    const subscription = subscribe("node-1", 1);
    const first = subscription.next();
    expect(subscription.acknowledge(first?.nonce ?? 0n, "no").isApplied).toBe(false);
    const second = subscription.next();
    expect(subscription.acknowledge(second?.nonce ?? 0n, "")).toEqual({ revision: store.revision, isApplied: false });
    await register(3);
    const third = subscription.next();
    expect(subscription.acknowledge(third?.nonce ?? 0n, "")).toEqual({ revision: store.revision, isApplied: true });
  });

  it("has nothing more to say until something changes that the node needs", async () => {
    await register(1);
    await register(2);
    await cluster.createNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16" });
    const subscription = subscribe("node-1");
    subscription.acknowledge(subscription.next()?.nonce ?? 0n, "");
    await create("blue", "a", "node-2");
    expect(subscription.next()).toBeUndefined();
    expect(subscription.isUpToDate()).toBe(true);
  });

  it("refuses acks that answer nothing", async () => {
    await register(1);
    const subscription = subscribe("node-1");
    expect(() => subscription.acknowledge(1n, "")).toThrow(ClusterError);
    subscription.next();
    expect(() => subscription.acknowledge(2n, "")).toThrow(/nonce 1 is expected/);
  });

  it("carries the policies of the networks that the node needs", async () => {
    await register(1);
    for (const name of ["blue", "red"]) await cluster.createNetwork({ name, vni: 0, prefix: "10.32.0.0/16" });
    const put = (network: string, action: "allow" | "deny") =>
      store.transaction((tx) =>
        tx.put("policy", {
          name: "web",
          network,
          action,
          from: [],
          to: [],
          ports: [],
          description: "",
          createTimeMs: 0,
        }),
      );
    for (const network of ["blue", "red"]) await put(network, "deny");
    const subscription = subscribe("node-1");
    const next = (): SyncResponse => {
      const response = subscription.next();
      if (!response) throw new Error("nothing to say");
      subscription.acknowledge(response.nonce, "");
      return response;
    };
    expect(next().policies).toEqual([]);
    await create("blue", "a", "node-1");
    expect(next().policies).toMatchObject([{ network: "blue", name: "web", action: PolicyAction.POLICY_ACTION_DENY }]);
    await put("red", "allow");
    await put("blue", "allow");
    expect(next().policies).toMatchObject([{ network: "blue", action: PolicyAction.POLICY_ACTION_ALLOW }]);
    await store.transaction((tx) => tx.delete("policy", "blue/web"));
    expect(next().removed).toEqual([{ kind: ResourceKind.RESOURCE_KIND_POLICY, name: "blue/web", revision: 0n }]);
    await put("blue", "deny");
    next();
    await cluster.deleteEndpoint("blue", "a", 0);
    expect(next().removed.map(({ name }) => name)).toEqual(["blue/a", "blue/web", "blue"]);
  });
});
