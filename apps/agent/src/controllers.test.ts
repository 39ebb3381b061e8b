/** Several controllers: which one is asked, and what happens when one goes, falls silent, or names others. */
import { mkdtemp, rm } from "node:fs/promises";
import { connect, createServer, type Server, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";
import { FakeController } from "./testing/fake-controller.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

/** Between the agent and a controller: stops handing anything on, with the connections open, as a frozen host does. */
class Relay {
  readonly address: string;
  readonly #target: string;
  readonly #server: Server;
  readonly #sockets = new Set<Socket>();
  #isSilent = false;

  constructor(directory: string, target: string) {
    this.address = `unix:${directory}/relay.sock`;
    this.#target = target.slice("unix:".length);
    this.#server = createServer((near) => {
      const far = connect(this.#target);
      for (const [from, to] of [
        [near, far],
        [far, near],
      ] as const) {
        this.#sockets.add(from);
        from.on("data", (data) => void (this.#isSilent || to.write(data)));
        from.on("error", () => to.destroy());
        from.on("close", () => to.destroy());
      }
    });
  }

  async start(): Promise<void> {
    await new Promise<void>((resolve) => this.#server.listen(this.address.slice("unix:".length), resolve));
  }

  fallSilent(): void {
    this.#isSilent = true;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }
}

let bed: TestBed;
let directory: string;
let other: FakeController;

beforeEach(async () => {
  bed = await TestBed.create();
  directory = await mkdtemp(join(tmpdir(), "slimfast-controllers-test-"));
  other = new FakeController(directory, "other");
  await other.start();
});
afterEach(async () => {
  await bed.remove();
  other.stop();
  await rm(directory, { recursive: true, force: true });
});

const both = () => ({ controllerAddresses: [bed.controller.address, other.address] });
/** As two controllers on one store. */
function share(): void {
  for (const [key, one] of bed.controller.endpoints) other.endpoints.set(key, one);
  other.revision = bed.controller.revision;
}

describe("of several controllers", () => {
  it("the first that answers is used", async () => {
    await bed.startAgent({}, both());
    expect(bed.controller.streams).toHaveLength(1);
    expect(other.streams).toHaveLength(0);
  });

  it("another one is used at start when the first is away", async () => {
    bed.controller.stop();
    await bed.startAgent({}, both());
    expect(other.stream?.hello.node).toBe("node-1");
  });

  it("another one takes over when one goes: everything known stays, and only the difference is asked for", async () => {
    await bed.startAgent({}, both());
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    share();
    bed.controller.stop();
    await eventually(() => expect(other.stream).toBeDefined());
    expect(other.stream?.hello).toMatchObject({ storeId: "store-1", attached: [{ name: "web", id: 1 }] });
    expect(other.stream?.hello.known.map(({ name }) => name)).toEqual(["node-1", "blue", "blue/web"]);
    await eventually(async () => expect((await local.getStatus({})).controllerConnected).toBe(true));
    expect([...bed.core.held.keys()]).toEqual(["7:1"]);
    await eventually(() => expect(other.reports[0]?.[0]?.snapshot).toBeDefined());
    await local.detachEndpoint({ network: "blue", name: "web" });
    expect(other.deletions).toMatchObject([{ name: "web", id: 1 }]);
  });

  it("another one takes over when one falls silent", async () => {
    const relay = new Relay(directory, bed.controller.address);
    await relay.start();
    try {
      await bed.startAgent({}, { controllerAddresses: [relay.address, other.address] });
      expect(bed.controller.streams).toHaveLength(1);
      relay.fallSilent();
      await eventually(() => expect(other.stream?.hello.node).toBe("node-1"));
    } finally {
      relay.close();
    }
  });

  it("those that the controllers name are known from then on", async () => {
    bed.controller.controllers = [bed.controller.address, other.address];
    other.controllers = bed.controller.controllers;
    await bed.startAgent();
    // A new stream of a client that knows them all.
    await eventually(() => expect(bed.controller.streams.length + other.streams.length).toBe(2));
    await eventually(() => expect(bed.controller.stream ?? other.stream).toBeDefined());
    bed.controller.stop();
    await eventually(() => expect(other.stream?.hello.node).toBe("node-1"));
  });

  it("with all of them away, everything stays, and the first that is back is used", async () => {
    await bed.startAgent({}, both());
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    share();
    bed.controller.stop();
    other.stop();
    await eventually(async () => expect((await local.getStatus({})).controllerConnected).toBe(false));
    expect([...bed.core.held.keys()]).toEqual(["7:1"]);
    await other.start();
    await eventually(async () => expect((await local.getStatus({})).controllerConnected).toBe(true));
    expect([...bed.core.held.keys()]).toEqual(["7:1"]);
  });
});
