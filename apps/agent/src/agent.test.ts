/** Putting an agent together and taking it apart. */
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { stat } from "node:fs/promises";
import { join } from "node:path";
import { CoreError } from "@slimfast/core";
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

describe("an agent", () => {
  it("serves on a socket that is root's alone, in place of a crashed run's", async () => {
    writeFileSync(bed.socket, "left over");
    const agent = await bed.startAgent();
    expect(agent.socket).toBe(bed.socket);
    const { mode } = await stat(bed.socket);
    expect(mode & 0o777).toBe(0o600);
    const status = await bed.connect().local.getStatus({});
    expect(status).toMatchObject({
      node: { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7000, count: 16 }, connected: true },
      pid: process.pid,
      version: "1.2.3",
      seccompSocket: "/run/fake/seccomp.sock",
      attachedEndpoints: 0,
    });
    expect(Object.entries(status.counters)).toEqual([["syn_seen", 3n]]);
  });

  it("logs containers that were refused", async () => {
    await bed.startAgent();
    bed.core.emit([{ kind: "admissionRefused", reason: "unknown endpoint" }]);
    expect(bed.log).toContainEqual(
      expect.objectContaining({ msg: "a container was refused", reason: "unknown endpoint" }),
    );
  });

  it("logs containers that may use io_uring", async () => {
    await bed.startAgent();
    bed.core.emit([{ kind: "unguarded", vni: 1, endpointId: 7, reason: "no such rule" }]);
    const msg = "a container was let in that may use io_uring";
    expect(bed.log).toContainEqual(expect.objectContaining({ msg, vni: 1, endpointId: 7, reason: "no such rule" }));
  });
});

describe("a keeper that has ended", () => {
  it("is replaced, and the log says what that means", async () => {
    await bed.startAgent();
    bed.core.emit([{ kind: "keeperEnded" }]);
    await eventually(() => expect(bed.core.calls).toContain("replaceKeeper"));
    const said = expect.objectContaining({ endpoints: 2, msg: expect.stringContaining("start them again") });
    await eventually(() => expect(bed.log).toContainEqual(said));
  });
});

describe("closing", () => {
  it("detaches first, on the controller too, and closes the core last; twice is once", async () => {
    const agent = await bed.startAgent();
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    await local.attachEndpoint(attachment("db"));
    const before = bed.core.calls.length;
    await Promise.all([agent.close(), agent.close()]);
    await agent.close();
    const calls = bed.core.calls.slice(before).filter((call) => call !== "applyState");
    expect(calls).toEqual(["detachEndpoint 7:1", "detachEndpoint 7:2", "close"]);
    expect(bed.controller.endpoints.size).toBe(0);
    expect(existsSync(bed.socket)).toBe(false);
    await eventually(() => expect(bed.controller.stream).toBeUndefined());
  });

  it("ends attachments under way, at each of their steps", async () => {
    for (const step of ["createEndpoint", "afterCreate", "state", "attachEndpoint"] as const) {
      const own = await TestBed.create();
      try {
        const agent = await own.startAgent();
        if (step === "state") own.controller.isPushing = false;
        const hold =
          step === "attachEndpoint"
            ? own.core.faults.holdNext("attachEndpoint")
            : step === "state"
              ? undefined
              : own.controller.faults.holdNext(step);
        const call = own.connect().local.attachEndpoint(attachment("web"));
        call.catch(() => undefined);
        await (hold?.reached ?? eventually(() => expect(own.controller.endpoints.size).toBe(1)));
        const closing = agent.close();
        // The controller and the core answer calls that were begun, whoever has gone meanwhile.
        hold?.release();
        await closing;
        await expect(call, step).rejects.toMatchObject({ name: "SlimFastError" });
        expect(own.core.isClosed, step).toBe(true);
        expect(own.core.calls.at(-1), step).toBe("close");
        expect(
          own.log.filter(({ level }) => level >= 50),
          step,
        ).toEqual([]);
        if (step !== "createEndpoint") expect(own.controller.endpoints.size, step).toBe(0);
      } finally {
        await own.remove();
      }
    }
  });

  it("does not wait for a controller that is gone: its next hello tells", async () => {
    const agent = await bed.startAgent();
    await bed.connect().local.attachEndpoint(attachment("web"));
    bed.controller.stop();
    await agent.close();
    expect(bed.core.calls.slice(-2)).toEqual(["detachEndpoint 7:1", "close"]);
    expect(bed.controller.endpoints.size).toBe(1);
  });

  it("ends readers of events", async () => {
    const agent = await bed.startAgent();
    const reading = (async () => {
      for await (const _ of bed.connect().local.watchConnectionEvents({}));
    })();
    reading.catch(() => undefined);
    await bed.connect().local.getStatus({});
    await agent.close();
    await expect(reading).rejects.toMatchObject({ name: "SlimFastError" });
  });

  it("goes on past a failure of the core, and tells of it each time", async () => {
    const agent = await bed.startAgent();
    const failure = new CoreError("system", "cgroup: EBUSY", { syscall: "rmdir", errno: 16 });
    bed.core.faults.failNext("close", failure);
    await expect(agent.close()).rejects.toBe(failure);
    await expect(agent.close()).rejects.toBe(failure);
    expect(bed.core.calls.filter((call) => call === "close")).toHaveLength(1);
    expect(existsSync(bed.socket)).toBe(false);
    expect(bed.log).toContainEqual(expect.objectContaining({ msg: "cannot take down", what: "the core" }));
  });
});

describe("a start that fails leaves nothing", () => {
  it("when the core cannot be opened", async () => {
    const failure = new CoreError("unsupported", "no BPF");
    await expect(bed.startAgent({}, { openCore: () => Promise.reject(failure) })).rejects.toBe(failure);
    expect(bed.controller.registered).toEqual([]);
    expect(bed.core.calls).toEqual([]);
  });

  it("when the controller's address is malformed", async () => {
    await expect(bed.startAgent({}, { controllerAddresses: ["nowhere"] })).rejects.toMatchObject({
      code: "invalid_argument",
    });
    expect(bed.core.calls).toEqual(["close"]);
  });

  it("when the socket cannot be made", async () => {
    mkdirSync(join(bed.socket, "in the way"), { recursive: true });
    await expect(bed.startAgent()).rejects.toThrow();
    expect(bed.core.calls.at(-1)).toBe("close");
    await eventually(() => expect(bed.controller.stream).toBeUndefined());
  });

  it("when it is told to stop, before or while it waits for the controller", async () => {
    bed.controller.stop();
    const stop = new AbortController();
    const starting = bed.startAgent({}, { signal: stop.signal });
    starting.catch(() => undefined);
    stop.abort();
    await expect(starting).rejects.toBe(stop.signal.reason);
    expect(bed.core.calls).toEqual(["close"]);

    await bed.controller.start();
    const other = await TestBed.create();
    try {
      other.controller.isPushing = false;
      const late = new AbortController();
      const waiting = other.startAgent({}, { signal: late.signal });
      waiting.catch(() => undefined);
      await eventually(() => expect(other.controller.stream).toBeDefined());
      late.abort();
      await expect(waiting).rejects.toBe(late.signal.reason);
      expect(other.core.calls).toEqual(["close"]);
    } finally {
      await other.remove();
    }
  });
});
