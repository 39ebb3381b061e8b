/** What the agent answers to local callers: lists, events, errors. */
import { CoreError } from "@slimfast/core";
import { ConnectionEventKind, Direction, Tier, type WatchConnectionEventsResponse } from "@slimfast/proto";
import { ServerError, Status } from "nice-grpc";
import { BadRequest, ResourceInfo, RichServerError } from "nice-grpc-error-details";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { attachment, TEST_LIMITS, TestBed } from "./testing/agent.js";
import { connectionEvent, connectionState } from "./testing/samples.js";

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
  await bed.startAgent();
});
afterEach(() => bed.remove());

describe("lists", () => {
  it("name endpoints as the cluster does", async () => {
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    await local.attachEndpoint(attachment("db"));
    bed.core.currentConnections.push(connectionState({ tier: "preload" }), connectionState({ vni: 9, endpointId: 4 }));
    bed.core.currentListeners.push({
      cookie: 5n,
      vni: 7,
      endpointId: 2,
      local: { address: "::", port: 80 },
      v6Only: true,
    });
    const { connections } = await local.listConnections({});
    expect(connections).toMatchObject([
      {
        cookie: 2n ** 63n,
        node: "node-1",
        network: "blue",
        endpoint: "web",
        peerEndpoint: "db",
        direction: Direction.DIRECTION_OUTBOUND,
        tier: Tier.TIER_PRELOAD,
        bytesSent: 2n ** 40n,
      },
      { network: "vni-9", endpoint: "id-4", peerEndpoint: "" },
    ]);
    const { listeners } = await local.listListeners({});
    expect(listeners).toMatchObject([{ endpoint: "db", local: { address: "::", port: 80 }, v6Only: true, cookie: 5n }]);
  });

  it("name as many connections as an answer has room for, and say that there are more", async () => {
    const { local } = bed.connect();
    const room = TEST_LIMITS.messageConnections;
    for (let index = 0n; index < room; index += 1n)
      bed.core.currentConnections.push(connectionState({ cookie: index }));
    expect(await local.listConnections({})).toMatchObject({ connections: { length: room }, more: false });
    bed.core.currentConnections.push(connectionState());
    expect(await local.listConnections({})).toMatchObject({ connections: { length: room }, more: true });
    expect(await local.listConnections({ atMost: 2 })).toMatchObject({ connections: { length: 2 }, more: true });
    expect(await local.listConnections({ atMost: room + 1 })).toMatchObject({ connections: { length: room } });
  });

  it("show what is held for an endpoint", async () => {
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.core.usage = { ...bed.core.usage, sockets: 12, listeners: 2, refusedConnects: 2n ** 40n };
    bed.core.setListeners({ vni: 7, id: 1 }, 3);
    expect((await local.listAttachedEndpoints({})).endpoints).toMatchObject([
      {
        endpoint: { name: "web" },
        netnsPath: "/run/netns/sf-node-1-blue-web",
        seccompListeners: 3,
        dispensers: 0,
        usage: { sockets: 12, listeners: 2, refusedSockets: 0n, refusedConnects: 2n ** 40n },
      },
    ]);
    expect((await local.getStatus({})).endpointLimits).toEqual({
      sockets: 1_000,
      listeners: 10,
      connectsPerSecond: 100,
    });
  });
});

describe("events", () => {
  /** Starts to watch; resolves when the agent has begun to. */
  async function watch(): Promise<AsyncIterator<WatchConnectionEventsResponse>> {
    const { local } = bed.connect();
    const events = local.watchConnectionEvents({})[Symbol.asyncIterator]();
    const first = events.next();
    // The stream was asked for before this call, on the same connection.
    await local.getStatus({});
    let pending: Promise<IteratorResult<WatchConnectionEventsResponse>> | undefined = first;
    return {
      next: () => {
        const result = pending ?? events.next();
        pending = undefined;
        return result;
      },
    };
  }

  it("come in batches, from the time that somebody watches", async () => {
    bed.core.emit([connectionEvent({ kind: "accepted" })]);
    const events = await watch();
    bed.core.emit([connectionEvent(), connectionEvent({ kind: "refused", error: "ECONNREFUSED" })], 4n);
    const { value } = await events.next();
    expect(value).toMatchObject({
      dropped: 4n,
      events: [
        { kind: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED, error: "", time: new Date(1_700_000_000_123) },
        { kind: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED, error: "ECONNREFUSED" },
      ],
    });
  });

  it("go to all who watch", async () => {
    const readers = [await watch(), await watch()];
    bed.core.emit([connectionEvent()]);
    for (const reader of readers) expect((await reader.next()).value.events).toHaveLength(1);
  });
});

describe("errors reach the caller", () => {
  it("with what the controller said", async () => {
    const { local } = bed.connect();
    bed.controller.faults.failNext(
      "createEndpoint",
      new RichServerError(Status.ALREADY_EXISTS, "port 80 is taken", [
        BadRequest.fromPartial({
          fieldViolations: [{ field: "endpoint.published_ports[0].host_port", description: "no" }],
        }),
        ResourceInfo.fromPartial({ resourceType: "port", resourceName: "node-1:80", owner: "endpoint/blue/x" }),
      ]),
    );
    await expect(local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "already_exists",
      message: "port 80 is taken",
      details: {
        fieldViolations: [{ field: "endpoint.published_ports[0].host_port", description: "no" }],
        resources: [{ type: "port", name: "node-1:80", owner: "endpoint/blue/x" }],
      },
    });
  });

  it("with what the core said, in the log as it matters", async () => {
    const { local } = bed.connect();
    // All of them: the report to the controller asks as well.
    bed.core.faults.failAll("connections", new CoreError("system", "iter: EIO", { syscall: "read", errno: 5 }));
    await expect(local.listConnections({})).rejects.toMatchObject({ code: "internal", message: "iter: EIO" });
    bed.core.faults.failAll("connections", undefined);
    bed.controller.faults.failNext("createEndpoint", new ServerError(Status.NOT_FOUND, "no such network"));
    await expect(local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "not_found" });
    const levels = bed.log.filter(({ msg }) => msg.startsWith("call ")).map(({ level, msg }) => [level, msg]);
    expect(levels).toEqual([
      [50, "call failed"],
      [30, "call refused"],
    ]);
  });
});
