/** The link to the controller through a whole agent: streams, refusals, and what happens while the controller is gone. */
import { CoreError } from "@slimfast/core";
import { ResourceKind } from "@slimfast/proto";
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

const { RESOURCE_KIND_NODE, RESOURCE_KIND_NETWORK, RESOURCE_KIND_ENDPOINT } = ResourceKind;

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
});
afterEach(() => bed.remove());

async function nextStream(count: number): Promise<void> {
  await eventually(() => expect(bed.controller.streams).toHaveLength(count));
}

describe("the stream", () => {
  it("opens with the node's name, and acknowledges each response in order", async () => {
    await bed.startAgent();
    const { controller } = bed;
    expect(controller.registered).toMatchObject([
      { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7000, count: 16 } },
    ]);
    expect(controller.stream?.hello).toMatchObject({ node: "node-1", known: [], attached: [] });
    controller.stream?.send({ revision: 5n });
    controller.stream?.send({ revision: 6n });
    await eventually(() =>
      expect(controller.stream?.acks.map(({ nonce, error }) => [nonce, error])).toEqual([
        [1n, ""],
        [2n, ""],
        [3n, ""],
      ]),
    );
    const status = await bed.connect().local.getStatus({});
    expect(status).toMatchObject({ controllerConnected: true, appliedRevision: 6n, node: { connected: true } });
  });

  it("does not bother the core with responses that change nothing for it", async () => {
    await bed.startAgent();
    const before = bed.core.calls.length;
    bed.controller.stream?.send({ revision: 9n, nodes: [...bed.controller.registered].slice(0, 1) });
    await eventually(async () => expect(bed.controller.stream?.acks).toHaveLength(2));
    expect(bed.core.calls).toHaveLength(before);
  });

  it("opens anew with what is known and attached, after it was lost", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.stream?.end();
    await nextStream(2);
    const { hello } = bed.controller.streams[1] ?? expect.fail();
    expect(hello.attached).toMatchObject([{ network: "blue", name: "web", id: 1 }]);
    expect(hello.known.map(({ kind, name, revision }) => [kind, name, revision])).toEqual([
      [RESOURCE_KIND_NODE, "node-1", 0n],
      [RESOURCE_KIND_NETWORK, "blue", 1n],
      [RESOURCE_KIND_ENDPOINT, "blue/web", 2n],
    ]);
    // It is registered again, in case that the controller has forgotten it.
    expect(bed.controller.registered).toHaveLength(2);
    expect(bed.controller.endpoints.size).toBe(1);
  });
});

describe("ports of the node's static reservations", () => {
  it("are the core's to keep free, as they were told last", async () => {
    await bed.startAgent();
    const { core, controller } = bed;
    expect(core.calls).not.toContain("reservePorts");
    const ranges = [{ first: 9_000, count: 4 }];
    controller.stream?.send({ reservedPorts: { ranges } });
    await eventually(() => expect(core.reservedPorts).toEqual(ranges));
    // Not a word of them: as before.
    controller.stream?.send({ revision: 9n });
    controller.stream?.send({ reservedPorts: { ranges: [] } });
    await eventually(() => expect(core.reservedPorts).toEqual([]));
    expect(core.calls.filter((call) => call === "reservePorts")).toHaveLength(2);
  });

  it("that the core cannot keep free are answered with the reason", async () => {
    await bed.startAgent();
    const { core, controller } = bed;
    core.faults.failNext("reservePorts", new CoreError("system", "write: EROFS", { syscall: "write", errno: 30 }));
    const first = controller.stream;
    first?.send({ reservedPorts: { ranges: [{ first: 9_000, count: 4 }] } });
    await eventually(() => expect(first?.acks.at(-1)).toMatchObject({ nonce: 2n, error: "write: EROFS" }));
    await nextStream(2);
  });
});

