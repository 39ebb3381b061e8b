import { describe, expect, test, vi } from "vitest";
import { CoreError, fromNative } from "./errors.js";
import { openWith } from "./index.js";
import { loadNative, type NativeModule, type NativeNode } from "./native.js";
import type { CoreConfig } from "./types.js";

const config: CoreConfig = {
  nodeName: "node-1",
  underlayAddress: "10.200.0.1",
  frontPortFirst: 7000,
  frontPortCount: 16,
  cgroup: "slimfast/node-1",
  runDir: "/run/slimfast/node-1",
  keeperPath: "/usr/libexec/slimfast-keeper",
  vxlanPort: 8472,
  endpointLimits: { sockets: null, listeners: null, connectsPerSecond: null },
};

function wireError(fields: Record<string, unknown>): Error {
  return new Error(JSON.stringify(fields));
}

/** An addon whose node has the given methods; any other call is a mistake of the test. */
function fakeAddon(node: Partial<NativeNode>): NativeModule {
  return {
    open: async () => node as NativeNode,
    probe: async () => [],
    recover: async () => {},
  };
}

describe("errors out of the addon", () => {
  test("become a CoreError with every field", () => {
    const thrown = wireError({
      kind: "system",
      message: "entering the namespace: setns: Operation not permitted",
      field: null,
      holder: null,
      syscall: "setns",
      errno: 1,
    });
    const error = fromNative(thrown);
    expect(error).toBeInstanceOf(CoreError);
    expect(error).toMatchObject({
      name: "CoreError",
      kind: "system",
      message: "entering the namespace: setns: Operation not permitted",
      field: null,
      holder: null,
      syscall: "setns",
      errno: 1,
      cause: thrown,
    });
  });

  test("may leave out what does not apply", () => {
    expect(
      fromNative(wireError({ kind: "conflict", message: "port 80 is taken by nginx", holder: "nginx" })),
    ).toMatchObject({
      kind: "conflict",
      holder: "nginx",
      field: null,
      syscall: null,
      errno: null,
    });
  });

  test("about the JavaScript type of an argument are invalid input", () => {
    const thrown = Object.assign(new Error("Missing field `vni`"), { code: "InvalidArg" });
    expect(fromNative(thrown)).toMatchObject({ kind: "invalid", message: "Missing field `vni`", cause: thrown });
  });

  test.each([
    ["a panic", new Error("called `Option::unwrap()` on a `None` value")],
    ["broken JSON", new Error('{"kind": "system"')],
    ["an unknown kind", wireError({ kind: "surprise", message: "?" })],
    ["JSON without a message", wireError({ kind: "system" })],
    ["no Error at all", "text"],
  ])("pass unchanged when they are a bug: %s", (_name, thrown) => {
    expect(fromNative(thrown)).toBe(thrown);
  });
});

describe("the facade", () => {
  test("converts rejections of open", async () => {
    const native: NativeModule = {
      ...fakeAddon({}),
      open: () => Promise.reject(wireError({ kind: "invalid", message: "cgroup: is empty", field: "cgroup" })),
    };
    await expect(openWith(native, config)).rejects.toMatchObject({
      name: "CoreError",
      kind: "invalid",
      field: "cgroup",
    });
  });

  test("converts what an asynchronous method throws at once", async () => {
    const core = await openWith(
      fakeAddon({
        detachEndpoints: () => {
          throw wireError({ kind: "closed", message: "the node is closed" });
        },
      }),
      config,
    );
    await expect(core.detachEndpoint({ vni: 1, id: 1 })).rejects.toMatchObject({ kind: "closed" });
  });

  test("converts what a synchronous method throws", async () => {
    const core = await openWith(
      fakeAddon({
        endpointLimits: () => {
          throw wireError({ kind: "closed", message: "the node is closed" });
        },
      }),
      config,
    );
    expect(() => core.endpointLimits()).toThrow(CoreError);
  });

  test("calls methods on the node itself, with their arguments", async () => {
    const seen: unknown[] = [];
    const node = {
      path: "/run/s.sock",
      seccompSocket() {
        return this.path;
      },
      async applyState(change: unknown) {
        seen.push(change);
      },
    };
    const core = await openWith(fakeAddon(node as Partial<NativeNode>), config);
    expect(core.seccompSocket()).toBe("/run/s.sock");
    const change = {
      nodes: [],
      networks: [{ vni: 7, prefix: "10.32.0.0/16", prefix6: null, egress: ["192.0.2.0/24"] }],
      endpoints: [],
      removedEndpoints: [],
      removedNetworks: [],
      removedNodes: [],
      nodeAddresses: [],
      removedNodeAddresses: [],
    };
    await core.applyState(change);
    expect(seen).toEqual([change]);
  });
});

