/** The facade on the real addon and the real kernel, in namespaces and cgroups of its own. Needs root; never skipped. */
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NodeProcess } from "./testing/node-process.js";
import type { AttachRequest, StateChange } from "./types.js";

const NO_USAGE = {
  sockets: 0,
  listeners: 0,
  refusedSockets: 0n,
  refusedListeners: 0n,
  refusedConnects: 0n,
  refusedInbound: 0n,
};

// Opening loads and verifies BPF programs, which takes seconds on a busy machine.
vi.setConfig({ testTimeout: 60_000, hookTimeout: 60_000 });

let node: NodeProcess;

beforeEach(() => {
  node = new NodeProcess();
});
afterEach(() => node?.remove());

const NO_CHANGE: StateChange = {
  nodes: [],
  networks: [],
  endpoints: [],
  removedEndpoints: [],
  removedNetworks: [],
  removedNodes: [],
  nodeAddresses: [],
  removedNodeAddresses: [],
};

function clusterState(): StateChange {
  return {
    ...NO_CHANGE,
    nodes: [{ name: node.name, underlayAddress: "10.200.0.1", frontPortFirst: 7000, frontPortCount: 16 }],
    networks: [{ vni: 7, prefix: "10.32.0.0/16", prefix6: null, egress: [] }],
    endpoints: [{ vni: 7, id: 1, address: "10.32.0.2", address6: null, node: node.name, isPlain: false }],
  };
}

function attachRequest(): AttachRequest {
  const addresses = { address: "10.32.0.2", address6: null };
  return { netnsName: `sf-${node.name}-web`, vni: 7, id: 1, ...addresses, publishedPorts: [], note: "mine" };
}

/** A copy without the property. */
function without(record: object, property: string): object {
  return Object.fromEntries(Object.entries(record).filter(([name]) => name !== property));
}

