/** The compiler: what the kernel makes of its output is what the policies mean. */
import type { NetworkPolicy } from "@slimfast/core";
import {
  type Endpoint,
  evaluatePolicies,
  type Policy,
  PolicyAction,
  Policy as PolicyMessage,
  Verdict,
} from "@slimfast/proto";
import { describe, expect, it } from "vitest";
import { endpoint, network } from "../testing/samples.js";
import { NetworkCompiler, type NetworkView } from "./compile.js";
import { difference, portsOf, union } from "./port-ranges.js";
import { tableOf } from "./table.js";

const { POLICY_ACTION_ALLOW: ALLOW, POLICY_ACTION_DENY: DENY } = PolicyAction;

function policy(
  name: string,
  action: PolicyAction,
  more: Parameters<typeof PolicyMessage.fromPartial>[0] = {},
): Policy {
  return PolicyMessage.fromPartial({ network: "blue", from: [{}], to: [{}], ...more, name, action });
}

function view(defaultDeny: boolean, policies: readonly Policy[], endpoints: readonly Endpoint[]): NetworkView {
  return { network: network("blue", 7, { defaultDeny }), policies, endpoints };
}

/** Compiles as the agent does when the core takes everything. */
function enforce(compiler: NetworkCompiler, wanted: NetworkView): NetworkPolicy | undefined {
  const compiled = compiler.compile(wanted);
  if (compiled) compiler.accept(compiled);
  return compiled?.policy;
}

/** As bpf/policy.bpf.h decides. */
function isAllowed(policy: NetworkPolicy | undefined, from: number, to: number, port: number): boolean {
  if (!policy || from === to) return true;
  const identityOf = (id: number) => policy.identities.find(({ endpointId }) => endpointId === id)?.identity;
  const [source, target] = [identityOf(from), identityOf(to)];
  if (source === undefined || target === undefined) return false;
  const verdict = policy.verdicts.find(
    (one) => one.from === source && one.to === target && port >= one.portFirst && port <= one.portLast,
  );
  return verdict?.isAllowed ?? !policy.isDefaultDeny;
}

describe("what costs nothing", () => {
  const endpoints = [endpoint("a", 1), endpoint("b", 2)];

  it("a network without policies, and one whose policies only allow what is allowed anyway", () => {
    expect(enforce(new NetworkCompiler("node-1"), view(false, [], endpoints))).toBeUndefined();
    expect(enforce(new NetworkCompiler("node-1"), view(false, [policy("p", ALLOW)], endpoints))).toBeUndefined();
  });

  it("pairs that this node has nothing to do with", () => {
    const elsewhere = [endpoint("c", 3, { node: "node-2" }), endpoint("d", 4, { node: "node-3" })];
    const toD = policy("p", DENY, { from: [{ endpoint: "c" }], to: [{ endpoint: "d" }] });
    expect(enforce(new NetworkCompiler("node-1"), view(false, [toD], [...endpoints, ...elsewhere]))?.verdicts).toEqual(
      [],
    );
    expect(enforce(new NetworkCompiler("node-2"), view(false, [toD], elsewhere))?.verdicts).toHaveLength(1);
    expect(enforce(new NetworkCompiler("node-3"), view(false, [toD], elsewhere))?.verdicts).toHaveLength(1);
  });

  it("all ports, which are one range", () => {
    const { verdicts } =
      enforce(new NetworkCompiler("node-1"), view(true, [policy("p", ALLOW)], endpoints)) ?? expect.fail();
    expect(verdicts).toEqual([{ from: 1, to: 1, portFirst: 0, portLast: 65_535, isAllowed: true }]);
  });
});

