import type { StateChange } from "@slimfast/core";
import { ResourceKind } from "@slimfast/proto";
import { beforeEach, describe, expect, it } from "vitest";
import { ClusterState, isEmptyChange, type PlannedStep, type StateUpdate } from "./cluster-state.js";
import { endpoint, network, node, removedEndpoint, removedNetwork, removedNode } from "./testing/samples.js";

const NOTHING: StateUpdate = { revision: 0n, nodes: [], networks: [], endpoints: [], policies: [], removed: [] };

let state: ClusterState;

beforeEach(() => {
  state = new ClusterState();
});

function plan(update: Partial<StateUpdate>): PlannedStep[] {
  return state.plan({ ...NOTHING, ...update }).steps;
}

/** Plans, commits as if the core had taken it, and returns the changes without their empty lists. */
function apply(update: Partial<StateUpdate>): Partial<StateChange>[] {
  return plan(update).map(({ change, commit }) => {
    commit();
    return Object.fromEntries(Object.entries(change).filter(([, list]) => list.length > 0));
  });
}

const known = () => state.known().map(({ kind, name, revision }) => [kind, name, revision]);

describe("an endpoint that is another one under the same id, as after the loss of a store", () => {
  it.each([
    ["on another node", { node: "node-2" }],
    ["at another address", { address: "10.32.0.77" }],
    ["at another IPv6 address", { address6: "fd00:32::77" }],
    ["made at another time", { createTime: new Date(5) }],
  ])("%s: the former one goes first", (_what, difference) => {
    apply({ networks: [network("blue", 7)], endpoints: [endpoint("web", 1)] });
    const next = endpoint("web", 1, difference);
    expect(apply({ endpoints: [next] })).toMatchObject([
      { removedEndpoints: [{ vni: 7, id: 1 }] },
      { endpoints: [{ vni: 7, id: 1, address: next.address, node: next.node, isPlain: false }] },
    ]);
  });
});

describe("what comes", () => {
  it("is handed to the core, and known once that has taken it", () => {
    const steps = plan({
      nodes: [node("node-1", { revision: 3n })],
      networks: [network("blue", 7, { revision: 4n })],
      endpoints: [endpoint("web", 1, { revision: 5n })],
    });
    expect(steps.map(({ change }) => change)).toEqual([
      {
        nodes: [{ name: "node-1", underlayAddress: "10.200.0.1", frontPortFirst: 7000, frontPortCount: 16 }],
        networks: [{ vni: 7, prefix: "10.32.0.0/16", prefix6: null, egress: [] }],
        endpoints: [{ vni: 7, id: 1, address: "10.32.0.2", address6: null, node: "node-1", isPlain: false }],
        removedEndpoints: [],
        removedNetworks: [],
        removedNodes: [],
        nodeAddresses: [],
        removedNodeAddresses: [],
      },
    ]);
    expect(known()).toEqual([]);
    expect(state.endpointById(7, 1)).toBeUndefined();
    for (const { commit } of steps) commit();
    expect(known()).toEqual([
      [ResourceKind.RESOURCE_KIND_NODE, "node-1", 3n],
      [ResourceKind.RESOURCE_KIND_NETWORK, "blue", 4n],
      [ResourceKind.RESOURCE_KIND_ENDPOINT, "blue/web", 5n],
    ]);
    expect(state.node("node-1")?.revision).toBe(3n);
    expect(state.endpoint("blue", "web")?.id).toBe(1);
    expect(state.endpointById(7, 1)?.name).toBe("web");
    expect(state.endpointByAddress(7, "10.32.0.2")?.name).toBe("web");
  });

  it("is remembered but not handed on if the core would not notice the difference", () => {
    apply({ nodes: [node("node-1")], networks: [network("blue", 7)], endpoints: [endpoint("web", 1)] });
    const again = {
      nodes: [node("node-1", { revision: 9n, connected: true })],
      networks: [network("blue", 7, { revision: 9n })],
      endpoints: [endpoint("web", 1, { revision: 9n, labels: { app: "web" } })],
    };
    expect(apply(again)).toEqual([{}]);
    expect(known().map(([, , revision]) => revision)).toEqual([9n, 9n, 9n]);
  });

  it("is handed on where it changed", () => {
    apply({ nodes: [node("node-1")], networks: [network("blue", 7)], endpoints: [endpoint("web", 1)] });
    const moved = { underlayAddress: "10.200.0.9" };
    expect(apply({ nodes: [node("node-1", moved)] })).toMatchObject([{ nodes: [moved] }]);
    const wider = { prefix: "10.32.0.0/12" };
    expect(apply({ networks: [network("blue", 7, wider)] })).toEqual([
      { networks: [{ vni: 7, ...wider, prefix6: null, egress: [] }] },
    ]);
    const open = { ...wider, egress: ["192.0.2.0/24"], prefix6: "fd00:32::/64" };
    expect(apply({ networks: [network("blue", 7, open)] })).toEqual([{ networks: [{ vni: 7, ...open }] }]);
  });

  it("must be complete", () => {
    for (const wrong of [
      { nodes: [node("node-1", { frontPorts: undefined })] },
      { networks: [network("blue", 0)] },
      { endpoints: [endpoint("web", 0)] },
      { endpoints: [endpoint("web", 1, { vni: 0 })] },
    ]) {
      expect(() => plan(wrong)).toThrow(expect.objectContaining({ code: "invalid_argument" }));
    }
    expect(known()).toEqual([]);
  });
});

