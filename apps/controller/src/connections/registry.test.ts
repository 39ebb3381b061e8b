/** What the registry makes of reports: live connections, the last that ended, totals, and its bounds. */
import * as proto from "@slimfast/proto";
import { beforeEach, describe, expect, it } from "vitest";
import { ClusterError } from "../errors.js";
import { accepted, closed, connection, opened, refused, reportOf } from "../testing/connections.js";
import { ConnectionRegistry, type RegistryChange } from "./registry.js";

const NOW = 1_000_000;
let registry: ConnectionRegistry;
let changes: RegistryChange[];

beforeEach(() => {
  registry = new ConnectionRegistry({ maxLive: 5, maxRecent: 3 }, 1);
  changes = [];
  registry.onChange((change) => changes.push(change));
});

const liveIds = () => [...registry.live()].map(({ record }) => record.id);
const ended = () => [...registry.ended()].map(({ record }) => record);

describe("a connection", () => {
  it("is live from its opening to its end, then one of the last that ended", () => {
    registry.report("node-1", reportOf({ events: [opened(7, 900_000)] }), NOW);
    expect(liveIds()).toEqual(["node-1/7"]);
    registry.report("node-1", reportOf({ events: [closed(7, 950_000, { bytesSent: 10n })] }), NOW + 1);
    expect(liveIds()).toEqual([]);
    expect(ended()).toMatchObject([
      {
        id: "node-1/7",
        openTime: new Date(900_000),
        closeTime: new Date(950_000),
        kind: proto.ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED,
        connection: { node: "node-1", bytesSent: 10n },
      },
    ]);
    expect(registry.totals).toMatchObject({ opened: 1, closed: 1, refused: 0 });
    expect(changes.map(({ events }) => events.map(({ id }) => id))).toEqual([["node-1/7"], ["node-1/7"]]);
  });

  it("that was refused gets an id of its own, and counts as denied if a policy was the reason", () => {
    registry.report("node-1", reportOf({ events: [refused("ECONNREFUSED"), refused("EPERM")] }), NOW);
    const ids = ended().map(({ id }) => id);
    expect(new Set(ids).size).toBe(2);
    for (const id of ids) expect(id).toMatch(/^node-1\/-\d+$/);
    expect(registry.totals).toMatchObject({ refused: 2, denied: 1 });
    const other = new ConnectionRegistry({ maxLive: 5, maxRecent: 3 }, 2);
    other.report("node-1", reportOf({ events: [refused("EPERM")] }), NOW);
    expect(ids).not.toContain([...other.ended()][0]?.record.id);
  });

  it("whose opening was lost is still known when it ends", () => {
    registry.report("node-1", reportOf({ events: [closed(9, 950_000, { durationUs: 2_000_000n })] }), NOW);
    expect(ended()).toMatchObject([{ openTime: new Date(948_000) }]);
  });

  it("gets new values by updates, and a rate from them; an update of one that has ended is nothing", () => {
    registry.report("node-1", reportOf({ events: [opened(7, 900_000)] }), NOW);
    const update = connection(7, { bytesSent: 3_000n, bytesReceived: 1_000n });
    registry.report("node-1", reportOf({ updates: [update, connection(8)] }), NOW + 2_000);
    expect(liveIds()).toEqual(["node-1/7"]);
    expect([...registry.live()][0]).toMatchObject({
      bytesPerSecond: 2_000,
      record: { openTime: new Date(900_000), connection: { bytesSent: 3_000n } },
    });
  });
});

describe("a snapshot", () => {
  it("replaces what was live on the node, and nothing else", () => {
    registry.report("node-1", reportOf({ events: [opened(1, 0), opened(2, 0)] }), NOW);
    registry.report("node-2", reportOf({ events: [opened(1, 0)] }), NOW);
    changes.length = 0;
    const connections = [connection(2), connection(3, { durationUs: 5_000_000n })];
    registry.report("node-1", reportOf({ snapshot: { connections } }), NOW);
    expect(liveIds().toSorted()).toEqual(["node-1/2", "node-1/3", "node-2/1"]);
    expect(registry.node("node-1")?.get(3n)?.record.openTime).toEqual(new Date(NOW - 5_000));
    expect(ended()).toMatchObject([{ id: "node-1/1", closeTime: new Date(NOW) }]);
    expect(changes).toEqual([{ events: [], dropped: 0, relearned: "node-1" }]);
    // They were not opened just now.
    expect(registry.totals.opened).toBe(3);
  });
});

