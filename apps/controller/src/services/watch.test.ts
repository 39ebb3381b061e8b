/** WatchResources over a real socket: whatever happens, a watcher that begins anywhere knows what a list would say. */
import { setMaxListeners } from "node:events";
import { ResourceKind, type WatchResourcesResponse } from "@slimfast/proto";
import { Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { MAX_WATCH_BACKLOG, MAX_WATCHES } from "../limits.js";
import type { Change, Commit, Store } from "../store/store.js";
import { TestAgent } from "../testing/agent.js";
import { refusal, registerNode, type TestClient, TestController } from "../testing/controller.js";
import { SEEDS, seededRandom } from "../testing/random.js";
import { WatchHub } from "./watch.js";

vi.setConfig({ testTimeout: 60_000 });

let controller: TestController;
let client: TestClient;

beforeEach(async () => {
  controller = await TestController.start();
  client = controller.client;
});

afterEach(async () => {
  await controller.remove();
});

/** What one watch said. */
class Watcher {
  readonly held = new Map<string, bigint>();
  readonly revisions: bigint[] = [];
  readonly #abort = new AbortController();
  readonly done: Promise<void>;
  #changed: (() => void) | undefined;

  constructor(request: { revision?: bigint; kinds?: ResourceKind[]; network?: string } = {}) {
    this.done = this.#read(client.cluster.watchResources(request, { signal: this.#abort.signal }));
    this.done.catch(() => {});
  }

  async #read(responses: AsyncIterable<WatchResourcesResponse>): Promise<void> {
    for await (const { revision, changes } of responses) {
      this.revisions.push(revision);
      for (const { kind, name, resource } of changes) {
        const key = `${ResourceKind[kind].replace("RESOURCE_KIND_", "")} ${name}`;
        if (resource) this.held.set(key, resource.value.revision);
        else this.held.delete(key);
      }
      this.#changed?.();
    }
  }

  get revision(): bigint {
    return this.revisions.at(-1) ?? 0n;
  }

  async until(holds: () => boolean): Promise<void> {
    while (!holds()) {
      await Promise.race([
        new Promise<void>((resolve) => {
          this.#changed = resolve;
        }),
        this.done,
      ]);
    }
  }

  async stop(): Promise<void> {
    this.#abort.abort();
    await this.done.catch(() => {});
  }
}

/** What there is, by the lists. */
async function listed(): Promise<Map<string, bigint>> {
  const found = new Map<string, bigint>();
  for (const { name, revision } of (await client.cluster.listNodes({})).nodes) found.set(`NODE ${name}`, revision);
  for (const { name, revision } of (await client.cluster.listNetworks({})).networks) {
    found.set(`NETWORK ${name}`, revision);
  }
  for (const { network, name, revision } of (await client.cluster.listEndpoints({})).endpoints) {
    found.set(`ENDPOINT ${network}/${name}`, revision);
  }
  for (const { network, name, revision } of (await client.cluster.listPolicies({})).policies) {
    found.set(`POLICY ${network}/${name}`, revision);
  }
  for (const { node, ports, name, revision } of (await client.cluster.listPortReservations({})).portReservations) {
    found.set(`PORT_RESERVATION ${name || `${node}/${ports?.first}`}`, revision);
  }
  return found;
}

function sorted(held: ReadonlyMap<string, bigint>): [string, bigint][] {
  return [...held].toSorted(([one], [other]) => (one < other ? -1 : 1));
}

async function changeSomething(random: ReturnType<typeof seededRandom>, step: number): Promise<void> {
  const network = random.pick(["blue", "red"]);
  const name = `x-${random.below(6)}`;
  const call = random.pick([
    () =>
      client.agent.createEndpoint({
        endpoint: {
          network,
          name,
          node: "node-1",
          publishedPorts: [{ hostPort: 9_000 + random.below(9), endpointPort: 1 }],
        },
      }),
    () => client.agent.deleteEndpoint({ network, name }),
    () => client.cluster.updateEndpoint({ endpoint: { network, name, labels: { step: `${step}` } } }),
    () => client.cluster.createPolicy({ policy: { network, name, action: 1, from: [{}], to: [{}] } }),
    () => client.cluster.deletePolicy({ network, name }),
    () => client.cluster.updateNetwork({ network: { name: network, description: `${step}` } }),
    () => client.cluster.updateNode({ node: { name: "node-2", labels: { step: `${step}` } }, updateMask: ["labels"] }),
    () =>
      client.cluster.createPortReservation({
        portReservation: { name, node: "node-2", ports: { first: 0, count: 2 } },
      }),
    () => client.cluster.deletePortReservation({ name }),
  ]);
  await call().catch(() => {});
}

