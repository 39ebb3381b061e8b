/** Endpoints through a whole agent: real gRPC on both sides, a fake core beneath and a fake controller above. */
import { CoreError } from "@slimfast/core";
import { ServerError, Status } from "nice-grpc";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
});
afterEach(() => bed.remove());

describe("attaching", () => {
  it("gets the address from the controller, waits for the state, then asks the core", async () => {
    await bed.startAgent();
    const request = attachment("web", {
      publishedPorts: [{ hostPort: 8080, endpointPort: 80 }],
      labels: { app: "web" },
    });
    const { endpoint: attached } = await bed.connect().local.attachEndpoint(request);
    expect(attached).toMatchObject({
      endpoint: { name: "web", network: "blue", node: "node-1", id: 1, vni: 7, address: "10.32.0.2" },
      netnsPath: "/run/netns/sf-node-1-blue-web",
      listenerMetadata: "slimfast/7/1",
      seccompListeners: 0,
      dispensers: 0,
    });
    expect(bed.controller.creations).toMatchObject([
      { endpoint: { name: "web", node: "node-1", labels: { app: "web" } }, waitForPeers: true },
    ]);
    expect(bed.core.requests).toEqual([
      {
        netnsName: "sf-node-1-blue-web",
        vni: 7,
        id: 1,
        address: "10.32.0.2",
        address6: null,
        publishedPorts: [{ hostPort: 8080, endpointPort: 80 }],
        // For the next agent.
        note: expect.stringContaining('"name":"web"'),
      },
    ]);
    // First the node itself, then the network with the endpoint, and only then the attachment.
    expect(bed.core.calls).toEqual(["applyState", "applyState", "attachEndpoint 7:1"]);
  });

  it("makes up a name, and refuses one that is no DNS label", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    const { endpoint: attached } = await local.attachEndpoint(attachment(""));
    expect(attached?.endpoint?.name).toMatch(/^ep-[0-9a-f]{8}$/);
    await expect(local.attachEndpoint(attachment("No_Label"))).rejects.toMatchObject({
      code: "invalid_argument",
      details: { fieldViolations: [{ field: "name" }] },
    });
    expect(bed.controller.creations).toHaveLength(1);
  });

  it("refuses a name that is attached, or being attached", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    const hold = bed.controller.faults.holdNext("createEndpoint");
    const first = local.attachEndpoint(attachment("web"));
    await hold.reached;
    await expect(local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "already_exists" });
    hold.release();
    await first;
    await expect(local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "already_exists" });
    expect(bed.core.held.size).toBe(1);
  });

  it("gives endpoints whose parts run together namespaces of their own", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    bed.controller.network.name = "blue-a";
    await local.attachEndpoint({ ...attachment("b"), network: "blue-a" });
    bed.controller.network.name = "blue";
    await local.attachEndpoint(attachment("a-b"));
    const names = bed.core.requests.map(({ netnsName }) => netnsName);
    expect(names[0]).toBe("sf-node-1-blue-a-b");
    expect(names[1]).toMatch(/^sf-node-1-blue-a-b-[0-9a-f]{8}$/);
  });
});

