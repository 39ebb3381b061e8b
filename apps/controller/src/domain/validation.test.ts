import { describe, expect, it } from "vitest";
import { ClusterError } from "../errors.js";
import { validEndpoint, validName, validNetwork, validNode } from "./validation.js";

/** The fields that a refused request names, with what is said about them. */
function violations(validate: () => unknown): Record<string, string> {
  try {
    validate();
  } catch (error) {
    if (!(error instanceof ClusterError)) throw error;
    expect(error.code).toBe("invalid_argument");
    return Object.fromEntries((error.details.fields ?? []).map(({ field, description }) => [field, description]));
  }
  return {};
}

const ENDPOINT = { name: "web", network: "blue", node: "node-1", address: "", publishedPorts: [], labels: {} };

describe("names", () => {
  it.each(["a", "node-1", "0", "a".repeat(63), "a--b"])("accepts %j", (name) => {
    expect(validName("name", name)).toBe(name);
  });

  it.each(["", "-a", "a-", "A", "a.b", "a_b", "a/b", "a:b", "ä", "a".repeat(64), "a\n"])("refuses %j", (name) => {
    expect(Object.keys(violations(() => validName("name", name)))).toEqual(["name"]);
  });
});

describe("networks", () => {
  it.each(["10.0.0.0/8", "10.32.0.0/16", "192.168.7.8/29", "100.64.0.0/10"])("accepts prefix %s", (prefix) => {
    expect(validNetwork({ name: "blue", vni: 0, prefix }).prefix).toMatchObject({ bits: Number(prefix.split("/")[1]) });
  });

  it.each([
    ["", /CIDR/],
    ["blue", /CIDR/],
    ["10.32.0.1/16", /did you mean 10\.32\.0\.0\/16\?/],
    ["16.0.0.0/7", /between \/8 and \/29/],
    ["10.0.0.0/30", /between \/8 and \/29/],
    ["127.0.0.0/8", /loopback/],
    ["224.0.0.0/8", /multicast/],
    ["169.254.0.0/16", /link-local/],
  ])("refuses prefix %j", (prefix, description) => {
    expect(violations(() => validNetwork({ name: "blue", vni: 0, prefix }))).toEqual({
      "network.prefix": expect.stringMatching(description),
    });
  });

  it("names all that is wrong at once", () => {
    expect(Object.keys(violations(() => validNetwork({ name: "B", vni: 2 ** 24, prefix: "x" })))).toEqual([
      "network.name",
      "network.vni",
      "network.prefix",
    ]);
    expect(Object.keys(violations(() => validNetwork(undefined)))).toEqual(["network"]);
  });
});

describe("nodes", () => {
  const frontPorts = { first: 7_100, count: 16 };

  it.each(["10.200.0.1", "192.0.2.1", "127.0.0.1"])("accepts underlay address %s", (underlayAddress) => {
    expect(validNode({ name: "node-1", underlayAddress, frontPorts })).toEqual({
      name: "node-1",
      underlayAddress,
      frontPorts,
    });
  });

  it.each(["", "node", "0.0.0.0", "224.0.0.1", "255.255.255.255", "169.254.1.1", "::1"])(
    "refuses underlay address %j",
    (underlayAddress) => {
      const fields = violations(() => validNode({ name: "node-1", underlayAddress, frontPorts }));
      expect(Object.keys(fields)).toEqual(["node.underlay_address"]);
    },
  );

  it.each([
    [{ first: 0, count: 1 }, "node.front_ports.first"],
    [{ first: 65_536, count: 1 }, "node.front_ports.first"],
    [{ first: 7_100, count: 0 }, "node.front_ports.count"],
    [{ first: 65_530, count: 7 }, "node.front_ports.count"],
    [undefined, "node.front_ports"],
  ])("refuses front ports %j", (ports, field) => {
    const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: ports };
    expect(Object.keys(violations(() => validNode(node)))).toContain(field);
  });

  it("accepts a block that ends with the last port", () => {
    const node = { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 65_530, count: 6 } };
    expect(validNode(node).frontPorts).toEqual({ first: 65_530, count: 6 });
  });
});

describe("endpoints", () => {
  it("reads a fixed address, or none", () => {
    expect(validEndpoint(ENDPOINT).address).toBeUndefined();
    expect(validEndpoint({ ...ENDPOINT, address: "10.32.0.9" }).address).toBe(0x0a200009);
  });

  it("names the entry that is wrong", () => {
    const publishedPorts = [
      { hostPort: 80, endpointPort: 8_080 },
      { hostPort: 0, endpointPort: 70_000 },
      { hostPort: 80, endpointPort: 8_081 },
    ];
    expect(Object.keys(violations(() => validEndpoint({ ...ENDPOINT, publishedPorts, address: "x" })))).toEqual([
      "endpoint.address",
      "endpoint.published_ports[1].host_port",
      "endpoint.published_ports[1].endpoint_port",
      "endpoint.published_ports[2].host_port",
    ]);
  });

  it("limits labels", () => {
    const many = Object.fromEntries(Array.from({ length: 33 }, (_, index) => [`key-${index}`, ""]));
    expect(Object.keys(violations(() => validEndpoint({ ...ENDPOINT, labels: many })))).toEqual(["endpoint.labels"]);
    const labels = { "app.kubernetes.io/name": "web", "-": "", long: "x".repeat(256) };
    expect(Object.keys(violations(() => validEndpoint({ ...ENDPOINT, labels })))).toEqual([
      "endpoint.labels",
      "endpoint.labels[long]",
    ]);
  });

  it("needs names of endpoint, network and node", () => {
    const fields = violations(() => validEndpoint({ ...ENDPOINT, name: "", network: "", node: "" }));
    expect(Object.keys(fields)).toEqual(["endpoint.name", "endpoint.network", "endpoint.node"]);
  });
});