describe("a node", () => {
  it("that reports no longer has no live connections", () => {
    registry.report("node-1", reportOf({ events: [opened(1, 0)] }), NOW);
    registry.report("node-2", reportOf({ events: [opened(1, 0)] }), NOW);
    registry.forget("node-1");
    expect(liveIds()).toEqual(["node-2/1"]);
    expect(registry.liveCount).toBe(1);
    expect(changes.at(-1)).toEqual({ events: [], dropped: 0, relearned: "node-1" });
  });

  it("has its inbound connections counted by front port", () => {
    const on = (port: number) => ({ underlayLocal: { address: "10.200.0.1", port } });
    registry.report(
      "node-1",
      reportOf({ events: [accepted(1, 0, on(7100)), accepted(2, 0, on(7101)), accepted(3, 0, on(7101))] }),
      NOW,
    );
    const table = registry.node("node-1");
    expect([7100, 7101, 7102].map((port) => table?.inboundOn(port))).toEqual([1, 2, 0]);
    registry.report("node-1", reportOf({ events: [closed(2, 0)] }), NOW);
    expect(table?.inboundOn(7101)).toBe(1);
  });

  it("has its kernel counters summed from when it began to report, over restarts of the agent", () => {
    for (const opened of [100n, 130n, 5n]) registry.report("node-1", reportOf({ counters: { opened } }), NOW);
    for (const opened of [50n, 51n]) registry.report("node-2", reportOf({ counters: { opened } }), NOW);
    expect(registry.dataPathCounters).toEqual(new Map([["opened", 36n]]));
  });

  it("that reports nonsense is refused, and nothing of the report is taken", () => {
    const nonsense: [string, Partial<proto.ReportRequest>][] = [
      ["events[1].connection", { events: [opened(1, 0), { ...opened(2, 0), connection: undefined }] }],
      ["events[0].time", { events: [{ ...opened(1, 0), time: undefined }] }],
      ["events[0].kind", { events: [{ ...opened(1, 0), kind: 99 as proto.ConnectionEventKind }] }],
      ["events[0].kind", { events: [{ ...opened(1, 0), kind: 0 }] }],
      ["updates[0]", { updates: [connection(1, { state: "x".repeat(1_000) })] }],
      ["snapshot.connections[0]", { snapshot: { connections: [connection(1, { network: "x".repeat(129) })] } }],
      ["counters", { counters: { "x y": 1n } }],
      ["counters", { counters: Object.fromEntries(Array.from({ length: 300 }, (_, index) => [`c${index}`, 1n])) }],
    ];
    for (const [field, request] of nonsense) {
      const take = () => registry.report("node-1", reportOf({ events: [opened(1, 0)], ...request }), NOW);
      expect(take).toThrow(ClusterError);
      expect(take).toThrow(field);
    }
    expect(registry.liveCount).toBe(0);
  });
});

describe("bounds", () => {
  it("keep no more live connections than allowed, count the rest, and still announce them", () => {
    const events = Array.from({ length: 8 }, (_, index) => opened(index + 1, 0));
    registry.report("node-1", reportOf({ events }), NOW);
    expect(registry.liveCount).toBe(5);
    expect(registry.totals).toMatchObject({ opened: 8, unkept: 3 });
    expect(changes[0]?.events).toHaveLength(8);
    registry.report("node-1", reportOf({ events: [closed(8, 0), closed(1, 0), opened(9, 0)] }), NOW);
    expect(liveIds()).toEqual(["node-1/2", "node-1/3", "node-1/4", "node-1/5", "node-1/9"]);
  });

  it("keep the last that ended", () => {
    expect(registry.endedSinceMs).toBeUndefined();
    for (let cookie = 1; cookie <= 5; cookie += 1) {
      registry.report("node-1", reportOf({ events: [closed(cookie, 0)] }), NOW + cookie);
    }
    expect(
      ended()
        .map(({ id }) => id)
        .toSorted(),
    ).toEqual(["node-1/3", "node-1/4", "node-1/5"]);
    expect(registry.endedSinceMs).toBe(NOW + 3);
  });
});