describe("a node", () => {
  it("opens, applies, attaches, detaches, closes, and leaves nothing", async () => {
    await node.call("open", node.config);
    expect(node.journal().changes).not.toEqual([]);
    expect(await node.call("seccompSocket")).toBe(`${node.config.runDir}/seccomp.sock`);
    await node.call("applyState", clusterState());
    expect(await node.call("attachEndpoint", attachRequest())).toEqual({
      netnsPath: `/run/netns/sf-${node.name}-web`,
      listenerMetadata: "slimfast/7/1",
    });
    expect(await node.call("attached")).toEqual([
      {
        ...{ vni: 7, id: 1, seccompListeners: 0, dispensers: 0, unguardedListeners: 0, usage: NO_USAGE, note: "mine" },
        ...{ netnsPath: `/run/netns/sf-${node.name}-web`, listenerMetadata: "slimfast/7/1" },
      },
    ]);
    expect(await node.call("connections")).toEqual([]);
    expect(await node.call("listeners")).toEqual([]);
    const counters = (await node.call("counters")) as Record<string, unknown>;
    expect(Object.keys(counters).length).toBeGreaterThan(0);
    for (const value of Object.values(counters)) expect(value).toBeTypeOf("bigint");
    expect(node.traces()).toContain(`sf-${node.name}-web`);
    const policy = {
      vni: 7,
      isDefaultDeny: true,
      identities: [{ endpointId: 1, identity: 1 }],
      verdicts: [{ from: 1, to: 1, portFirst: 80, portLast: 443, isAllowed: true }],
    };
    expect(await node.call("setNetworkPolicy", policy, "a note")).toBe(0);
    await expect(node.call("setNetworkPolicy", { ...policy, vni: 8 }, "")).rejects.toMatchObject({
      failure: { kind: "not_found" },
    });
    expect(await node.call("policyNotes")).toEqual([{ vni: 7, note: "a note" }]);
    await node.call("removeNetworkPolicy", 7);
    expect(await node.call("policyNotes")).toEqual([]);
    expect(await node.call("cutConnection", 1n)).toBe(false);
    await node.call("detachEndpoint", { vni: 7, id: 1 });
    await node.call("detachEndpoint", { vni: 7, id: 1 });
    expect(await node.call("attached")).toEqual([]);
    expect(node.traces().filter((trace) => trace.startsWith("sf"))).toEqual([]);
    await node.call("close");
    expect(node.traces()).toEqual([]);
  });

  it("closes twice, with an endpoint attached, and refuses all calls afterwards", async () => {
    await node.call("open", node.config);
    await node.call("applyState", clusterState());
    await node.call("attachEndpoint", attachRequest());
    await Promise.all([node.call("close"), node.call("close")]);
    await node.call("close");
    expect(node.traces()).toEqual([]);
    for (const [name, ...args] of [
      ["applyState", NO_CHANGE],
      ["attachEndpoint", attachRequest()],
      ["detachEndpoint", { vni: 7, id: 1 }],
      ["attached"],
      ["connections"],
      ["listeners"],
      ["counters"],
    ] as const) {
      expect(await node.failure(name, ...args), name).toMatchObject({ isCoreError: true, kind: "closed" });
    }
  });

  it("answers those who only ask while a change waits", async () => {
    await node.call("open", node.config);
    await node.call("applyState", clusterState());
    await node.call("attachEndpoint", attachRequest());
    const keeper = node.keeperPid();
    if (keeper === undefined) throw new Error("the node has no keeper");
    let isOver = false;
    // A detachment asks the keeper to let nobody in any more.
    process.kill(keeper, "SIGSTOP");
    try {
      const detached = node.call("detachEndpoint", { vni: 7, id: 1 }).then(() => {
        isOver = true;
      });
      const stages = () => node.journal().node.endpoints.map(({ stage }) => stage);
      await vi.waitFor(() => expect(stages()).toEqual(["detaching"]));
      // At a time more than libuv has threads: the detachment waits for the keeper no longer than some seconds.
      await Promise.all(
        Array.from({ length: 8 }, async () => {
          expect(await node.call("listeners")).toEqual([]);
          expect(await node.call("connections")).toEqual([]);
          expect(await node.call("endpointLimits")).toMatchObject({ sockets: expect.any(Number) });
        }),
      );
      expect(isOver).toBe(false);
      process.kill(keeper, "SIGCONT");
      await detached;
    } finally {
      process.kill(keeper, "SIGCONT");
    }
    await node.call("close");
    expect(node.traces()).toEqual([]);
  });

  it("goes on with a keeper that has answered too late", async () => {
    await node.call("open", node.config);
    await node.call("applyState", clusterState());
    await node.call("attachEndpoint", attachRequest());
    const keeper = node.keeperPid();
    if (keeper === undefined) throw new Error("the node has no keeper");
    process.kill(keeper, "SIGSTOP");
    try {
      expect(await node.failure("attached")).toMatchObject({ kind: "system" });
    } finally {
      process.kill(keeper, "SIGCONT");
    }
    // What it says now is the answer to that question, and must not be taken for this one's.
    expect(Object.keys((await node.call("counters")) as object).length).toBeGreaterThan(0);
    expect(await node.call("attached")).toMatchObject([{ vni: 7, id: 1 }]);
    expect(node.keeperPid()).toBe(keeper);
    await node.call("close");
    expect(node.traces()).toEqual([]);
  });

  it("can be opened again in the same process", async () => {
    for (let round = 0; round < 2; round += 1) {
      await node.call("open", node.config);
      await node.call("close");
    }
    expect(node.traces()).toEqual([]);
  });

  it("that was killed, or told to leave it, is taken over by the next one, with its endpoints", async () => {
    await node.call("open", node.config);
    expect(await node.call("isAdopted")).toBe(false);
    await node.call("applyState", clusterState());
    await node.call("attachEndpoint", attachRequest());
    const [attached, traces] = [await node.call("attached"), node.traces()];
    const keeper = node.keeperPid();
    await node.restart("SIGKILL");
    for (const ending of ["leave", "SIGKILL"] as const) {
      expect(node.traces()).toEqual(traces);
      await node.call("open", node.config);
      expect(await node.call("isAdopted")).toBe(true);
      expect(await node.call("attached")).toEqual(attached);
      expect(node.keeperPid()).toBe(keeper);
      if (ending === "leave") await node.call("leave");
      else await node.restart(ending);
    }
    expect(await node.failure("open", { ...node.config, frontPortFirst: 7100 })).toMatchObject({
      kind: "conflict",
      holder: expect.stringContaining("--fresh"),
    });
    await node.call("open", node.config);
    expect(await node.call("settle")).toBe(0);
    await node.call("detachEndpoint", { vni: 7, id: 1 });
    expect(await node.call("attached")).toEqual([]);
    await node.call("close");
    expect(node.traces()).toEqual([]);
  });

  it("keeps ports out of the kernel's choice, over its agents' deaths, until it is told others or ends", async () => {
    const reserved = () => node.traces().filter((trace) => trace.startsWith("reserved ports"));
    const front = "7000-7015";
    await node.call("open", node.config);
    await node.call("reservePorts", []);
    expect(reserved()).toEqual([`reserved ports ${front}`]);
    await node.call("reservePorts", [
      { first: 9000, count: 4 },
      { first: 8080, count: 1 },
    ]);
    expect(reserved()).toEqual([`reserved ports ${front},8080,9000-9003`]);
    for (const wrong of [
      { first: 0, count: 1 },
      { first: 9000, count: 0 },
      { first: 65_535, count: 2 },
      { first: 70_000, count: 1 },
    ]) {
      const failure = await node.failure("reservePorts", [{ first: 8081, count: 1 }, wrong]);
      expect(failure).toMatchObject({ kind: "invalid", field: "ranges" });
    }
    await node.restart("SIGKILL");
    await node.call("open", node.config);
    expect(reserved()).toEqual([`reserved ports ${front},8080,9000-9003`]);
    await node.call("reservePorts", [{ first: 9002, count: 3 }]);
    expect(reserved()).toEqual([`reserved ports ${front},9002-9004`]);
    await node.call("leave");
    await node.call("open", node.config);
    await node.call("reservePorts", []);
    expect(reserved()).toEqual([`reserved ports ${front}`]);
    await node.call("reservePorts", [{ first: 9000, count: 1 }]);
    await node.call("close");
    expect(node.traces()).toEqual([]);
    expect(await node.failure("reservePorts", [])).toMatchObject({ kind: "closed" });
  });

  it("that was killed is undone from its journal", async () => {
    await node.call("open", node.config);
    await node.call("applyState", clusterState());
    await node.call("attachEndpoint", attachRequest());
    await node.call("reservePorts", [{ first: 9000, count: 4 }]);
    await node.kill();
    expect(node.traces()).not.toEqual([]);
    const other = new NodeProcess();
    try {
      await other.call("recover", node.config.runDir);
      expect(node.traces()).toEqual([]);
      await other.call("recover", node.config.runDir);
    } finally {
      await other.remove();
    }
  });
});

