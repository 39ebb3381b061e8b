import { Network, NodeState, PolicyAction, PortPurpose, PortReservation } from "@slimfast/proto";
import { describe, expect, it } from "vitest";
import { CliError } from "../exit-codes.js";
import { readWishes } from "./documents.js";
import { describeStep } from "./execute.js";
import { type Present, planSteps } from "./plan.js";

const FILE = `
kind: Network
name: blue
prefix: 10.40.0.0/16
labels: {team: a, beta: }
---
kind: Policy
network: blue
name: web
action: allow
from: [{labels: {app: front}}, all]
to: {endpoint: web}
ports: [80, 8000-8010]
---
kind: PortReservation
name: prometheus
node: node-1
ports: 9090
lease: 12h
---
kind: Node
name: node-1
state: draining
---
`;

const NOTHING: Present = { networks: [], policies: [], reservations: [], nodes: [], endpoints: [] };

function refusal(action: () => unknown): string {
  try {
    action();
  } catch (error) {
    if (error instanceof CliError) return error.message;
    throw error;
  }
  throw new Error("it was not refused");
}

describe("documents", () => {
  it("are read, in YAML and in JSON", () => {
    const wishes = readWishes(FILE, "f");
    expect(wishes.map(({ kind, key }) => `${kind} ${key}`)).toEqual([
      "Network blue",
      "Policy blue/web",
      "PortReservation prometheus",
      "Node node-1",
    ]);
    expect(wishes[0]?.fields).toEqual({ name: "blue", prefix: "10.40.0.0/16", labels: { team: "a", beta: "" } });
    expect(wishes[1]?.fields).toMatchObject({
      action: PolicyAction.POLICY_ACTION_ALLOW,
      from: [{ labels: { app: "front" } }, { labels: {}, prefix: "", endpoint: "" }],
      to: [{ endpoint: "web" }],
      ports: [
        { first: 80, count: 1 },
        { first: 8000, count: 11 },
      ],
    });
    expect(wishes[3]?.fields).toEqual({ name: "node-1", state: NodeState.NODE_STATE_DRAINING });
    expect(readWishes('[{"kind": "Node", "name": "a"}, {"kind": "Node", "name": "b"}]', "f")).toHaveLength(2);
    expect(readWishes("", "f")).toEqual([]);
  });

  it.each([
    ["kind: Nothing\nname: a", /kind "Nothing": must be one of Network/],
    ["name: a", /kind null/],
    ["- 1", /must be a mapping/],
    ["kind: Network", /name is missing/],
    ["kind: Network\nname: 5", /name must be text/],
    ["kind: Network\nname: a\nprefiks: x", /no field prefiks; it has name, prefix/],
    ["kind: Policy\nname: a\naction: perhaps", /action perhaps: must be one of allow, deny/],
    ["kind: Policy\nname: a\nports: [0]", /ports 0/],
    ["kind: Policy\nname: a\nfrom: [{app: web}]", /selector has no field app/],
    ["kind: PortReservation\nname: a\nnode: n", /node and ports are needed/],
    ["kind: PortReservation\nname: a\nnode: n\nports: 1\nlease: soon", /lease soon/],
    ["kind: Node\nname: a\n---\nkind: Node\nname: a", /Node a is there twice/],
    ["kind: [", /document 1: /],
  ])("%j is refused", (text, expected) => {
    expect(refusal(() => readWishes(text, "f"))).toMatch(expected);
  });

  it("are refused with all their faults at once", () => {
    const message = refusal(() => readWishes("kind: Nothing\nname: a\n---\nkind: Network\n", "f.yaml"));
    expect(message).toContain("f.yaml: document 1");
    expect(message).toContain("f.yaml: document 2");
  });
});

