import { describe, expect, it } from "vitest";
import { Policy, PolicyAction, Verdict } from "./generated/slimfast/v1/resources.js";
import {
  coversPort,
  type DecidingPolicy,
  endpointMatcher,
  evaluatePolicies,
  type SelectableEndpoint,
} from "./policy.js";

const { POLICY_ACTION_ALLOW: ALLOW, POLICY_ACTION_DENY: DENY } = PolicyAction;
const { VERDICT_ALLOWED: ALLOWED, VERDICT_DENIED: DENIED } = Verdict;

const OPEN = { name: "blue", defaultDeny: false };
const CLOSED = { name: "blue", defaultDeny: true };
const EVERYONE = [{}];

const web: SelectableEndpoint = { name: "web", address: "10.32.0.2", labels: { app: "web", tier: "front" } };
const db: SelectableEndpoint = { name: "db", address: "10.32.1.3", labels: { app: "db" } };

function policy(
  name: string,
  action: PolicyAction,
  more: Parameters<typeof Policy.fromPartial>[0] = {},
): DecidingPolicy {
  return Policy.fromPartial({ network: "blue", from: EVERYONE, to: EVERYONE, ...more, name, action });
}

function matches(selector: Parameters<typeof Policy.fromPartial>[0]["from"], endpoint: SelectableEndpoint): boolean {
  return endpointMatcher(Policy.fromPartial({ from: selector ?? [] }).from)(endpoint);
}

describe("a selector", () => {
  it("that is empty means every endpoint, and no selector none", () => {
    expect(matches([{}], web)).toBe(true);
    expect(matches([], web)).toBe(false);
  });

  it("needs all of its labels with their values", () => {
    expect(matches([{ labels: { app: "web" } }], web)).toBe(true);
    expect(matches([{ labels: { app: "web", tier: "front" } }], web)).toBe(true);
    expect(matches([{ labels: { app: "web", tier: "back" } }], web)).toBe(false);
    expect(matches([{ labels: { app: "web", zone: "" } }], web)).toBe(false);
    expect(matches([{ labels: { zone: "" } }], { ...web, labels: { zone: "" } })).toBe(true);
  });

  it("does not take what every object has for a label", () => {
    expect(matches([{ labels: { constructor: "x" } }], web)).toBe(false);
    expect(matches([{ labels: { toString: "" } }], { ...web, labels: {} })).toBe(false);
  });

  it("looks at the address by prefix", () => {
    expect(matches([{ prefix: "10.32.0.0/24" }], web)).toBe(true);
    expect(matches([{ prefix: "10.32.0.0/24" }], db)).toBe(false);
    expect(matches([{ prefix: "10.32.0.2/32" }], web)).toBe(true);
    expect(matches([{ prefix: "10.32.0.3/32" }], web)).toBe(false);
    expect(matches([{ prefix: "0.0.0.0/0" }], web)).toBe(true);
    expect(matches([{ prefix: "128.0.0.0/1" }], { ...web, address: "255.255.255.255" })).toBe(true);
    expect(matches([{ prefix: "128.0.0.0/1" }], { ...web, address: "127.255.255.255" })).toBe(false);
    // Bits beyond the length do not count.
    expect(matches([{ prefix: "10.32.0.77/24" }], web)).toBe(true);
  });

  it("matches no address that is none", () => {
    expect(matches([{ prefix: "0.0.0.0/0" }], { ...web, address: "" })).toBe(false);
    expect(matches([{ prefix: "0.0.0.0/0" }], { ...web, address: "10.32.0" })).toBe(false);
    expect(matches([{ prefix: "0.0.0.0/0" }], { ...web, address: "10.32.0.256" })).toBe(false);
  });

  it("looks at the name", () => {
    expect(matches([{ endpoint: "web" }], web)).toBe(true);
    expect(matches([{ endpoint: "we" }], web)).toBe(false);
  });

  it("needs all that it says, and any of several selectors is enough", () => {
    expect(matches([{ endpoint: "web", prefix: "10.32.1.0/24" }], web)).toBe(false);
    expect(matches([{ endpoint: "web", prefix: "10.32.0.0/24", labels: { app: "web" } }], web)).toBe(true);
    expect(matches([{ endpoint: "db" }, { labels: { tier: "front" } }], web)).toBe(true);
  });

  it("looks at the address of the prefix's family", () => {
    const both = { ...web, address6: "fd00:32::2" };
    expect(matches([{ prefix: "fd00:32::/64" }], both)).toBe(true);
    expect(matches([{ prefix: "fd00:32::/127" }], both)).toBe(false);
    expect(matches([{ prefix: "FD00:32:0::3/126" }], both)).toBe(true);
    expect(matches([{ prefix: "10.32.0.2/32" }], both)).toBe(true);
    expect(matches([{ prefix: "::/0" }], both)).toBe(true);
    // Who has no such address is not meant, however wide the prefix.
    expect(matches([{ prefix: "::/0" }], web)).toBe(false);
    expect(matches([{ prefix: "::/0" }], { ...web, address6: "" })).toBe(false);
    expect(matches([{ prefix: "0.0.0.0/0" }], { ...both, address: "" })).toBe(false);
    // A prefix of IPv4-mapped addresses means IPv6 addresses, not IPv4 ones.
    expect(matches([{ prefix: "::ffff:10.32.0.0/112" }], both)).toBe(false);
  });

  it.each([
    "10.32.0.0",
    "10.32.0.0/",
    "10.32.0.0/33",
    "10.32.0.0/-1",
    "10.32.0.0/1e1",
    "10.32.0/24",
    "10.32.0.0.0/24",
    "10.32.00.0/24",
    "10.32.0.256/24",
    "10.32.0.0/24/24",
    "::ffff:10.32.0.0.0/96",
    " 10.32.0.0/24",
    "fd00::/129",
    "fd00::",
    "fd00:/8",
  ])("is not opened by the malformed prefix %j", (prefix) => {
    expect(() => matches([{ prefix }], web)).toThrow(RangeError);
  });
});

