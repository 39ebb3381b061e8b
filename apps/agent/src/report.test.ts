/** The report to the controller, through a whole agent. */
import { ConnectionEventKind } from "@slimfast/proto";
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";
import { connectionEvent, connectionState } from "./testing/samples.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
});
afterEach(() => bed.remove());

const requests = (stream = 0) => bed.controller.reports[stream] ?? [];
const events = (stream = 0) => requests(stream).flatMap((request) => request.events);
const isReported = () => eventually(() => expect(requests()).not.toHaveLength(0));

describe("a report", () => {
  it("begins with the node's name and all live connections", async () => {
    bed.core.currentConnections.push(connectionState({ cookie: 5n }));
    await bed.startAgent();
    await isReported();
    const [first, ...others] = requests();
    expect(first).toMatchObject({ node: "node-1", snapshot: { connections: [{ cookie: 5n, node: "node-1" }] } });
    expect(first?.counters).toEqual({ syn_seen: 3n });
    expect(others.every(({ snapshot, node }) => snapshot === undefined && node === "")).toBe(true);
  });

  it("has the events in their order, with names, in batches", async () => {
    await bed.startAgent();
    await bed.connect().local.attachEndpoint(attachment("web"));
    await isReported();
    const six = [1n, 2n, 3n, 4n, 5n, 6n].map((cookie) => connectionEvent({ connection: connectionState({ cookie }) }));
    bed.core.emit(six);
    await eventually(() => expect(events()).toHaveLength(6));
    expect(events().map(({ connection }) => connection?.cookie)).toEqual([1n, 2n, 3n, 4n, 5n, 6n]);
    expect(events()[0]).toMatchObject({
      kind: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED,
      connection: { network: "blue", endpoint: "web" },
    });
    expect(Math.max(...requests().map((request) => request.events.length))).toBeLessThanOrEqual(4);
  });

  it("has new values of connections that changed, and the counters again and again", async () => {
    await bed.startAgent();
    await isReported();
    bed.core.currentConnections.push(connectionState({ cookie: 5n, bytesSent: 1n }));
    const updates = () => requests().flatMap((request) => request.updates);
    await eventually(() => expect(updates()).toMatchObject([{ cookie: 5n, bytesSent: 1n }]));
    bed.core.currentConnections[0] = connectionState({ cookie: 5n, bytesSent: 9n });
    await eventually(() => expect(updates()).toMatchObject([{ bytesSent: 1n }, { bytesSent: 9n }]));
    await eventually(() =>
      expect(requests().filter(({ counters }) => Object.keys(counters).length > 0).length).toBeGreaterThan(2),
    );
  });

  it("counts what was lost on the way or was too much, and tells all live connections again", async () => {
    await bed.startAgent();
    await isReported();
    bed.core.emit(
      Array.from({ length: 11 }, (_, index) =>
        connectionEvent({ connection: connectionState({ cookie: BigInt(index) }) }),
      ),
      5n,
    );
    await eventually(() => expect(events()).toHaveLength(8));
    expect(events().map(({ connection }) => connection?.cookie)).toEqual([3n, 4n, 5n, 6n, 7n, 8n, 9n, 10n]);
    expect(requests().reduce((sum, { dropped }) => sum + dropped, 0n)).toBe(8n);
    await eventually(() => expect(requests().filter(({ snapshot }) => snapshot)).toHaveLength(2));
    bed.core.emit([], 5n);
    bed.core.emit([], 6n);
    await eventually(() => expect(requests().reduce((sum, { dropped }) => sum + dropped, 0n)).toBe(9n));
  });

  it("names the endpoints that have processes which may use io_uring, when that changes", async () => {
    await bed.startAgent();
    const { endpoint: attached } = await bed.connect().local.attachEndpoint(attachment("web"));
    await isReported();
    const said = () => requests().flatMap(({ unguarded }) => (unguarded ? [unguarded.endpoints] : []));
    expect(said()).toEqual([[]]);
    const [[key, held] = ["", undefined]] = [...bed.core.held];
    if (!held) throw new Error("nothing is attached");
    const has = (unguardedListeners: number) => bed.core.held.set(key, { ...held, unguardedListeners });
    has(2);
    const { vni, id: endpointId } = held;
    bed.core.emit([{ kind: "unguarded", vni, endpointId, reason: "no such rule" }]);
    const { network = "", name = "", id = 0 } = attached?.endpoint ?? {};
    const endpoint = { network, name, id };
    await eventually(() => expect(said().slice(1)).toEqual([[{ endpoint, listeners: 2 }]]));
    // That one has ended is seen without an event.
    has(1);
    await eventually(() => expect(said().slice(2)).toEqual([[{ endpoint, listeners: 1 }]]));
    bed.controller.commands?.end();
    await eventually(() => expect(requests(1)[0]?.unguarded).toEqual({ endpoints: [{ endpoint, listeners: 1 }] }));
    has(0);
    await eventually(() => expect(requests(1).at(-1)?.unguarded ?? { endpoints: [{}] }).toEqual({ endpoints: [] }));
  });

  it("begins anew after its stream was lost, whatever the reason, and Sync goes on", async () => {
    bed.controller.faults.failNext("report", new ServerError(Status.UNIMPLEMENTED, "of an older version"));
    await bed.startAgent();
    await isReported();
    bed.controller.commands?.end();
    await eventually(() => expect(requests(1)[0]?.snapshot).toBeDefined());
    expect(bed.controller.streams).toHaveLength(1);
  });
});

describe("a command to cut a connection", () => {
  it("is carried out, and one that cannot be does no harm", async () => {
    await bed.startAgent();
    await isReported();
    bed.controller.commands?.push({ cutCookie: 0n });
    bed.controller.commands?.push({ cutCookie: 77n });
    await eventually(() => expect(bed.core.calls).toContain("cutConnection 77"));
    expect(bed.core.calls).not.toContain("cutConnection 0");
  });
});

it("ends with the agent", async () => {
  const agent = await bed.startAgent();
  await isReported();
  await agent.close();
  const count = requests().length;
  bed.core.emit([connectionEvent()]);
  expect(requests()).toHaveLength(count);
  expect(bed.controller.reports).toHaveLength(1);
});