describe("what the core refuses", () => {
  it("is answered with its reason, and asked for again on a new stream", async () => {
    await bed.startAgent();
    const { core, controller } = bed;
    core.faults.failNext("applyState", new CoreError("system", "bpf: ENOSPC", { syscall: "bpf", errno: 28 }));
    const first = controller.stream;
    first?.send({
      revision: 9n,
      nodes: [{ name: "node-2", underlayAddress: "10.200.0.2", frontPorts: { first: 1, count: 1 } }],
    });
    await eventually(() => expect(first?.acks).toMatchObject([{ error: "" }, { nonce: 2n, error: "bpf: ENOSPC" }]));
    await nextStream(2);
    // What was refused is not known.
    expect(controller.streams[1]?.hello.known.map(({ name }) => name)).toEqual(["node-1"]);
    expect(first?.isOver).toBe(true);
    const node2 = { name: "node-2", underlayAddress: "10.200.0.2", frontPorts: { first: 1, count: 1 }, revision: 8n };
    controller.stream?.send({ revision: 9n, nodes: [node2] });
    await eventually(() => expect(core.changes.at(-1)?.nodes).toMatchObject([{ name: "node-2" }]));
    await eventually(async () => expect((await bed.connect().local.getStatus({})).appliedRevision).toBe(9n));
  });

  it("does not count as in force on this node", async () => {
    await bed.startAgent({ endpointSyncTimeoutMs: 50 });
    bed.core.faults.failAll("applyState", new Error("no"));
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
    expect(bed.core.requests).toEqual([]);
  });

  it("is told when even the first state is refused", async () => {
    bed.core.faults.failAll("applyState", new Error("bpf: ENOSPC"));
    await expect(bed.startAgent({ startupTimeoutMs: 2_000 })).rejects.toMatchObject({
      code: "deadline_exceeded",
      message: expect.stringMatching(/^the first state did not come from the controller in \d+ ms: .*bpf: ENOSPC/),
    });
    expect(bed.core.isClosed).toBe(true);
  });
});

describe("while the controller is gone", () => {
  it("everything stays in force, and new endpoints are refused at once", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.stop();
    await eventually(async () => expect((await local.getStatus({})).controllerConnected).toBe(false));
    expect(await local.getStatus({})).toMatchObject({ attachedEndpoints: 1, appliedRevision: 2n });
    expect((await local.listAttachedEndpoints({})).endpoints).toHaveLength(1);
    await expect(local.attachEndpoint(attachment("other"))).rejects.toMatchObject({ code: "unavailable" });
    expect([...bed.core.held.keys()]).toEqual(["7:1"]);
    expect(
      bed.core.changes.flatMap(({ removedEndpoints, removedNodes }) => [...removedEndpoints, ...removedNodes]),
    ).toEqual([]);
  });

  it("the agent tries until it is back, and is in step again", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.stop();
    await eventually(async () => expect((await local.getStatus({})).controllerConnected).toBe(false));
    bed.controller.revision = 40n;
    await bed.controller.start();
    await eventually(async () =>
      expect(await local.getStatus({})).toMatchObject({ controllerConnected: true, appliedRevision: 40n }),
    );
    expect(bed.controller.endpoints.size).toBe(1);
  });

  it("a creation that is under way when the stream opens anew is not taken for a left-over", async () => {
    await bed.startAgent();
    const hold = bed.controller.faults.holdNext("afterCreate");
    const call = bed.connect().local.attachEndpoint(attachment("web"));
    await hold.reached;
    bed.controller.stream?.end();
    await nextStream(2);
    expect(bed.controller.stream?.hello.attached).toMatchObject([{ network: "blue", name: "web", id: 0 }]);
    hold.release();
    await call;
    expect([...bed.core.held.keys()]).toEqual(["7:1"]);
    expect(bed.controller.endpoints.size).toBe(1);
  });
});