describe("a failure while attaching leaves nothing", () => {
  /** Neither here nor there, and the name can be attached. */
  async function expectNothingLeft(): Promise<void> {
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual([]));
    expect([...bed.core.held.keys()]).toEqual([]);
    const { local } = bed.connect();
    expect((await local.getStatus({})).attachedEndpoints).toBe(0);
    expect((await local.listAttachedEndpoints({})).endpoints).toEqual([]);
    await expect(local.attachEndpoint(attachment("web"))).resolves.toMatchObject({ endpoint: {} });
    expect(bed.controller.endpoints.size).toBe(1);
  }

  it("when the controller refuses", async () => {
    await bed.startAgent();
    bed.controller.faults.failNext(
      "createEndpoint",
      new ServerError(Status.RESOURCE_EXHAUSTED, "the prefix is used up"),
    );
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "resource_exhausted",
      message: "the prefix is used up",
    });
    expect(bed.controller.deletions).toEqual([]);
    await expectNothingLeft();
  });

  it("when the controller's answer is lost", async () => {
    await bed.startAgent();
    bed.controller.faults.failNext("afterCreate", new ServerError(Status.UNAVAILABLE, "connection reset"));
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "unavailable" });
    expect(bed.controller.deletions).toMatchObject([{ network: "blue", name: "web", id: 1 }]);
    await expectNothingLeft();
  });

  it("when the answer is lost, and at first nobody can say whether it was created", async () => {
    await bed.startAgent();
    const { faults } = bed.controller;
    faults.failNext("afterCreate", new ServerError(Status.INTERNAL, "out of order"));
    faults.failNext("listEndpoints", new ServerError(Status.INTERNAL, "out of order"));
    faults.failNext("listEndpoints", new ServerError(Status.INTERNAL, "out of order"));
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "internal" });
    await expectNothingLeft();
    // The one that came after it stays.
    expect(bed.controller.deletions).toMatchObject([{ id: 1 }]);
  });

  it("when the controller does not answer in time", async () => {
    await bed.startAgent({ createEndpointTimeoutMs: 50 });
    const hold = bed.controller.faults.holdNext("afterCreate");
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "deadline_exceeded",
    });
    hold.release();
    expect(bed.controller.deletions).toMatchObject([{ id: 1 }]);
  });

  it("when the endpoint does not come on the stream", async () => {
    await bed.startAgent({ endpointSyncTimeoutMs: 50 });
    bed.controller.isPushing = false;
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "deadline_exceeded",
      message: expect.stringMatching(/: endpoint blue\/web did not come from the controller in 50 ms$/),
    });
    expect(bed.core.requests).toEqual([]);
    expect(bed.controller.deletions).toMatchObject([{ id: 1 }]);
    expect(bed.controller.endpoints.size).toBe(0);
  });

  it("when the core fails", async () => {
    await bed.startAgent();
    bed.core.faults.failNext(
      "attachEndpoint",
      new CoreError("conflict", "port 80 is taken by nginx", { holder: "nginx" }),
    );
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({
      code: "already_exists",
      message: "port 80 is taken by nginx",
      details: { resources: [{ owner: "nginx" }] },
    });
    expect(bed.core.calls).toContain("detachEndpoint 7:1");
    await expectNothingLeft();
  });

  it("when the core fails and the controller is away: the deletion is tried again", async () => {
    await bed.startAgent();
    bed.core.faults.failNext(
      "attachEndpoint",
      new CoreError("system", "veth: EPERM", { syscall: "sendmsg", errno: 1 }),
    );
    bed.controller.faults.failNext("deleteEndpoint", new ServerError(Status.INTERNAL, "disk full"));
    bed.controller.faults.failNext("deleteEndpoint", new ServerError(Status.INTERNAL, "disk full"));
    await expect(bed.connect().local.attachEndpoint(attachment("web"))).rejects.toMatchObject({ code: "internal" });
    await expectNothingLeft();
  });

  it("when the caller has gone meanwhile", async () => {
    await bed.startAgent();
    const hold = bed.core.faults.holdNext("attachEndpoint");
    const caller = new AbortController();
    const { local } = bed.connect();
    const call = local.attachEndpoint(attachment("web"), { signal: caller.signal });
    call.catch(() => undefined);
    await hold.reached;
    caller.abort();
    await expect(call).rejects.toMatchObject({ code: "cancelled" });
    // On the same connection, so the agent has heard of the end of the first call when this one is answered.
    await local.getStatus({});
    hold.release();
    await eventually(() => expect(bed.core.calls).toContain("detachEndpoint 7:1"));
    await eventually(() => expect(bed.controller.deletions).toHaveLength(1));
    await expectNothingLeft();
  });

  it("when somebody deletes it meanwhile", async () => {
    await bed.startAgent();
    const hold = bed.core.faults.holdNext("attachEndpoint");
    const call = bed.connect().local.attachEndpoint(attachment("web"));
    call.catch(() => undefined);
    await hold.reached;
    bed.controller.remove("blue", "web");
    await eventually(() => expect(bed.core.known).toEqual(new Set()));
    hold.release();
    await expect(call).rejects.toMatchObject({
      code: "aborted",
      message: expect.stringContaining("was deleted while"),
    });
    await expectNothingLeft();
  });
});

describe("detaching", () => {
  it("starts with the core, and is idempotent", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    const hold = bed.core.faults.holdNext("detachEndpoint");
    const both = Promise.all([
      local.detachEndpoint({ network: "blue", name: "web" }),
      local.detachEndpoint({ network: "blue", name: "web" }),
    ]);
    await hold.reached;
    expect(bed.controller.deletions).toEqual([]);
    hold.release();
    await both;
    await local.detachEndpoint({ network: "blue", name: "web" });
    await local.detachEndpoint({ network: "green", name: "nobody" });
    expect(bed.controller.deletions).toMatchObject([{ network: "blue", name: "web", id: 1 }]);
    expect(bed.core.calls.filter((call) => call.startsWith("detach"))).toEqual(["detachEndpoint 7:1"]);
    await eventually(() => expect(bed.core.networks).toEqual(new Set()));
  });

  it("waits for an attachment under way, and then takes it away", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    const hold = bed.core.faults.holdNext("attachEndpoint");
    const attaching = local.attachEndpoint(attachment("web"));
    await hold.reached;
    const detaching = local.detachEndpoint({ network: "blue", name: "web" });
    hold.release();
    await attaching;
    await detaching;
    expect(bed.core.calls.indexOf("detachEndpoint 7:1")).toBeGreaterThan(bed.core.calls.indexOf("attachEndpoint 7:1"));
    expect(bed.controller.endpoints.size).toBe(0);
    expect(bed.core.held.size).toBe(0);
  });

  it("goes on when the core leaves something behind, which is logged", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.core.faults.failNext(
      "detachEndpoint",
      new CoreError("system", "veth: EBUSY", { syscall: "sendmsg", errno: 16 }),
    );
    await local.detachEndpoint({ network: "blue", name: "web" });
    expect(bed.controller.endpoints.size).toBe(0);
    expect(bed.log).toContainEqual(
      expect.objectContaining({ msg: "detaching left something on the host", reason: "veth: EBUSY" }),
    );
  });

  it("is heard by the controller later if that is away", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.stop();
    await local.detachEndpoint({ network: "blue", name: "web" });
    expect(bed.core.held.size).toBe(0);
    expect(bed.controller.endpoints.size).toBe(1);
    await bed.controller.start();
    await eventually(() => expect(bed.controller.endpoints.size).toBe(0));
    await eventually(() => expect(bed.controller.deletions).toMatchObject([{ name: "web", id: 1 }]));
  });

  it("follows when the endpoint is deleted on the controller", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    bed.controller.remove("blue", "web");
    // The network goes with its last endpoint, and the core refuses that while one is attached.
    await eventually(() => expect(bed.core.networks).toEqual(new Set()));
    expect(bed.core.held.size).toBe(0);
    expect((await local.listAttachedEndpoints({})).endpoints).toEqual([]);
    expect(bed.controller.stream?.acks.every(({ error }) => error === "")).toBe(true);
  });
});