describe("changes", () => {
  /** An addon whose changes end when they are told to. */
  function slowAddon() {
    const calls: string[] = [];
    const endings: (() => void)[] = [];
    const slow = (call: string) => {
      calls.push(call);
      return new Promise<void>((resolve) => endings.push(resolve));
    };
    const native = fakeAddon({
      applyState: () => slow("apply"),
      detachEndpoints: (keys) => slow(`detach ${keys.map(({ id }) => id).join(" ")}`),
      attached: async () => [],
      counters: async () => ({ syn_seen: 1n }),
    });
    const endNext = async () => {
      await vi.waitFor(() => expect(endings).not.toEqual([]));
      endings.shift()?.();
    };
    return { native, calls, endNext };
  }
  const NO_CHANGE = {
    nodes: [],
    networks: [],
    endpoints: [],
    ...{ removedEndpoints: [], removedNetworks: [], removedNodes: [], nodeAddresses: [], removedNodeAddresses: [] },
  };

  test("are not waited for by those who only ask", async () => {
    const { native, calls } = slowAddon();
    const core = await openWith(native, config);
    for (let id = 1; id <= 200; id += 1) void core.detachEndpoint({ vni: 1, id });
    expect(await core.attached()).toEqual([]);
    expect(await core.counters()).toEqual({ syn_seen: 1n });
    expect(calls).toHaveLength(1);
  });

  test("happen in their order, and detachments that wait together", async () => {
    const { native, calls, endNext } = slowAddon();
    const core = await openWith(native, config);
    const over: string[] = [];
    const note = (what: string, change: Promise<void>) => void change.then(() => over.push(what));
    note("apply 1", core.applyState(NO_CHANGE));
    for (const id of [1, 2, 3]) note(`detach ${id}`, core.detachEndpoint({ vni: 1, id }));
    note("apply 2", core.applyState(NO_CHANGE));
    note("detach 4", core.detachEndpoint({ vni: 1, id: 4 }));
    for (let change = 0; change < 4; change += 1) await endNext();
    await vi.waitFor(() =>
      expect(over).toEqual(["apply 1", "detach 1", "detach 2", "detach 3", "apply 2", "detach 4"]),
    );
    expect(calls).toEqual(["apply", "detach 1 2 3", "apply", "detach 4"]);
  });

  test("detach only so many at once, and go on after a failure", async () => {
    const calls: number[] = [];
    const core = await openWith(
      fakeAddon({
        detachEndpoints: async (keys) => {
          calls.push(keys.length);
          if (calls.length === 1)
            throw wireError({ kind: "system", message: "no memory", syscall: "netlink", errno: 12 });
        },
      }),
      config,
    );
    const outcomes = Array.from({ length: 100 }, (_, id) => core.detachEndpoint({ vni: 1, id }));
    expect((await Promise.allSettled(outcomes)).map(({ status }) => status)).toEqual(
      Array.from({ length: 100 }, (_, index) => (index < 64 ? "rejected" : "fulfilled")),
    );
    expect(calls).toEqual([64, 36]);
  });
});

describe("loading the addon", () => {
  test("says how to build it when it is missing", () => {
    const missing = Object.assign(new Error("Cannot find module '@slimfast/core/slimfast.node'"), {
      code: "MODULE_NOT_FOUND",
    });
    expect(() =>
      loadNative(() => {
        throw missing;
      }),
    ).toThrow(/is not built: run \.\/slimfast build/);
  });

  test("keeps the reason when it cannot be loaded", () => {
    expect(() =>
      loadNative(() => {
        throw new Error("GLIBC_2.39 not found");
      }),
    ).toThrow(/GLIBC_2\.39 not found: run \.\/slimfast build/);
  });

  test("refuses an addon that lacks a function", () => {
    expect(() => loadNative(() => ({ open() {}, probe() {} }))).toThrow(/of another version/);
  });
});