describe("what goes", () => {
  beforeEach(() => {
    const nodes = [node("node-1"), node("node-2")];
    apply({ nodes, networks: [network("blue", 7)], endpoints: [endpoint("web", 1), endpoint("db", 2)] });
  });

  it("is taken from the core and forgotten, but for the names of endpoints", () => {
    const removed = [
      removedNode("node-2"),
      removedNetwork("blue"),
      removedEndpoint("blue/web"),
      removedEndpoint("blue/db"),
    ];
    expect(apply({ removed })).toEqual([
      {
        removedNodes: ["node-2"],
        removedNetworks: [7],
        removedEndpoints: [
          { vni: 7, id: 1 },
          { vni: 7, id: 2 },
        ],
      },
    ]);
    expect(known().map(([, name]) => name)).toEqual(["node-1"]);
    expect(state.endpointByAddress(7, "10.32.0.2")).toBeUndefined();
    expect(state.endpoint("blue", "web")).toBeUndefined();
    expect(state.endpointById(7, 1)?.name).toBe("web");
  });

  it("may be unknown, or of a kind of a later version", () => {
    const later = { kind: 99 as ResourceKind, name: "node-1", revision: 0n };
    const [change] = apply({ removed: [removedNode("x"), removedNetwork("x"), removedEndpoint("x/y"), later] });
    expect(change).toEqual({});
    expect(known()).toHaveLength(5);
  });

  it("takes the endpoints of a network along", () => {
    expect(apply({ removed: [removedNetwork("blue")] })).toMatchObject([
      { removedNetworks: [7], removedEndpoints: [{ id: 1 }, { id: 2 }] },
    ]);
    expect(known().map(([, name]) => name)).toEqual(["node-1", "node-2"]);
  });

  it("keeps the names of departed endpoints in limited number", () => {
    for (let id = 10; id < 1_200; id += 1) {
      apply({ endpoints: [endpoint("job", id, { address: "10.32.7.7" })] });
    }
    apply({ removed: [removedEndpoint("blue/job")] });
    expect(state.endpointById(7, 10)).toBeUndefined();
    expect(state.endpointById(7, 1_199)?.name).toBe("job");
    expect(state.endpointById(7, 300)?.name).toBe("job");
  });
});

describe("the addresses of all nodes", () => {
  const told = (isComplete: boolean, added: number[], removed: number[] = []) => ({
    nodeAddresses: { isComplete, added, removed },
  });

  it("are the core's as far as it lacks them, and those that it should not have go", () => {
    expect(apply(told(true, [0x0ac80001, 0xfffffffe]))).toEqual([{ nodeAddresses: ["10.200.0.1", "255.255.255.254"] }]);
    expect(apply(told(false, [0x0ac80001, 0x0ac80002]))).toEqual([{ nodeAddresses: ["10.200.0.2"] }]);
    expect(apply(told(false, [], [0xfffffffe, 7]))).toEqual([{ removedNodeAddresses: ["255.255.255.254"] }]);
    expect(apply({})).toEqual([{}]);
    expect(apply(told(true, [0x0ac80003, 0x0ac80002]))).toEqual([
      { nodeAddresses: ["10.200.0.3"], removedNodeAddresses: ["10.200.0.1"] },
    ]);
    expect(apply(told(true, []))).toEqual([{ removedNodeAddresses: ["10.200.0.2", "10.200.0.3"] }]);
  });

  it("are not held before the core has taken them", () => {
    plan(told(true, [1]));
    expect(apply(told(true, [1]))).toEqual([{ nodeAddresses: ["0.0.0.1"] }]);
  });
});

