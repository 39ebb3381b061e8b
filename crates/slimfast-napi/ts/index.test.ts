import { describe, expect, test } from "vitest";
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
        detachEndpoint: () => {
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
        counters: () => {
          throw wireError({ kind: "closed", message: "the node is closed" });
        },
      }),
      config,
    );
    expect(() => core.counters()).toThrow(CoreError);
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
    };
    await core.applyState(change);
    expect(seen).toEqual([change]);
  });
});

describe("loading the addon", () => {
  test("says how to build it when it is missing", () => {
    const missing = Object.assign(new Error("Cannot find module '../slimfast.node'"), { code: "MODULE_NOT_FOUND" });
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