describe("ports", () => {
  it("are all where no range is given", () => {
    expect(coversPort([], 1)).toBe(true);
    expect(coversPort([], 65_535)).toBe(true);
  });

  it("are first to first + count - 1", () => {
    const ranges = [
      { first: 80, count: 1 },
      { first: 8000, count: 10 },
      { first: 65_535, count: 1 },
    ];
    const covered = [79, 80, 81, 7999, 8000, 8009, 8010, 65_534, 65_535].filter((port) => coversPort(ranges, port));
    expect(covered).toEqual([80, 8000, 8009, 65_535]);
  });
});

describe("a decision", () => {
  it("is the network's default where no policy matches", () => {
    expect(evaluatePolicies(OPEN, [], web, db, 80)).toEqual({ verdict: ALLOWED, policy: "" });
    expect(evaluatePolicies(CLOSED, [], web, db, 80)).toEqual({ verdict: DENIED, policy: "" });
    const other = policy("other", ALLOW, { to: [{ endpoint: "elsewhere" }] });
    expect(evaluatePolicies(CLOSED, [other], web, db, 80)).toEqual({ verdict: DENIED, policy: "" });
  });

  it("goes by both ends, from the one that connects to the one that listens", () => {
    const webToDb = policy("web-to-db", ALLOW, { from: [{ endpoint: "web" }], to: [{ endpoint: "db" }] });
    expect(evaluatePolicies(CLOSED, [webToDb], web, db, 80)).toEqual({ verdict: ALLOWED, policy: "web-to-db" });
    expect(evaluatePolicies(CLOSED, [webToDb], db, web, 80).verdict).toBe(DENIED);
  });

  it("is to allow what an endpoint has with itself", () => {
    expect(evaluatePolicies(CLOSED, [policy("deny", DENY)], web, web, 80)).toEqual({ verdict: ALLOWED, policy: "" });
  });

  it("goes by the port", () => {
    const http = policy("http", DENY, { ports: [{ first: 80, count: 1 }] });
    expect(evaluatePolicies(OPEN, [http], web, db, 80)).toEqual({ verdict: DENIED, policy: "http" });
    expect(evaluatePolicies(OPEN, [http], web, db, 81)).toEqual({ verdict: ALLOWED, policy: "" });
  });

  it("is made by the one that denies, in either order", () => {
    const allow = policy("a-allow", ALLOW);
    const deny = policy("z-deny", DENY);
    for (const policies of [
      [allow, deny],
      [deny, allow],
    ]) {
      expect(evaluatePolicies(OPEN, policies, web, db, 80)).toEqual({ verdict: DENIED, policy: "z-deny" });
    }
  });

  it("is told of the first by name where several agree", () => {
    const policies = ["m", "b", "x"].map((name) => policy(name, ALLOW));
    expect(evaluatePolicies(CLOSED, policies, web, db, 80).policy).toBe("b");
  });

  it("does not ask policies of other networks", () => {
    expect(evaluatePolicies(OPEN, [policy("deny", DENY, { network: "red" })], web, db, 80).verdict).toBe(ALLOWED);
  });

  it("is to deny where the action is not known", () => {
    for (const action of [PolicyAction.POLICY_ACTION_UNSPECIFIED, 99 as PolicyAction]) {
      expect(evaluatePolicies(OPEN, [policy("new", action)], web, db, 80).verdict).toBe(DENIED);
    }
  });
});

/** mulberry32: the same numbers in every run, so that a failure can be looked into. */
function randomNumbers(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) % below;
  };
}

