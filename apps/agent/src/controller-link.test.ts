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

  it("its store may be lost: the endpoints go, and counting starts again", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.revision = 900n;
    bed.controller.stream?.send({ revision: 900n });
    await eventually(async () => expect((await local.getStatus({})).appliedRevision).toBe(900n));
    bed.controller.endpoints.clear();
    bed.controller.revision = 3n;
    bed.controller.stream?.end();
    await eventually(async () =>
      expect(await local.getStatus({})).toMatchObject({ appliedRevision: 3n, attachedEndpoints: 0 }),
    );
    await local.attachEndpoint(attachment("web"));
    expect([...bed.core.held.keys()]).toEqual(["7:2"]);
  });

  it("a creation that is under way when the stream opens anew ends in one way or the other", async () => {
    await bed.startAgent({ endpointSyncTimeoutMs: 500 });
    const hold = bed.controller.faults.holdNext("afterCreate");
    const call = bed.connect().local.attachEndpoint(attachment("web"));
    call.catch(() => undefined);
    await hold.reached;
    // The hello cannot name an endpoint whose id is still on its way, so this controller takes it for a left-over.
    bed.controller.stream?.end();
    await nextStream(2);
    expect(bed.controller.endpoints.size).toBe(0);
    hold.release();
    await call.catch(() => undefined);
    await eventually(() => expect(bed.core.held.size).toBe(bed.controller.endpoints.size));
    await eventually(() => expect(bed.core.held.size).toBe(0));
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