describe("another store than before", () => {
  beforeEach(async () => {
    await bed.startAgent();
    await bed.connect().local.attachEndpoint(attachment("web"));
  });

  const held = () => [...bed.core.held.keys()];

  it("that has the same in it changes nothing, though its revisions are others", async () => {
    const { controller, core } = bed;
    controller.storeId = "store-2";
    controller.revision = 900n;
    for (const [key, one] of controller.endpoints) controller.endpoints.set(key, { ...one, revision: 800n });
    const before = core.calls.length;
    controller.stream?.end();
    await nextStream(2);
    await eventually(() => expect(controller.stream?.acks).toMatchObject([{ error: "" }]));
    expect(core.calls).toHaveLength(before);
    expect(held()).toEqual(["7:1"]);
    controller.stream?.end();
    await nextStream(3);
    expect(controller.stream?.hello).toMatchObject({ storeId: "store-2" });
    expect(controller.stream?.hello.known.find(({ name }) => name === "blue/web")?.revision).toBe(800n);
  });

  it("that knows nothing of an endpoint takes it away, and counts its own revisions", async () => {
    const { controller } = bed;
    const { local } = bed.connect();
    controller.storeId = "store-2";
    controller.endpoints.clear();
    controller.revision = 1n;
    controller.stream?.end();
    await eventually(async () =>
      expect(await local.getStatus({})).toMatchObject({ appliedRevision: 1n, attachedEndpoints: 0 }),
    );
    expect(held()).toEqual([]);
    await local.attachEndpoint(attachment("web"));
    expect(held()).toEqual(["7:2"]);
  });

  it("may have given the id to somebody else: whoever has it here goes first, and nothing of theirs is deleted", async () => {
    const { controller, core } = bed;
    const web = controller.endpoints.get("blue/web") ?? expect.fail();
    controller.storeId = "store-2";
    controller.endpoints.set("blue/web", { ...web, node: "node-2", address: "10.32.0.99", revision: 7n });
    // Of another node, so the hello does not make it a left-over.
    controller.isKeepingAll = true;
    controller.registered.push({ ...(controller.registered[0] ?? expect.fail()), name: "node-2" });
    controller.stream?.end();
    await eventually(() => expect(held()).toEqual([]));
    await eventually(() => expect(core.changes.at(-1)?.endpoints).toMatchObject([{ id: 1, address: "10.32.0.99" }]));
    expect(core.calls.indexOf("detachEndpoint 7:1")).toBeLessThan(core.calls.lastIndexOf("applyState"));
    await eventually(() => expect(controller.stream?.acks).toMatchObject([{ error: "" }]));
    expect(controller.deletions).toEqual([]);
    expect(controller.endpoints.size).toBe(1);
  });

  it("that is not read to its end takes nothing away yet", async () => {
    const { controller } = bed;
    controller.isPushing = false;
    controller.stream?.end();
    await nextStream(2);
    controller.stream?.send({ storeId: "store-2", revision: 0n });
    await eventually(() => expect(controller.stream?.acks).toHaveLength(1));
    expect(held()).toEqual(["7:1"]);
    controller.stream?.end();
    await nextStream(3);
    expect(controller.stream?.hello).toMatchObject({ storeId: "store-2", known: [] });
    controller.stream?.send({ storeId: "store-2", revision: 5n });
    await eventually(() => expect(held()).toEqual([]));
  });
});

describe("at start", () => {
  it("waits for a controller that is not up yet", async () => {
    bed.controller.stop();
    const starting = bed.startAgent();
    await eventually(() => expect(bed.log).toEqual([]));
    await bed.controller.start();
    await starting;
    expect(bed.controller.stream).toBeDefined();
  });

  it("gives up after its time", async () => {
    bed.controller.stop();
    await expect(bed.startAgent({ startupTimeoutMs: 50 })).rejects.toMatchObject({
      name: "SlimFastError",
      code: expect.stringMatching(/unavailable|deadline_exceeded/),
    });
    expect(bed.core.calls).toEqual(["close"]);
  });

  it("gives up at once when the controller refuses the node", async () => {
    bed.controller.faults.failNext(
      "registerNode",
      new ServerError(Status.ALREADY_EXISTS, "a node named node-1 is connected"),
    );
    await expect(bed.startAgent()).rejects.toMatchObject({ message: "a node named node-1 is connected" });
    expect(bed.controller.registered).toEqual([]);
    expect(bed.core.calls).toEqual(["close"]);
  });

  it("tries again when the controller has a passing trouble", async () => {
    bed.controller.faults.failNext("registerNode", new ServerError(Status.INTERNAL, "disk is slow"));
    await bed.startAgent();
    expect(bed.controller.registered).toHaveLength(1);
  });
});