describe("a watch", () => {
  beforeEach(async () => {
    for (const number of [1, 2]) await registerNode(client, number);
    for (const name of ["blue", "red"])
      await client.cluster.createNetwork({ network: { name, prefix: "10.32.0.0/16" } });
  });

  it.each(SEEDS.slice(0, 3))(
    "from the beginning, from a list or from a break ends with what is listed (seed %i)",
    async (seed) => {
      const random = seededRandom(seed);
      const fromNothing = new Watcher();
      const { revision } = await client.cluster.listNetworks({});
      const fromList = new Watcher({ revision });
      for (const [key, value] of await listed()) fromList.held.set(key, value);
      let broken = new Watcher({ revision });
      for (const [key, value] of await listed()) broken.held.set(key, value);
      for (let step = 0; step < 60; step += 1) {
        await changeSomething(random, step);
        if (step % 20 === 10) {
          await broken.stop();
          const next = new Watcher({ revision: broken.revisions.length > 0 ? broken.revision : revision });
          for (const [key, value] of broken.held) next.held.set(key, value);
          next.revisions.push(...broken.revisions);
          broken = next;
        }
      }
      const { network } = await client.cluster.updateNetwork({ network: { name: "blue", description: "last" } });
      const expected = sorted(await listed());
      for (const watcher of [fromNothing, fromList, broken]) {
        await watcher.until(() => watcher.held.get("NETWORK blue") === network?.revision);
        expect(sorted(watcher.held)).toEqual(expected);
        const increments = watcher.revisions.slice(watcher === fromNothing ? 2 : 0);
        expect(increments).toEqual([...new Set(increments)].toSorted((one, other) => (one < other ? -1 : 1)));
        await watcher.stop();
      }
    },
  );

  it("says only what it was asked for", async () => {
    await client.agent.createEndpoint({ endpoint: { name: "web", network: "red", node: "node-1" } });
    const blue = new Watcher({
      network: "blue",
      kinds: [ResourceKind.RESOURCE_KIND_NETWORK, ResourceKind.RESOURCE_KIND_ENDPOINT],
    });
    await blue.until(() => blue.revisions.length === 2);
    expect([...blue.held.keys()]).toEqual(["NETWORK blue"]);
    await client.agent.createEndpoint({ endpoint: { name: "app", network: "red", node: "node-1" } });
    await client.agent.createEndpoint({ endpoint: { name: "app", network: "blue", node: "node-1" } });
    await blue.until(() => blue.held.size === 2);
    expect([...blue.held.keys()]).toEqual(["NETWORK blue", "ENDPOINT blue/app"]);
    await blue.stop();
  });

  it("from a revision that is not kept, or was never reached, is refused with the reason", async () => {
    const { revision } = await client.cluster.listNetworks({});
    for (const wrong of [1n, revision + 1_000n]) {
      const answer = client.cluster.watchResources({ revision: wrong })[Symbol.asyncIterator]().next();
      expect(await refusal(answer)).toMatchObject({ code: Status.OUT_OF_RANGE, reason: "REVISION_EXPIRED" });
    }
  });

  it("of unknown kinds or malformed networks is refused", async () => {
    const first = (request: object) => client.cluster.watchResources(request)[Symbol.asyncIterator]().next();
    expect(await refusal(first({ kinds: [1, 77] }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["kinds[1]"],
    });
    expect(await refusal(first({ kinds: [0] }))).toMatchObject({ fields: ["kinds[0]"] });
    expect(await refusal(first({ network: "Blue" }))).toMatchObject({ fields: ["network"] });
  });

  it("says when a node's agent comes and goes", async () => {
    const seen: boolean[] = [];
    const { revision } = await client.cluster.listNodes({});
    const abort = new AbortController();
    const watching = (async () => {
      const kinds = [ResourceKind.RESOURCE_KIND_NODE];
      for await (const { changes } of client.cluster.watchResources({ revision, kinds }, { signal: abort.signal })) {
        for (const { resource } of changes) if (resource?.$case === "node") seen.push(resource.value.connected);
        if (seen.includes(true) && seen.at(-1) === false) return;
      }
    })();
    const agent = new TestAgent(client, "node-1");
    await agent.holds("NODE node-1", "NODE node-2");
    while (!seen.includes(true)) await new Promise((resolve) => setTimeout(resolve, 10));
    await agent.vanish();
    await watching;
    abort.abort();
  });

  it("ends when the controller does", async () => {
    const watcher = new Watcher();
    await watcher.until(() => watcher.revisions.length >= 2);
    await controller.stop();
    await expect(watcher.done).rejects.toThrow();
    controller = await TestController.start(controller.directory);
    client = controller.client;
  });
});

describe("the watches of a controller", () => {
  /** A store of which only what watches use is there, so that its commits come from the test. */
  function announcer(): { store: Store; announce: (commit: Commit) => void } {
    let listener: ((commit: Commit) => void) | undefined;
    const store = {
      revision: 5n,
      onCommit: (added: (commit: Commit) => void) => {
        listener = added;
        return () => {};
      },
      commitsAfter: () => [],
    } as unknown as Store;
    return { store, announce: (commit) => listener?.(commit) };
  }

  const NOBODY = { isConnected: () => false, syncError: () => "" };
  const request = (revision: bigint) => ({ kinds: [], revision, network: "" });
  const deletions = (count: number): Change[] =>
    Array.from({ length: count }, (_, index) => ({ kind: "policy", key: `blue/${index}` }));

  it("are limited in number, and a place that was left can be taken", async () => {
    const { store } = announcer();
    const hub = new WatchHub(store, NOBODY);
    const abort = new AbortController();
    setMaxListeners(MAX_WATCHES, abort.signal);
    const endings = Array.from({ length: MAX_WATCHES }, () => hub.watch(request(5n), abort.signal).next());
    expect(hub.size).toBe(MAX_WATCHES);
    const late = new AbortController();
    await expect(hub.watch(request(5n), late.signal).next()).rejects.toMatchObject({
      code: "resource_exhausted",
      details: { reason: { reason: "TOO_MANY_WATCHES" } },
    });
    abort.abort();
    await Promise.all(endings);
    expect(hub.size).toBe(0);
    hub.close();
    await expect(hub.watch(request(5n), late.signal).next()).rejects.toMatchObject({ code: "unavailable" });
  });

  it("end one that is too slow, and keep the others", async () => {
    const { store, announce } = announcer();
    const hub = new WatchHub(store, NOBODY);
    const { signal } = new AbortController();
    const slow = hub.watch(request(5n), signal);
    const quick = hub.watch(request(5n), signal);
    const first = [slow.next(), quick.next()];
    announce({ revision: 6n, changes: deletions(1) });
    await Promise.all(first);
    for (let revision = 7n; revision < 12n; revision += 1n) {
      announce({ revision, changes: deletions(MAX_WATCH_BACKLOG / 4) });
      expect((await quick.next()).value?.revision).toBe(revision);
    }
    await expect(slow.next()).rejects.toMatchObject({
      code: "resource_exhausted",
      details: { reason: { reason: "WATCH_TOO_SLOW" } },
    });
    expect(hub.size).toBe(1);
    hub.close();
  });

  it("are not told what they know, and get one response for one commit", async () => {
    const { store, announce } = announcer();
    const hub = new WatchHub(store, NOBODY);
    const watch = hub.watch(request(5n), new AbortController().signal);
    const first = watch.next();
    announce({ revision: 5n, changes: deletions(1) });
    announce({ revision: 6n, changes: deletions(1_500) });
    expect((await first).value).toMatchObject({ revision: 6n, changes: { length: 1_500 } });
    hub.close();
  });
});
