import { describe, expect, it } from "vitest";
import { CliError } from "../exit-codes.js";
import { checkEndpointLimits, parseFrontPorts, parseNodeCount, planCluster } from "./plan.js";

describe("planCluster", () => {
  it("gives plain names to the ordinary cluster", () => {
    const plan = planCluster("/run/slimfast", 2, { first: 7000, count: 16 });
    expect(plan.wireNetns).toBe("sf-wire");
    expect(plan.nodes[1]).toEqual({
      name: "node-2",
      netns: "sf-node-2",
      underlayAddress: "10.200.0.2",
      runDir: "/run/slimfast/node-2",
      cgroup: "slimfast/node-2",
    });
  });

  it("has an address on the wire for agents that join over TLS, above those of the nodes", () => {
    const plan = planCluster("/run/slimfast", 64, { first: 7000, count: 16 }, { hasTls: true });
    expect(plan.tlsAddress).toBe("10.200.0.254:7443");
    expect(plan.nodes.some(({ underlayAddress }) => underlayAddress === "10.200.0.254")).toBe(false);
    expect(planCluster("/run/slimfast", 1, { first: 7000, count: 16 })).not.toHaveProperty("tlsAddress");
  });

  it("keeps the names of clusters with other run directories apart, also as prefixes", () => {
    const [ordinary] = planCluster("/run/slimfast", 1, { first: 1, count: 1 }).nodes;
    const [other] = planCluster("/run/other", 1, { first: 1, count: 1 }).nodes;
    expect(other?.name).toMatch(/^[0-9a-f]{4}-node-1$/);
    expect(other?.netns.startsWith(ordinary?.netns ?? "?")).toBe(false);
  });
});

describe("parseNodeCount", () => {
  it.each(["0", "65", "two", "1.5", "-1", ""])("refuses %j", (text) => {
    expect(() => parseNodeCount(text)).toThrow(CliError);
  });

  it("takes 1 to 64", () => {
    expect([parseNodeCount("1"), parseNodeCount("64")]).toEqual([1, 64]);
  });
});

describe("parseFrontPorts", () => {
  it("reads FIRST:COUNT", () => {
    expect(parseFrontPorts("7000:16")).toEqual({ first: 7000, count: 16 });
    expect(parseFrontPorts("65535:1")).toEqual({ first: 65535, count: 1 });
  });

  it.each(["7000", "7000-7015", "0:4", "7000:0", "7000:65", "65535:2", "a:b", ""])("refuses %j", (text) => {
    expect(() => parseFrontPorts(text)).toThrow(/--front-ports/);
  });
});

it("limits of endpoints are all said, or some", () => {
  for (const text of ["sockets=10,listeners=2,connects=100", "connects=7"])
    expect(checkEndpointLimits(text)).toBe(text);
  for (const text of ["", "sockets", "sockets=0", "sockets=-1", "files=3"]) {
    expect(() => checkEndpointLimits(text)).toThrow(/--endpoint-limits/);
  }
});