/** A small world, so that policies meet often. */
function randomWorld(random: (below: number) => number) {
  const pick = <T>(items: readonly T[]): T => items[random(items.length)] as T;
  const endpoint = (names: readonly string[]): SelectableEndpoint => ({
    name: pick(names),
    address: pick(["", `10.0.${random(2)}.${random(4)}`]),
    address6: pick(["", `fd00::${random(2)}:${random(4)}`]),
    labels: Object.fromEntries(["x", "y"].filter(() => random(2) === 0).map((key) => [key, pick(["1", "2"])])),
  });
  const selector = () => ({
    endpoint: pick(["", "", "a", "b"]),
    prefix: pick(["", "", "10.0.0.0/24", "10.0.1.2/31", "10.0.0.0/16", "fd00::/112", "fd00::1:2/127", "fd00::/16"]),
    labels: pick([{}, {}, { x: "1" }, { x: "1", y: "2" }]),
  });
  const some = <T>(least: number, most: number, make: () => T) =>
    Array.from({ length: least + random(most - least + 1) }, make);
  const policies = some(0, 6, () =>
    policy(pick(["p", "q", "r", "s", "t"]) + random(100), pick([ALLOW, DENY]), {
      network: pick(["blue", "blue", "blue", "red"]),
      from: some(1, 3, selector),
      to: some(1, 3, selector),
      ports: some(0, 2, () => ({ first: 1 + random(5), count: 1 + random(3) })),
    }),
  );
  return {
    network: { name: "blue", defaultDeny: random(2) === 0 },
    policies,
    from: endpoint(["a", "c"]),
    to: endpoint(["b", "d"]),
    port: 1 + random(8),
  };
}

/** The contract, word by word. */
function decideByTheContract({ network, policies, from, to, port }: ReturnType<typeof randomWorld>): boolean {
  const bitsOf4 = (text: string) =>
    text
      .split(".")
      .map((part) => Number(part).toString(2).padStart(8, "0"))
      .join("");
  const bitsOf6 = (text: string) => {
    // In the random world all zeros stand behind the first group.
    const [first = "", rest = ""] = text.split("::");
    const groups = rest === "" ? [] : rest.split(":");
    const all = [first, ...new Array<string>(7 - groups.length).fill("0"), ...groups];
    return all.map((group) => Number.parseInt(group, 16).toString(2).padStart(16, "0")).join("");
  };
  const inPrefix = ({ address, address6 = "" }: SelectableEndpoint, prefix: string) => {
    const [base = "", length = ""] = prefix.split("/");
    const [own, bits] = base.includes(":") ? [address6, bitsOf6] : [address, bitsOf4];
    return own !== "" && bits(own).startsWith(bits(base).slice(0, Number(length)));
  };
  const means = (selectors: DecidingPolicy["from"], one: SelectableEndpoint) =>
    selectors.some(
      ({ endpoint, prefix, labels }) =>
        (!endpoint || endpoint === one.name) &&
        (!prefix || inPrefix(one, prefix)) &&
        Object.entries(labels).every(([key, value]) => one.labels[key] === value),
    );
  const matching = policies.filter(
    ({ network: of, from: sources, to: targets, ports }) =>
      of === network.name &&
      means(sources, from) &&
      means(targets, to) &&
      (ports.length === 0 || ports.some(({ first, count }) => first <= port && port <= first + count - 1)),
  );
  if (matching.some(({ action }) => action === DENY)) return false;
  return matching.length > 0 || !network.defaultDeny;
}

describe("for random networks", () => {
  const random = randomNumbers(1);
  const worlds = Array.from({ length: 5_000 }, () => randomWorld(random));
  const isAllowed = ({ network, policies, from, to, port }: ReturnType<typeof randomWorld>) =>
    evaluatePolicies(network, policies, from, to, port).verdict === ALLOWED;

  it("the decision is the contract's", () => {
    worlds.forEach((world, index) => {
      expect(isAllowed(world), `world ${index}`).toBe(decideByTheContract(world));
    });
    // Both outcomes occur often enough to mean something.
    const allowed = worlds.filter(isAllowed).length;
    expect(Math.min(allowed, worlds.length - allowed)).toBeGreaterThan(worlds.length / 10);
  });

  it("the order of the policies does not matter", () => {
    for (const { network, policies, from, to, port } of worlds) {
      const forwards = evaluatePolicies(network, policies, from, to, port);
      expect(evaluatePolicies(network, policies.toReversed(), from, to, port)).toEqual(forwards);
    }
  });

  it("one more denial never opens, one more permission never closes", () => {
    for (const world of worlds) {
      const before = isAllowed(world);
      const denied = isAllowed({ ...world, policies: [...world.policies, policy("zz", DENY)] });
      const allowed = isAllowed({ ...world, policies: [...world.policies, policy("zz", ALLOW)] });
      expect(denied).toBe(false);
      expect(allowed || !before).toBe(true);
    }
  });

  it("the policy that is named agrees with the verdict, and matters", () => {
    for (const { network, policies, from, to, port } of worlds) {
      const { verdict, policy: name } = evaluatePolicies(network, policies, from, to, port);
      if (name === "") continue;
      const action = verdict === DENIED ? DENY : ALLOW;
      const alone = policies.filter((one) => one.name === name && one.action === action);
      expect(evaluatePolicies(network, alone, from, to, port)).toEqual({ verdict, policy: name });
    }
  });
});