describe("opening is refused, and leaves nothing, when", () => {
  it.each([
    ["nodeName", "Not_a_label"],
    ["underlayAddress", "10.200.0"],
    ["underlayAddress", "192.0.2.77"],
    ["frontPortFirst", 0],
    ["frontPortFirst", 65_530],
    ["frontPortFirst", 70_000],
    ["frontPortCount", 0],
    ["frontPortCount", 65],
    ["cgroup", ""],
    ["cgroup", "../outside"],
    ["runDir", "relative/run"],
    ["vxlanPort", 0],
    ["vxlanPort", 65_536],
  ])("%s is %j", async (field, value) => {
    const failure = await node.failure("open", { ...node.config, [field]: value });
    expect(failure).toMatchObject({ isCoreError: true, kind: "invalid", field });
    expect(failure.message.startsWith(`${field}: `)).toBe(true);
    expect(node.traces()).toEqual([]);
  });

  it("a property is missing, or has another type", async () => {
    for (const property of Object.keys(node.config)) {
      const failure = await node.failure("open", without(node.config, property));
      expect(failure, property).toMatchObject({ isCoreError: true, kind: "invalid" });
      expect(failure.message, property).toContain(property);
      const strange = await node.failure("open", { ...node.config, [property]: { strange: true } });
      expect(strange, property).toMatchObject({ isCoreError: true, kind: "invalid" });
    }
    expect(node.traces()).toEqual([]);
  });

  it("the run directory belongs to a node that runs", async () => {
    await node.call("open", node.config);
    const other = new NodeProcess();
    try {
      const failure = await other.failure("open", { ...other.config, runDir: node.config.runDir });
      expect(failure).toMatchObject({ kind: "conflict", holder: expect.stringContaining("the running process") });
      expect(other.traces()).toEqual([]);
    } finally {
      await other.remove();
    }
    // The other's attempt has not taken the first one's journal.
    await node.call("close");
    expect(node.traces()).toEqual([]);
  });
});

