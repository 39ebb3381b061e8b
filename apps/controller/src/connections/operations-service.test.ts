/** OperationsService over real gRPC, with agents that report over real streams, at one controller and at several. */
import * as proto from "@slimfast/proto";
import { Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { accepted, closed, connection, NO_DB, opened, ReportingAgent, refused } from "../testing/connections.js";
import { refusal } from "../testing/controller.js";
import { eventually, introduce, OperationsController } from "../testing/operations.js";
import type { ClusterView, NodeView } from "./cluster-view.js";
import { MAX_RECENT_CONNECTIONS, TAIL_BATCH_EVENTS, TAIL_BUFFER_EVENTS } from "./limits.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000 });

const NODES: NodeView[] = [1, 2, 3, 4].map((number) => ({
  name: `node-${number}`,
  frontPorts: { first: 7_100, count: 2 },
  isConnected: number === 1,
  endpoints: 1,
}));
const ENDPOINTS = new Map([
  ["blue/web", { name: "web", address: "10.32.0.1", address6: "fd00:32::1", labels: { app: "web" }, node: "node-1" }],
  ["blue/db", { name: "db", address: "10.32.0.2", address6: "fd00:32::2", labels: { app: "db" }, node: "node-2" }],
]);
const VIEW: ClusterView = {
  networkCount: 1,
  endpointCount: 2,
  nodes: () => NODES,
  network: (name) => (name === "blue" ? { name, defaultDeny: false } : undefined),
  policies: () => [],
  endpoint: (network, name) => ENDPOINTS.get(`${network}/${name}`),
};

let one: OperationsController;
let two: OperationsController;
const cleanups: (() => Promise<unknown>)[] = [];

beforeEach(async () => {
  one = await OperationsController.start(VIEW);
  two = await OperationsController.start(VIEW);
  introduce(one, two);
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
  await one.close();
  await two.close();
});

function agentOf(
  controller: OperationsController,
  node: string,
  ...rest: [snapshot?: proto.Connection[], onCut?: (cookie: bigint, agent: ReportingAgent) => void]
): ReportingAgent {
  const agent = new ReportingAgent(controller, node, ...rest);
  cleanups.push(() => agent.vanish());
  return agent;
}

/** What a stream has said so far; the stream goes on until the test ends. */
function collect<Item>(open: (signal: AbortSignal) => AsyncIterable<Item>): Item[] {
  const items: Item[] = [];
  const abort = new AbortController();
  const reading = (async () => {
    for await (const item of open(abort.signal)) items.push(item);
  })().catch((error: unknown) => {
    if (!abort.signal.aborted) throw error;
  });
  cleanups.push(async () => {
    abort.abort();
    await reading;
  });
  return items;
}

const liveAt = (controller: OperationsController, count: number) =>
  eventually(`${count} live connections`, () => controller.registry.liveCount === count);

/** A tail listens once the server has taken the call: until then events would pass it by. */
async function tailOf(controller: OperationsController, filter = "") {
  const responses = collect((signal) => controller.operations.tailConnections({ filter }, { signal }));
  const probe = agentOf(controller, "node-4");
  await eventually("the tail listens", () => {
    // Matches no filter of these tests, but is announced as learnt anew.
    probe.report({ snapshot: { connections: [] } });
    return responses.some(({ relearnedNodes }) => relearnedNodes.includes("node-4"));
  });
  return responses;
}

describe("Report", () => {
  it("is refused for nodes that nobody knows, and without a snapshot at its beginning", async () => {
    const stranger = agentOf(one, "node-9");
    expect(await stranger.ended).toMatchObject({ code: Status.NOT_FOUND });
    async function* withoutSnapshot() {
      yield { node: "node-1" };
    }
    const call = async () => {
      for await (const _ of one.agent.report(withoutSnapshot())) throw new Error("no command was given");
    };
    expect(await refusal(call())).toMatchObject({ code: Status.INVALID_ARGUMENT, fields: ["snapshot"] });
  });

  it("ends with what was wrong, and the node's connections are forgotten", async () => {
    const agent = agentOf(one, "node-1", [connection(1)]);
    await liveAt(one, 1);
    agent.report({ events: [{ ...opened(2, 0), connection: undefined }] });
    expect(await agent.ended).toMatchObject({ code: Status.INVALID_ARGUMENT });
    await liveAt(one, 0);
  });

  it("is taken over by a second stream of the node", async () => {
    const former = agentOf(one, "node-1", [connection(1)]);
    await liveAt(one, 1);
    agentOf(one, "node-1", [connection(2), connection(3)]);
    expect(await former.ended).toMatchObject({ code: Status.ABORTED });
    await liveAt(one, 2);
  });
});

describe("ListConnectionRecords", () => {
  it("gives pages, newest first, over all controllers, with totals and filters", async () => {
    const first = agentOf(one, "node-1");
    const second = agentOf(two, "node-2");
    for (let number = 1; number <= 25; number += 1) {
      first.report({ events: [opened(number, number * 1_000)] });
      second.report({ events: [opened(number, number * 1_000 + 500, { endpoint: number <= 5 ? "old" : "web" })] });
    }
    first.report({ events: [closed(1, 90_000), refused("ECONNREFUSED", 95_000)] });
    await liveAt(one, 24);
    await liveAt(two, 25);
    const all: string[] = [];
    let pageToken = "";
    do {
      const page = await one.operations.listConnectionRecords({ pageSize: 10, pageToken, includeClosed: true });
      expect(page.totalSize).toBe(51);
      all.push(...page.connections.map(({ id }) => id));
      pageToken = page.nextPageToken;
    } while (pageToken !== "");
    expect(all).toHaveLength(51);
    expect(new Set(all).size).toBe(51);
    expect(all[0]).toMatch(/^node-1\/-/);
    expect(all.slice(1, 4)).toEqual(["node-2/25", "node-1/25", "node-2/24"]);
    expect(all.at(-1)).toBe("node-1/1");
    const old = await two.operations.listConnectionRecords({ filter: 'connection.endpoint = "old"' });
    expect(old).toMatchObject({ totalSize: 5, nextPageToken: "" });
    const local = await one.operations.listConnectionRecords({ localOnly: true });
    expect(local.totalSize).toBe(24);
  });

  it("filters by IPv6 addresses, live and in a tail", async () => {
    const six = { local: { address: "fd00:32::1", port: 40_000 }, peer: { address: "fd00:32::2", port: 80 } };
    const agent = agentOf(one, "node-1", [connection(1), connection(2, six)]);
    await liveAt(one, 2);
    for (const filter of ['connection.peer.address = "fd00:32::2"', 'connection.local.address = "fd00:32::*"']) {
      const { connections } = await two.operations.listConnectionRecords({ filter });
      expect(connections.map(({ id, connection: found }) => [id, found?.peer?.address])).toEqual([
        ["node-1/2", "fd00:32::2"],
      ]);
    }
    const tail = await tailOf(two, 'connection.peer.address = "fd00:32::2"');
    agent.report({ events: [closed(1, 1_000), closed(2, 2_000, six)] });
    await eventually("the tail has it", () => tail.some(({ events }) => events.length > 0));
    expect(tail.flatMap(({ events }) => events.map(({ connection: found }) => found?.cookie))).toEqual([2n]);
  });

  it("refuses what makes no sense", async () => {
    const { operations } = one;
    expect(await refusal(operations.listConnectionRecords({ pageToken: "x" }))).toMatchObject({
      fields: ["page_token"],
    });
    expect(await refusal(operations.listConnectionRecords({ filter: "nonsense = 1" }))).toMatchObject({
      code: Status.INVALID_ARGUMENT,
      fields: ["filter"],
    });
    expect(await refusal(operations.listConnectionRecords({ pageSize: 1_001 }))).toMatchObject({
      fields: ["page_size"],
    });
  });

  it("does without a controller that does not answer, and says so in the log", async () => {
    agentOf(one, "node-1", [connection(1)]);
    await liveAt(one, 1);
    const never = {
      ...two.operations,
      listConnectionRecords: () => new Promise<never>((_, fail) => setTimeout(() => fail(new Error("late")), 1_200)),
    };
    one.peers.splice(0, 1, { name: "stuck", operations: never });
    expect(await one.operations.listConnectionRecords({})).toMatchObject({ totalSize: 1 });
    expect(one.log).toContainEqual(
      expect.objectContaining({ msg: "another controller did not answer", peer: "stuck" }),
    );
  });
});

describe("TailConnections", () => {
  it("gives what happens at all controllers, filtered", async () => {
    const responses = await tailOf(one, 'connection.network = "blue" AND kind = refused');
    const first = agentOf(one, "node-1");
    const second = agentOf(two, "node-2");
    await eventually("the peer's tail is open", () => {
      second.report({ events: [refused("EPERM", 1)] });
      return responses.some(({ events }) => events.some(({ connection }) => connection?.node === "node-2"));
    });
    first.report({ events: [opened(1, 1), refused("ECONNREFUSED", 2), refused("EPERM", 3, { network: "red" })] });
    await eventually("the refusal", () =>
      responses.flatMap(({ events }) => events).some(({ error }) => error === "ECONNREFUSED"),
    );
    const networks = new Set(responses.flatMap(({ events }) => events.map(({ connection }) => connection?.network)));
    expect(networks).toEqual(new Set(["blue"]));
  });

  it("has new values of live connections for those who ask for them, of all controllers", async () => {
    const tail = (includeUpdates: boolean) =>
      collect((signal) => one.operations.tailConnections({ includeUpdates }, { signal }));
    const asked = tail(true);
    const unasked = tail(false);
    const agents = [agentOf(one, "node-1", [connection(1)]), agentOf(two, "node-2", [connection(1)])];
    const updates = (responses: proto.TailConnectionsResponse[]) => responses.flatMap((each) => each.updates);
    let bytesSent = 0n;
    await eventually("new values of both nodes", () => {
      bytesSent += 1n;
      for (const agent of agents) {
        agent.report({ updates: [connection(1, { bytesSent }), connection(9, { bytesSent })] });
      }
      const ids = new Set(updates(asked).map(({ id }) => id));
      return ids.has("node-1/1") && ids.has("node-2/1");
    });
    // Nobody knows the connections 9.
    expect(new Set(updates(asked).map(({ id }) => id))).toEqual(new Set(["node-1/1", "node-2/1"]));
    const values = updates(asked).flatMap(({ id, connection: now }) =>
      id === "node-1/1" && now ? [now.bytesSent] : [],
    );
    expect(values).toEqual(values.toSorted((a, b) => (a < b ? -1 : 1)));
    expect(updates(unasked)).toEqual([]);
  });

  it("tells what agents have dropped, and whose connections to list again", async () => {
    const responses = await tailOf(one);
    const agent = agentOf(one, "node-1");
    agent.report({ dropped: 17n, snapshot: { connections: [connection(1)] } });
    await eventually("drops are told", () => responses.at(-1)?.dropped === 17n);
    expect(responses.flatMap(({ relearnedNodes }) => relearnedNodes)).toContain("node-1");
  });

  it("keeps up with 5,000 events in a second from several agents, without loss", async () => {
    const responses = await tailOf(one, 'connection.endpoint = "web"');
    const agents = [agentOf(one, "node-1"), agentOf(one, "node-2"), agentOf(one, "node-3")];
    let sent = 0;
    const rounds = 40;
    const perRound = 170;
    for (let round = 0; round < rounds; round += 1) {
      const dueMs = performance.now() + 100;
      for (const agent of agents) {
        const events = Array.from({ length: perRound }, (_, index) => {
          const cookie = 1 + round * perRound + index;
          return index % 2 === 0 ? opened(cookie, Date.now()) : closed(cookie - 1, Date.now());
        });
        agent.report({ events });
        sent += events.length;
      }
      await new Promise((resolve) => setTimeout(resolve, Math.max(0, dueMs - performance.now())));
    }
    const received = () => responses.reduce((sum, { events }) => sum + events.length, 0);
    await eventually(`${sent} events have arrived`, () => received() >= sent);
    expect(received()).toBe(sent);
    expect(responses.at(-1)?.dropped).toBe(0n);
    for (const { events } of responses) expect(events.length).toBeLessThanOrEqual(TAIL_BATCH_EVENTS);
    // In the order in which each node reported them.
    const cookies = responses.flatMap(({ events }) =>
      events
        .filter(({ connection }) => connection?.node === "node-2")
        .map(({ connection }) => connection?.cookie ?? 0n),
    );
    expect(cookies).toEqual(cookies.toSorted((a, b) => (a < b ? -1 : a > b ? 1 : 0)));
    expect(one.registry.totals.opened).toBe(sent / 2);
  });

  it("that is not read is bounded and told to list again, and holds up nobody", async () => {
    const agent = agentOf(one, "node-1");
    const abort = new AbortController();
    const stuck = one.operations.tailConnections({ filter: "" }, { signal: abort.signal })[Symbol.asyncIterator]();
    // Begins, takes one response, and then reads no more.
    const first = stuck.next();
    await eventually("the stuck tail listens", () => {
      agent.report({ events: [refused("EPERM", 1)] });
      return Promise.race([first.then(() => true), new Promise<boolean>((resolve) => setTimeout(resolve, 20, false))]);
    });
    const healthy = await tailOf(one);
    const before = one.registry.totals.refused;
    // More than fit into its buffer and into those of the transport together.
    const sent = 4 * TAIL_BUFFER_EVENTS;
    for (let count = 0; count < sent; count += 1_000) {
      agent.report({ events: Array.from({ length: 1_000 }, () => refused("ECONNREFUSED", 2)) });
      if (count % 5_000 === 0) {
        const due = before + count;
        await eventually("the controller takes the events", () => one.registry.totals.refused >= due);
        await eventually("the healthy tail has them", () => {
          const seen = healthy.reduce((sum, { events }) => sum + events.length, 0);
          return seen >= count;
        });
      }
    }
    await eventually("the healthy tail has all", () => {
      return healthy.flatMap(({ events }) => events).filter(({ error }) => error === "ECONNREFUSED").length === sent;
    });
    expect(healthy.at(-1)?.dropped).toBe(0n);
    // Now it reads again: it is told how much it has missed, and that it has to list again.
    let relearned: readonly string[] = [];
    let dropped = 0n;
    while (!relearned.includes("")) {
      const { value, done } = await stuck.next();
      if (done) throw new Error("the stuck tail has ended");
      relearned = value.relearnedNodes;
      dropped = value.dropped;
    }
    expect(dropped).toBeGreaterThan(0n);
    abort.abort();
    await stuck.next().catch(() => undefined);
  });
});

describe("CutConnection", () => {
  const cutting = (cookie: bigint, agent: ReportingAgent) => agent.report({ events: [closed(Number(cookie), 5)] });

  it("reaches the node through whichever controller it reports to", async () => {
    const first = agentOf(one, "node-1", [connection(7)], cutting);
    const second = agentOf(two, "node-2", [connection(8)], cutting);
    await liveAt(one, 1);
    await liveAt(two, 1);
    await one.operations.cutConnection({ id: "node-1/7" });
    expect(first.commands).toEqual([7n]);
    await one.operations.cutConnection({ id: "node-2/8" });
    expect(second.commands).toEqual([8n]);
    expect([one.registry.liveCount, two.registry.liveCount]).toEqual([0, 0]);
  });

  it("tells apart what is malformed, what is not there and what cannot be reached", async () => {
    agentOf(one, "node-1", [connection(7)]);
    agentOf(two, "node-2");
    await liveAt(one, 1);
    await eventually("node-2 reports", () => two.reports.isReporting("node-2"));
    const cut = (id: string) => refusal(one.operations.cutConnection({ id }));
    expect(await cut("nonsense")).toMatchObject({ code: Status.INVALID_ARGUMENT, fields: ["id"] });
    expect(await cut("node-1/9")).toMatchObject({ code: Status.NOT_FOUND });
    expect(await cut("node-1/-9")).toMatchObject({ code: Status.NOT_FOUND });
    expect(await cut("node-2/9")).toMatchObject({ code: Status.NOT_FOUND });
    expect(await cut("node-3/9")).toMatchObject({ code: Status.UNAVAILABLE });
    // The node takes the command and does nothing.
    expect(await cut("node-1/7")).toMatchObject({
      code: Status.UNAVAILABLE,
      message: expect.stringContaining("confirm"),
    });
  });
});

describe("WatchOverview", () => {
  it("shows rates, setup times and front ports of all controllers", async () => {
    const responses = collect((signal) => one.operations.watchOverview({}, { signal }));
    await eventually("the first comes at once", () => responses.length > 0);
    expect(responses[0]).toMatchObject({ nodes: 4, nodesConnected: 1, networks: 1, endpoints: 2, openedPerSecond: 0 });
    const first = agentOf(one, "node-1");
    const second = agentOf(two, "node-2");
    const on = (port: number) => ({ underlayLocal: { address: "10.200.0.2", port } });
    first.report({ events: [opened(1, 1, { setupUs: 100 }), refused("ECONNREFUSED", 1), refused("EPERM", 1)] });
    second.report({ events: [opened(1, 1, { setupUs: 1_000 }), accepted(2, 1, on(7_101)), accepted(3, 1, on(7_101))] });
    await liveAt(two, 3);
    await eventually("both shares are in", () => responses.at(-1)?.liveConnections === 4);
    const sum = (read: (response: proto.WatchOverviewResponse) => number) =>
      responses.reduce((total, response) => total + read(response), 0);
    expect(sum(({ refusedPerSecond }) => refusedPerSecond)).toBeGreaterThan(
      sum(({ deniedPerSecond }) => deniedPerSecond),
    );
    expect(sum(({ openedPerSecond }) => openedPerSecond)).toBeGreaterThan(0);
    const last = responses.at(-1);
    expect(last?.nodeOverviews.map(({ liveConnections }) => liveConnections)).toEqual([1, 3, 0, 0]);
    expect(last?.nodeOverviews[1]?.frontPortConnections).toEqual([0, 2]);
    const notify = last?.setupTimes.find(({ tier }) => tier === proto.Tier.TIER_NOTIFY);
    expect(notify?.count).toBe(2);
    expect(Math.abs((notify?.p50Us ?? 0) / 100 - 1)).toBeLessThan(0.05);
    expect(Math.abs((notify?.p99Us ?? 0) / 1_000 - 1)).toBeLessThan(0.05);
    expect(notify?.buckets).toEqual({});
  });
});

describe("WatchTraffic", () => {
  const firstOf = async (
    request: Partial<proto.WatchTrafficRequest>,
    isDone: (edges: proto.TrafficEdge[]) => boolean,
  ) => {
    const responses = collect((signal) => one.operations.watchTraffic(request, { signal }));
    await eventually("the edges are there", () => isDone(responses.at(-1)?.edges ?? []));
    return responses.at(-1)?.edges ?? [];
  };

  it("shows each connection between endpoints once, grouped, over all controllers", async () => {
    const first = agentOf(one, "node-1");
    const second = agentOf(two, "node-2");
    first.report({ events: [opened(1, Date.now()), opened(2, Date.now(), { peerEndpoint: "" }), refused("EPERM", 1)] });
    second.report({ events: [accepted(1, Date.now(), { endpoint: "db", peerEndpoint: "web" }), opened(2, 0)] });
    await liveAt(two, 2);
    const isComplete = (edges: proto.TrafficEdge[]) => edges.some(({ liveConnections }) => liveConnections === 2);
    const edges = await firstOf({}, isComplete);
    expect(edges.toSorted((a, b) => a.to.localeCompare(b.to))).toMatchObject([
      { from: "blue/web", to: "blue/db", liveConnections: 2 },
      { from: "blue/web", to: "outside", liveConnections: 1 },
    ]);
    expect(edges.find(({ to }) => to === "blue/db")?.refusedPerSecond).toBeGreaterThan(0);
    const { TRAFFIC_GROUPING_LABEL, TRAFFIC_GROUPING_NODE } = proto.TrafficGrouping;
    expect(await firstOf({ grouping: TRAFFIC_GROUPING_NODE }, isComplete)).toContainEqual(
      expect.objectContaining({ from: "node-1", to: "node-2" }),
    );
    expect(await firstOf({ grouping: TRAFFIC_GROUPING_LABEL, labelKey: "app" }, isComplete)).toContainEqual(
      expect.objectContaining({ from: "web", to: "db" }),
    );
  });

  it("refuses a grouping by no label", async () => {
    const { TRAFFIC_GROUPING_LABEL: grouping } = proto.TrafficGrouping;
    const call = one.operations.watchTraffic({ grouping })[Symbol.asyncIterator]().next();
    expect(await refusal(call)).toMatchObject({ fields: ["label_key"] });
  });
});

describe("TryPolicy", () => {
  const policy = NO_DB;

  it("says what would change, over all controllers, and changes nothing", async () => {
    agentOf(one, "node-1", [connection(1), connection(2, { peer: { address: "10.32.0.2", port: 81 } })]);
    agentOf(two, "node-2", [connection(1)]);
    await liveAt(one, 2);
    await liveAt(two, 1);
    const trial = await one.operations.tryPolicy({ policy });
    expect(trial).toMatchObject({ tried: 3, newlyDenied: 2, newlyAllowed: 0 });
    expect(trial.effects).toHaveLength(2);
    expect(trial.effects[0]).toMatchObject({
      before: proto.Verdict.VERDICT_ALLOWED,
      after: proto.Verdict.VERDICT_DENIED,
    });
  });

  it("goes by the IPv6 addresses of endpoints, too", async () => {
    agentOf(one, "node-1", [connection(1)]);
    await liveAt(one, 1);
    const to = (prefix: string) => ({ ...policy, from: [{}], to: [{ prefix }], ports: [] });
    expect(await one.operations.tryPolicy({ policy: to("fd00:32::2/128") })).toMatchObject({
      tried: 1,
      newlyDenied: 1,
    });
    expect(await one.operations.tryPolicy({ policy: to("fd00:33::/64") })).toMatchObject({ tried: 1, newlyDenied: 0 });
  });

  it("refuses what makes no sense", async () => {
    const tried = (request: Parameters<typeof one.operations.tryPolicy>[0]) =>
      refusal(one.operations.tryPolicy(request));
    expect(await tried({})).toMatchObject({ fields: ["policy"] });
    expect(await tried({ policy: { ...policy, network: "red" } })).toMatchObject({ code: Status.NOT_FOUND });
    expect(await tried({ policy: { ...policy, from: [] } })).toMatchObject({ fields: ["policy.from"] });
    expect(await tried({ policy: { ...policy, to: [{ prefix: "x" }] } })).toMatchObject({
      fields: ["policy.to[0].prefix"],
    });
    expect(await tried({ policy, deleted: true })).toMatchObject({ fields: ["policy.name"] });
  });
});

it("keeps the last that ended, however many there are", async () => {
  const agent = agentOf(one, "node-1");
  for (let round = 0; round < 11; round += 1) {
    agent.report({ events: Array.from({ length: 1_000 }, () => refused("ECONNREFUSED", 1)) });
  }
  await eventually("all are counted", () => one.registry.totals.refused === 11_000);
  const { totalSize } = await one.operations.listConnectionRecords({ includeClosed: true });
  expect(totalSize).toBe(MAX_RECENT_CONNECTIONS);
});