describe("identities", () => {
  const web = (name: string, id: number) => endpoint(name, id, { labels: { app: "web" } });

  it("are shared by all whom the policies treat alike, and every endpoint has one", () => {
    const endpoints = [web("a", 1), web("b", 2), endpoint("c", 3), endpoint("d", 4)];
    const toWeb = policy("p", DENY, { to: [{ labels: { app: "web" } }] });
    const { identities } = enforce(new NetworkCompiler("node-1"), view(false, [toWeb], endpoints)) ?? expect.fail();
    expect(identities).toEqual([
      { endpointId: 1, identity: 1 },
      { endpointId: 2, identity: 1 },
      { endpointId: 3, identity: 2 },
      { endpointId: 4, identity: 2 },
    ]);
  });

  it("keep their numbers while others come and go, and a number that was given up is not taken in the same step", () => {
    const compiler = new NetworkCompiler("node-1");
    const toWeb = policy("p", DENY, { to: [{ labels: { app: "web" } }] });
    const toC = policy("q", DENY, { to: [{ endpoint: "c" }] });
    enforce(compiler, view(false, [toWeb], [web("a", 1), endpoint("b", 2)]));
    const more = enforce(compiler, view(false, [toWeb, toC], [web("a", 1), endpoint("c", 3)])) ?? expect.fail();
    // b's signature, 2, is gone: everybody connects under q, too.
    expect(more.identities.every(({ identity }) => identity > 2)).toBe(true);
    const again = enforce(compiler, view(false, [toC, toWeb], [endpoint("c", 3), web("e", 5), web("a", 1)]));
    expect(again?.identities.slice(0, 2)).toEqual(more.identities);
    expect(again?.identities[2]?.identity).toBe(more.identities[0]?.identity);
  });

  it("that the core has refused are not known to it: they take no meaning from those in use", () => {
    const compiler = new NetworkCompiler("node-1");
    const toWeb = policy("p", DENY, { to: [{ labels: { app: "web" } }] });
    const before = enforce(compiler, view(false, [toWeb], [web("a", 1)]))?.identities[0]?.identity;
    compiler.compile(view(false, [policy("other", DENY)], [web("a", 1)]));
    const after = compiler.compile(view(false, [policy("third", DENY)], [web("a", 1)]))?.policy.identities[0]?.identity;
    expect(after).not.toBe(before);
  });
});

describe("ranges of ports", () => {
  it("are merged, cut and never overlap", () => {
    const ranges = [
      { first: 90, last: 99 },
      { first: 80, last: 85 },
      { first: 86, last: 88 },
      { first: 95, last: 120 },
    ];
    expect(union(ranges)).toEqual([
      { first: 80, last: 88 },
      { first: 90, last: 120 },
    ]);
    expect(difference(union(ranges), [{ first: 82, last: 100 }])).toEqual([
      { first: 80, last: 81 },
      { first: 101, last: 120 },
    ]);
    expect(difference(portsOf([]), portsOf([]))).toEqual([]);
    expect(portsOf([{ first: 65_535, count: 1 }])).toEqual([{ first: 65_535, last: 65_535 }]);
  });
});

/** The same numbers in every run, so that a failure can be looked into. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A network with `size` endpoints on three nodes and `count` policies that meet often. */
function randomView(random: (below: number) => number, size: number, count: number): NetworkView {
  const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
  const some = <T>(least: number, most: number, make: () => T) =>
    Array.from({ length: least + random(most - least + 1) }, make);
  const endpoints = Array.from({ length: size }, (_, index) =>
    endpoint(`e${index}`, index + 1, {
      node: pick(["node-1", "node-2", "node-3"]),
      address: `10.32.${random(3)}.${index + 1}`,
      address6: pick(["", `fd00:32::${random(3)}:${(index + 1).toString(16)}`]),
      labels: Object.fromEntries(["x", "y"].filter(() => random(2) === 0).map((key) => [key, pick(["1", "2"])])),
    }),
  );
  const selector = () => ({
    endpoint: pick(["", "", "", "e0", "e1"]),
    prefix: pick(["", "", "10.32.0.0/24", "10.32.0.0/23", "fd00:32::/112", "fd00:32::/111"]),
    labels: pick([{}, { x: "1" }, { y: "2" }, { x: "1", y: "2" }]),
  });
  const policies = Array.from({ length: count }, (_, index) =>
    policy(`p${index}`, pick([ALLOW, DENY]), {
      from: some(1, 2, selector),
      to: some(1, 2, selector),
      ports: some(0, 3, () => ({ first: pick([1, 2, 5, 100, 65_530]), count: 1 + random(6) })),
    }),
  );
  return view(random(2) === 0, policies, endpoints);
}