describe("what changes hands", () => {
  beforeEach(() => {
    apply({ networks: [network("blue", 7)], endpoints: [endpoint("web", 1), endpoint("db", 2)] });
  });

  it("is taken away first when an address passes to a new endpoint", () => {
    const steps = plan({
      endpoints: [endpoint("new", 3, { address: "10.32.0.2" })],
      removed: [removedEndpoint("blue/web"), removedEndpoint("blue/db")],
    });
    expect(steps.map(({ change }) => [change.removedEndpoints, change.endpoints.map(({ id }) => id)])).toEqual([
      [[{ vni: 7, id: 1 }], []],
      [[{ vni: 7, id: 2 }], [3]],
    ]);
    steps[0]?.commit();
    // Should the second step be refused, this is what is known.
    expect(known().map(([, name]) => name)).toEqual(["blue", "blue/db"]);
    steps[1]?.commit();
    expect(known().map(([, name]) => name)).toEqual(["blue", "blue/new"]);
    expect(state.endpointByAddress(7, "10.32.0.2")?.name).toBe("new");
  });

  it("is taken away first when an IPv6 address passes to a new endpoint", () => {
    const six = { address: "", address6: "fd00:32::2" };
    apply({ endpoints: [endpoint("six", 3, six)] });
    expect(state.endpointByAddress(7, "fd00:32::2")?.name).toBe("six");
    // What has no address of a family stands in nobody's way there.
    expect(state.endpointByAddress(7, "")).toBeUndefined();
    const changes = apply({ endpoints: [endpoint("new", 4, six)], removed: [removedEndpoint("blue/six")] });
    expect(changes).toMatchObject([{ removedEndpoints: [{ vni: 7, id: 3 }] }, { endpoints: [{ vni: 7, id: 4 }] }]);
    expect(state.endpointByAddress(7, "fd00:32::2")?.name).toBe("new");
  });

  it("is removed and added when a name is deleted and made anew", () => {
    const changes = apply({ endpoints: [endpoint("web", 3)], removed: [removedEndpoint("blue/web")] });
    expect(changes).toEqual([
      {
        endpoints: [{ vni: 7, id: 3, address: "10.32.0.4", address6: null, node: "node-1", isPlain: false }],
        removedEndpoints: [{ vni: 7, id: 1 }],
      },
    ]);
    expect(state.endpoint("blue", "web")?.id).toBe(3);
    expect(state.endpointById(7, 1)?.id).toBe(1);
  });

  it("swaps addresses of living endpoints", () => {
    apply({ endpoints: [endpoint("web", 1, { address: "10.32.0.3" }), endpoint("db", 2, { address: "10.32.0.2" })] });
    expect(state.endpointByAddress(7, "10.32.0.3")?.name).toBe("web");
    expect(state.endpointByAddress(7, "10.32.0.2")?.name).toBe("db");
  });

  it("moves a network to another VNI, without endpoints of the old one", () => {
    const changes = apply({ networks: [network("blue", 8)], endpoints: [endpoint("web", 9, { vni: 8 })] });
    expect(changes).toMatchObject([
      {
        networks: [{ vni: 8 }],
        removedNetworks: [7],
        endpoints: [{ vni: 8, id: 9 }],
        removedEndpoints: expect.arrayContaining([
          { vni: 7, id: 1 },
          { vni: 7, id: 2 },
        ]),
      },
    ]);
    expect(known().map(([, name]) => name)).toEqual(["blue", "blue/web"]);
  });

  it("keeps a VNI in the core that passes from one network to another", () => {
    const changes = apply({ networks: [network("green", 7)], removed: [removedNetwork("blue")] });
    expect(changes.flatMap(({ removedNetworks = [] }) => removedNetworks)).toEqual([]);
    expect(changes.at(-1)?.networks ?? [{ vni: 7 }]).toMatchObject([{ vni: 7 }]);
    expect(state.endpoint("blue", "web")).toBeUndefined();
  });
});

it("keeps networks with the same addresses apart", () => {
  apply({
    networks: [network("blue", 7), network("green", 8)],
    endpoints: [endpoint("web", 1), endpoint("db", 1, { network: "green", vni: 8 })],
  });
  expect(state.endpointByAddress(7, "10.32.0.2")?.name).toBe("web");
  expect(state.endpointByAddress(8, "10.32.0.2")?.name).toBe("db");
  expect(state.endpointById(8, 1)?.network).toBe("green");
});

it("tells an empty change", () => {
  const [step] = plan({});
  expect(step && isEmptyChange(step.change)).toBe(true);
  const [other] = plan({ nodes: [node("node-1")] });
  expect(other && isEmptyChange(other.change)).toBe(false);
});
