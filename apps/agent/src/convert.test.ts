import { ConnectionEventKind, Direction, Policy, PolicyAction, Tier, Verdict } from "@slimfast/proto";
import { beforeEach, describe, expect, it } from "vitest";
import { ClusterState } from "./cluster-state.js";
import { Converter } from "./convert.js";
import { connectionEvent, connectionState, endpoint, network, removedEndpoint } from "./testing/samples.js";

let state: ClusterState;
let convert: Converter;

function apply(update: Parameters<ClusterState["plan"]>[0]): void {
  for (const step of state.plan(update).steps) step.commit();
}

beforeEach(() => {
  state = new ClusterState();
  convert = new Converter("node-1", state);
  const endpoints = [endpoint("web", 1), endpoint("db", 2, { node: "node-2" })];
  apply({ revision: 0n, nodes: [], networks: [network("blue", 7)], endpoints, policies: [], removed: [] });
});

describe("a connection", () => {
  it("keeps every number, and gets names", () => {
    expect(convert.connection(connectionState())).toEqual({
      cookie: 2n ** 63n,
      node: "node-1",
      network: "blue",
      endpoint: "web",
      direction: Direction.DIRECTION_OUTBOUND,
      local: { address: "10.32.0.2", port: 40_000 },
      peer: { address: "10.32.0.3", port: 80 },
      underlayLocal: { address: "10.200.0.1", port: 40_001 },
      underlayPeer: { address: "10.200.0.2", port: 7_000 },
      peerEndpoint: "db",
      tier: Tier.TIER_NOTIFY,
      state: "ESTABLISHED",
      bytesSent: 2n ** 40n,
      bytesReceived: 7n,
      rttUs: 50,
      durationUs: 1_000_000n,
      setupUs: 60,
      verdict: Verdict.VERDICT_ALLOWED,
      policy: "",
    });
  });

  it("has its own endpoint as the peer on loopback, whoever has the address", () => {
    for (const address of ["127.0.0.1", "::1"]) {
      const peer = { address, port: 80 };
      expect(convert.connection(connectionState({ peer })).peerEndpoint).toBe("web");
    }
  });

  it("knows its peer by the IPv6 address, and what the policies say of it", () => {
    const six = endpoint("six", 3, { node: "node-2", address6: "fd00:32::3" });
    const deny = Policy.fromPartial({
      name: "deny-six",
      network: "blue",
      action: PolicyAction.POLICY_ACTION_DENY,
      from: [{}],
      to: [{ prefix: "fd00:32::/64" }],
    });
    apply({ revision: 0n, nodes: [], networks: [], endpoints: [six], policies: [deny], removed: [] });
    const peer = { address: "fd00:32::3", port: 80 };
    expect(convert.connection(connectionState({ peer }))).toMatchObject({
      ...{ peer, peerEndpoint: "six", verdict: Verdict.VERDICT_DENIED, policy: "deny-six" },
    });
  });

  it("has no peer endpoint outside the overlay", () => {
    expect(convert.connection(connectionState({ peer: { address: "192.0.2.1", port: 443 } })).peerEndpoint).toBe("");
  });

  it("may be inbound, or of the other tier", () => {
    expect(convert.connection(connectionState({ direction: "inbound", tier: "preload" }))).toMatchObject({
      direction: Direction.DIRECTION_INBOUND,
      tier: Tier.TIER_PRELOAD,
    });
  });

  it("is still named after its endpoint has gone, and by numbers if nobody ever knew it", () => {
    apply({
      revision: 0n,
      nodes: [],
      networks: [],
      endpoints: [],
      policies: [],
      removed: [removedEndpoint("blue/web")],
    });
    expect(convert.connection(connectionState())).toMatchObject({ network: "blue", endpoint: "web" });
    expect(convert.connection(connectionState({ endpointId: 99 }))).toMatchObject({
      network: "vni-7",
      endpoint: "id-99",
    });
  });
});

describe("what the policies say", () => {
  const policy = (more: Parameters<typeof Policy.fromPartial>[0]) =>
    Policy.fromPartial({ network: "blue", action: PolicyAction.POLICY_ACTION_DENY, from: [{}], to: [{}], ...more });
  const decisionOf = (more: Parameters<typeof connectionState>[0]) => {
    const { verdict, policy: name } = convert.connection(connectionState(more));
    return [verdict, name];
  };
  const denyDb = policy({ name: "no-db", to: [{ endpoint: "db" }], ports: [{ first: 80, count: 1 }] });
  const apart = { revision: 0n, nodes: [], networks: [], endpoints: [], removed: [] };

  it("is filled in, with the policy that decided, seen from either end", () => {
    apply({ ...apart, policies: [denyDb] });
    expect(decisionOf({})).toEqual([Verdict.VERDICT_DENIED, "no-db"]);
    expect(decisionOf({ peer: { address: "10.32.0.3", port: 81 } })).toEqual([Verdict.VERDICT_ALLOWED, ""]);
    const inbound = { direction: "inbound", local: { address: "10.32.0.2", port: 80 } } as const;
    expect(decisionOf({ ...inbound, peer: { address: "10.32.0.3", port: 80 } })).toEqual([Verdict.VERDICT_ALLOWED, ""]);
    const toDb = { address: "10.32.0.3", port: 80 };
    const atDb = { direction: "inbound", endpointId: 2, local: toDb, peer: { address: "10.32.0.2", port: 4 } } as const;
    expect(decisionOf(atDb)).toEqual([Verdict.VERDICT_DENIED, "no-db"]);
  });

  it("is nothing about the world outside and an endpoint's own loopback", () => {
    apply({ ...apart, policies: [denyDb] });
    for (const address of ["192.0.2.1", "127.0.0.1", "::1"]) {
      expect(decisionOf({ peer: { address, port: 80 } })).toEqual([Verdict.VERDICT_UNSPECIFIED, ""]);
    }
  });

  it("is what the kernel has said where it refused", () => {
    const event = convert.event(connectionEvent({ kind: "refused", error: "EPERM" }));
    expect(event.connection).toMatchObject({ verdict: Verdict.VERDICT_DENIED, policy: "" });
    apply({ ...apart, policies: [denyDb] });
    const known = convert.event(connectionEvent({ kind: "refused", error: "EPERM" }));
    expect(known.connection).toMatchObject({ verdict: Verdict.VERDICT_DENIED, policy: "no-db" });
  });
});

describe("an event", () => {
  it.each([
    ["opened", ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED],
    ["accepted", ConnectionEventKind.CONNECTION_EVENT_KIND_ACCEPTED],
    ["closed", ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED],
    ["refused", ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED],
  ] as const)("%s keeps its kind, with the time in milliseconds", (kind, expected) => {
    const event = convert.event(connectionEvent({ kind }));
    expect(event).toMatchObject({ kind: expected, time: new Date(1_700_000_000_123), error: "" });
  });

  it("says which error the program got", () => {
    expect(convert.event(connectionEvent({ kind: "refused", error: "EHOSTUNREACH" })).error).toBe("EHOSTUNREACH");
  });
});

it("converts a listener", () => {
  const local = { address: "0.0.0.0", port: 80 };
  expect(convert.listener({ cookie: 3n, vni: 7, endpointId: 1, local, v6Only: false })).toEqual({
    node: "node-1",
    network: "blue",
    endpoint: "web",
    local,
    v6Only: false,
    cookie: 3n,
  });
});