describe("ephemeral endpoints", () => {
  it("go with their last process; others stay", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    await local.attachEndpoint(attachment("web"));
    bed.core.emit([
      { kind: "idle", vni: 7, endpointId: 1 },
      { kind: "idle", vni: 7, endpointId: 2 },
      { kind: "idle", vni: 9, endpointId: 1 },
    ]);
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual(["blue/web"]));
    expect([...bed.core.held.keys()]).toEqual(["7:2"]);
  });

  it("stay if another process has joined since the event", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    bed.core.setListeners({ vni: 7, id: 1 }, 1);
    bed.core.emit([{ kind: "idle", vni: 7, endpointId: 1 }]);
    expect((await local.listAttachedEndpoints({})).endpoints).toMatchObject([{ seccompListeners: 1 }]);
    bed.core.setListeners({ vni: 7, id: 1 }, 0);
    bed.core.emit([{ kind: "idle", vni: 7, endpointId: 1 }]);
    await eventually(() => expect(bed.controller.endpoints.size).toBe(0));
  });

  it("are looked at together when many processes end at once, and once more if that fails", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    const count = 50;
    for (let id = 1; id <= count; id += 1) await local.attachEndpoint(attachment(`job-${id}`, { ephemeral: true }));
    bed.core.setListeners({ vni: 7, id: count }, 1);
    const looks = vi.spyOn(bed.core, "attached");
    bed.core.faults.failNext("attached", new Error("the keeper has ended"));
    for (let id = 1; id <= count; id += 1) bed.core.emit([{ kind: "idle", vni: 7, endpointId: id }]);
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual([`blue/job-${count}`]));
    expect(looks.mock.calls.length).toBeLessThanOrEqual(3);
    expect([...bed.core.held.keys()]).toEqual([`7:${count}`]);
  });

  it("go if no process joins them in time", async () => {
    await bed.startAgent({ ephemeralJoinMs: 30 });
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    await eventually(() => expect(bed.controller.endpoints.size).toBe(0));
    expect(bed.core.held.size).toBe(0);
    expect(bed.log).toContainEqual(
      expect.objectContaining({ endpoint: "blue/job", msg: expect.stringMatching(/^nothing joined/) }),
    );
  });

  it("stay if one has joined in time", async () => {
    await bed.startAgent({ ephemeralJoinMs: 100 });
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    bed.core.setListeners({ vni: 7, id: 1 }, 1);
    // Another one without a process, attached later, is the proof that the time of the first has run out.
    await local.attachEndpoint(attachment("other", { ephemeral: true }));
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual(["blue/job"]));
  });

  it("go even if the event of their last process was lost", async () => {
    await bed.startAgent({ ephemeralJoinMs: 100 });
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    bed.core.setListeners({ vni: 7, id: 1 }, 1);
    await local.attachEndpoint(attachment("other", { ephemeral: true }));
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual(["blue/job"]));
    await local.attachEndpoint(attachment("web"));
    bed.core.emit([], 1n);
    expect((await local.listAttachedEndpoints({})).endpoints).toHaveLength(2);
    bed.core.setListeners({ vni: 7, id: 1 }, 0);
    bed.core.emit([], 1n);
    expect((await local.listAttachedEndpoints({})).endpoints).toHaveLength(2);
    bed.core.emit([], 2n);
    await eventually(() => expect([...bed.controller.endpoints.keys()]).toEqual(["blue/web"]));
  });

  it("that wait for their first process are spared when events are lost", async () => {
    await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("job", { ephemeral: true }));
    bed.core.emit([], 1n);
    expect((await local.listAttachedEndpoints({})).endpoints).toHaveLength(1);
  });
});