const PORTS = [1, 2, 3, 5, 6, 7, 10, 99, 100, 103, 106, 65_529, 65_530, 65_535];

describe("for random networks", () => {
  it("what is compiled says what the policies mean, on both ends of every connection; step by step", () => {
    const random = randomNumbers(7);
    const compilers = ["node-1", "node-2", "node-3"].map((name) => ({ name, compiler: new NetworkCompiler(name) }));
    let denied = 0;
    let asked = 0;
    for (let round = 0; round < 150; round += 1) {
      const wanted = randomView(random, 8, random(7));
      const enforced = new Map(compilers.map(({ name, compiler }) => [name, enforce(compiler, wanted)]));
      for (const from of wanted.endpoints) {
        for (const to of wanted.endpoints) {
          for (const port of PORTS) {
            const { verdict } = evaluatePolicies(wanted.network, wanted.policies, from, to, port);
            asked += 1;
            if (verdict === Verdict.VERDICT_DENIED) denied += 1;
            for (const node of [from.node, to.node]) {
              const says = isAllowed(enforced.get(node), from.id, to.id, port);
              if (says !== (verdict === Verdict.VERDICT_ALLOWED)) {
                expect.fail(`round ${round}, on ${node}: ${from.name} to ${to.name}:${port}`);
              }
            }
          }
        }
      }
    }
    expect(Math.min(denied, asked - denied)).toBeGreaterThan(asked / 10);
  });

  it("ranges of one pair do not overlap, and identities that stay keep their meaning", () => {
    const random = randomNumbers(8);
    const compiler = new NetworkCompiler("node-1");
    for (let round = 0; round < 200; round += 1) {
      const policy = enforce(compiler, randomView(random, 12, 1 + random(7)));
      const pairs = new Map<string, { portFirst: number; portLast: number }[]>();
      for (const one of policy?.verdicts ?? []) {
        const key = `${one.from}:${one.to}`;
        pairs.set(key, [...(pairs.get(key) ?? []), one]);
      }
      for (const ranges of pairs.values()) {
        ranges.sort((left, right) => left.portFirst - right.portFirst);
        for (const [index, range] of ranges.slice(1).entries()) {
          expect(range.portFirst).toBeGreaterThan(ranges[index]?.portLast ?? -1);
        }
      }
    }
  });

  it("the table decides as the evaluator does, and names the same policy", () => {
    const random = randomNumbers(9);
    for (let round = 0; round < 100; round += 1) {
      const { network: of, policies, endpoints } = randomView(random, 6, random(50));
      const table = tableOf(policies);
      for (const from of endpoints) {
        for (const to of endpoints) {
          for (const port of PORTS) {
            expect(table.decide(of.defaultDeny, from, to, port)).toEqual(
              evaluatePolicies(of, policies, from, to, port),
            );
          }
        }
      }
    }
  });

  it("a thousand endpoints and a hundred policies are compiled, and compiled again after a change", () => {
    const compiler = new NetworkCompiler("node-1");
    const wanted = randomView(randomNumbers(10), 1_000, 100);
    const first = enforce(compiler, wanted) ?? expect.fail();
    expect(first.identities).toHaveLength(1_000);
    const [gone] = wanted.endpoints;
    const second = enforce(compiler, { ...wanted, endpoints: wanted.endpoints.slice(1) }) ?? expect.fail();
    expect(second.identities).toEqual(first.identities.filter(({ endpointId }) => endpointId !== gone?.id));
  });
});