describe("an open node refuses", () => {
  beforeEach(async () => {
    await node.call("open", node.config);
    await node.call("applyState", clusterState());
  });

  it("a state with a wrong field", async () => {
    for (const [field, change] of [
      ["underlayAddress", { nodes: [{ name: "n", underlayAddress: "x", frontPortFirst: 1, frontPortCount: 1 }] }],
      [
        "frontPortFirst",
        { nodes: [{ name: "n", underlayAddress: "10.200.0.2", frontPortFirst: 65_536, frontPortCount: 1 }] },
      ],
      [
        "frontPortCount",
        { nodes: [{ name: "n", underlayAddress: "10.200.0.2", frontPortFirst: 1, frontPortCount: 0 }] },
      ],
      ["nodeAddresses", { nodeAddresses: ["10.200.0.9", "10.200.0"] }],
      ["removedNodeAddresses", { removedNodeAddresses: ["fd00::1"] }],
      ["vni", { networks: [{ vni: 0, prefix: "10.33.0.0/16", prefix6: null, egress: [] }] }],
      ["vni", { networks: [{ vni: 2 ** 24, prefix: "10.33.0.0/16", prefix6: null, egress: [] }] }],
      ["prefix", { networks: [{ vni: 8, prefix: "10.33.0.0", prefix6: null, egress: [] }] }],
      ["prefix", { networks: [{ vni: 8, prefix: "10.33.0.0/33", prefix6: null, egress: [] }] }],
      ["prefix", { networks: [{ vni: 8, prefix: null, prefix6: null, egress: [] }] }],
      ["prefix6", { networks: [{ vni: 8, prefix: null, prefix6: "fd00:32::/129", egress: [] }] }],
      ["egress", { networks: [{ vni: 8, prefix: "10.33.0.0/16", prefix6: null, egress: ["192.0.2.0/24", "x"] }] }],
      ["address", { endpoints: [{ vni: 7, id: 2, address: null, address6: null, node: "n", isPlain: false }] }],
      ["address6", { endpoints: [{ vni: 7, id: 2, address: null, address6: "10.32.0.3", node: "n", isPlain: false }] }],
      ["address", { endpoints: [{ vni: 7, id: 2, address: "fe80::1", address6: null, node: "n", isPlain: false }] }],
    ] as const) {
      const failure = await node.failure("applyState", { ...NO_CHANGE, ...change });
      expect(failure, field).toMatchObject({ kind: "invalid", field });
    }
  });

  it("a change or a request that lacks a property", async () => {
    for (const property of Object.keys(NO_CHANGE)) {
      expect(await node.failure("applyState", without(NO_CHANGE, property)), property).toMatchObject({
        kind: "invalid",
      });
    }
    for (const property of Object.keys(attachRequest())) {
      const failure = await node.failure("attachEndpoint", without(attachRequest(), property));
      expect(failure, property).toMatchObject({ kind: "invalid" });
    }
    expect(await node.call("attached")).toEqual([]);
  });

  it("to attach what is not in the state, or contradicts it; nothing is left of it", async () => {
    const before = node.traces();
    expect(await node.failure("attachEndpoint", { ...attachRequest(), id: 9 })).toMatchObject({ kind: "not_found" });
    for (const [field, value] of [
      ["address", "10.32.0.3"],
      ["address", "10.32.0"],
      ["publishedPorts", [{ hostPort: 0, endpointPort: 80 }]],
      ["publishedPorts", [{ hostPort: 8080, endpointPort: 65_536 }]],
    ] as const) {
      expect(await node.failure("attachEndpoint", { ...attachRequest(), [field]: value })).toMatchObject({
        kind: "invalid",
        field,
      });
    }
    expect(node.traces()).toEqual(before);
  });

  it("to attach twice, or under a name that is taken", async () => {
    await node.call("attachEndpoint", attachRequest());
    expect(await node.failure("attachEndpoint", attachRequest())).toMatchObject({ kind: "conflict" });
    const second = { vni: 7, id: 2, address: "10.32.0.3", address6: null };
    await node.call("applyState", { ...NO_CHANGE, endpoints: [{ ...second, node: node.name, isPlain: false }] });
    const before = node.traces();
    const failure = await node.failure("attachEndpoint", { ...attachRequest(), ...second });
    expect(failure).toMatchObject({ kind: "conflict" });
    expect(node.traces()).toEqual(before);
    expect(await node.call("attached")).toMatchObject([{ id: 1 }]);
  });
});
