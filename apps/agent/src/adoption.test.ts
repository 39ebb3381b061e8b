/** An agent that takes over what a former one has left: a fake core that stays, a fake controller, two agents in a row. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import type { Agent } from "./agent.js";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

let bed: TestBed;
let first: Agent;

beforeEach(async () => {
  bed = await TestBed.create();
  first = await bed.startAgent();
  await bed.connect().local.attachEndpoint(attachment("web"));
});
afterEach(() => bed.remove());

/** The first agent goes and leaves the node; the core is as the next one finds it. */
async function leave(): Promise<void> {
  await first.leave();
  expect(bed.core.calls.at(-1)).toBe("leave");
  expect(bed.core.held.size).toBe(1);
  bed.core.isClosed = false;
  bed.core.adopted = true;
  bed.core.calls.length = 0;
}

describe("the next agent", () => {
  it("has the endpoints of the former one, and compares the core with the first state", async () => {
    const before = await bed.connect().local.listAttachedEndpoints({});
    await leave();
    bed.core.settled = 0;
    await bed.startAgent();
    expect(await bed.connect().local.listAttachedEndpoints({})).toEqual(before);
    expect(bed.controller.endpoints.size).toBe(1);
    expect(bed.core.settled).toBe(1);
    expect(bed.core.calls).not.toContain("detachEndpoint 7:1");
  });

  it("detaches what was deleted in the meantime", async () => {
    await leave();
    const [key] = bed.controller.endpoints.keys();
    bed.controller.endpoints.delete(key ?? "");
    await bed.startAgent();
    expect(bed.core.calls).toContain("detachEndpoint 7:1");
    expect(bed.core.held.size).toBe(0);
  });

  it("detaches what an agent of another version has noted in its own way", async () => {
    await leave();
    for (const state of bed.core.held.values()) state.note = "?";
    await bed.startAgent();
    expect(bed.core.calls).toContain("detachEndpoint 7:1");
    // It is not in the hello, so that the controller drops it as well.
    await eventually(() => expect(bed.controller.endpoints.size).toBe(0));
  });

  it("starts without a controller, and leaves everything in force until one comes", async () => {
    await leave();
    bed.controller.stop();
    bed.core.settled = 0;
    await bed.startAgent({ adoptedStartMs: 1 });
    const { local } = bed.connect();
    expect((await local.listAttachedEndpoints({})).endpoints).toHaveLength(1);
    expect((await local.getStatus({})).controllerConnected).toBe(false);
    expect(bed.core.settled).toBe(0);
    await bed.controller.start();
    await eventually(() => expect(bed.core.settled).toBe(1));
    expect(bed.core.held.size).toBe(1);
  });

  it("that cannot start leaves the node as it was", async () => {
    await leave();
    await expect(bed.startAgent({}, { metricsAddress: "127.0.0.1:99999" })).rejects.toThrow();
    expect(bed.core.calls).toContain("leave");
    expect(bed.core.calls).not.toContain("close");
    expect(bed.core.held.size).toBe(1);
  });
});