describe("the plan", () => {
  const blue = Network.fromPartial({
    name: "blue",
    prefix: "10.40.0.0/16",
    vni: 7,
    labels: { beta: "", team: "a" },
    etag: "e1",
  });
  const held = PortReservation.fromPartial({
    name: "prometheus",
    node: "node-1",
    ports: { first: 9090, count: 1 },
    purpose: PortPurpose.PORT_PURPOSE_STATIC,
  });

  it("creates networks before the policies in them", () => {
    const wishes = readWishes(FILE, "f").filter(({ kind }) => kind !== "Node");
    expect(planSteps([...wishes].reverse(), NOTHING, null).map(describeStep)).toEqual([
      "create Network blue",
      "create PortReservation prometheus",
      "create Policy blue/web",
    ]);
  });

  it("leaves alone what is as it should be, and fields that are not named", () => {
    const wishes = readWishes(FILE, "f").filter(({ kind }) => kind === "Network" || kind === "PortReservation");
    const steps = planSteps(wishes, { ...NOTHING, networks: [blue], reservations: [held] }, null);
    expect(steps.map(({ type }) => type)).toEqual(["unchanged", "unchanged"]);
  });

  it("updates what differs, by its etag", () => {
    const wishes = readWishes("kind: Network\nname: blue\ndefaultDeny: true\nlabels: {}", "f");
    expect(planSteps(wishes, { ...NOTHING, networks: [blue] }, null)).toMatchObject([
      {
        type: "update",
        etag: "e1",
        changes: [
          { field: "labels", before: { beta: "", team: "a" }, after: {} },
          { field: "defaultDeny", before: false, after: true },
        ],
      },
    ]);
  });

  it("compares IPv6 prefixes by what they mean", () => {
    const network = Network.fromPartial({ name: "six", prefix6: "fd00:32::/64", egress: ["2001:db8::/32"] });
    const present = { ...NOTHING, networks: [network] };
    const same = "kind: Network\nname: six\nprefix6: 'FD00:0032::/64'\negress: ['2001:0DB8::/32']";
    expect(planSteps(readWishes(same, "f"), present, null)).toMatchObject([{ type: "unchanged" }]);
    const created = planSteps(readWishes(same, "f"), NOTHING, null);
    expect(created).toMatchObject([{ type: "create", wish: { fields: { name: "six", prefix6: "fd00:32::/64" } } }]);
    const other = "kind: Network\nname: six\nprefix6: fd00:33::/64\nnodeSubnet6Length: 80";
    expect(refusal(() => planSteps(readWishes(other, "f"), present, null)).split("\n")).toEqual([
      'Network six: prefix6 is "fd00:32::/64" and cannot become "fd00:33::/64"',
      "Network six: nodeSubnet6Length is 0 and cannot become 80",
    ]);
    const selected = "kind: Policy\nname: p\naction: deny\nfrom: {prefix: 'FD00:32::/64'}\nto: all";
    expect(readWishes(selected, "f")).toMatchObject([{ fields: { from: [{ prefix: "fd00:32::/64" }] } }]);
  });

  it("refuses what cannot be, all of it at once", () => {
    const wishes = readWishes(
      "kind: Network\nname: blue\nprefix: 10.50.0.0/16\n---\nkind: Node\nname: ghost\n---\nkind: Network\nname: red\n---\nkind: Policy\nname: p",
      "f",
    );
    const message = refusal(() => planSteps(wishes, { ...NOTHING, networks: [blue] }, null));
    expect(message.split("\n")).toHaveLength(4);
    expect(message).toContain('prefix is "10.40.0.0/16" and cannot become "10.50.0.0/16"');
  });

  it("prunes only what has the label", () => {
    const other = Network.fromPartial({ name: "other", prefix: "10.50.0.0/16" });
    const old = Network.fromPartial({ name: "old", prefix: "10.60.0.0/16", labels: { team: "a" }, etag: "e2" });
    const policies = ["blue", "other", "old"].map((network) => ({ network, name: "p", etag: "e" }) as never);
    const networks = [blue, other, old];
    const wishes = readWishes(FILE, "f").filter(({ kind }) => kind === "Network");
    const steps = planSteps(wishes, { ...NOTHING, networks, policies }, ["team", "a"]);
    expect(steps.map(describeStep)).toEqual(["unchanged Network blue", "delete Policy blue/p", "delete Network old"]);
  });
});
