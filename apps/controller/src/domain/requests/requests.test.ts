import { describe, expect, it } from "vitest";
import { ClusterError } from "../../errors.js";
import { validName, validRequestId } from "../validation.js";
import { validEndpoint } from "./endpoint.js";
import { validNetwork } from "./network.js";
import { checkProtocolVersion, validNode, validNodeChange } from "./node.js";
import { validPolicy } from "./policy.js";
import { validReservation, validReservationChange } from "./reservation.js";

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

describe("request ids", () => {
  it.each(["", "a", "x".repeat(64), "with spaces and ~!/"])("accepts %j", (id) => {
    expect(validRequestId(id)).toBe(id);
  });

  it.each(["x".repeat(65), "ä", "a\n", "\u007f"])("refuses %j", (id) => {
    expect(Object.keys(violations(() => validRequestId(id)))).toEqual(["request_id"]);
  });
});

describe("networks", () => {
  it.each(["10.0.0.0/8", "10.32.0.0/16", "192.168.7.8/29", "100.64.0.0/10"])("accepts prefix %s", (prefix) => {
    expect(validNetwork({ name: "blue", vni: 0, prefix })).toMatchObject({ prefix, prefix6: "" });
  });

  it.each([
    ["", /must be set, or prefix6/],
    ["blue", /CIDR/],
    ["fd00:32::/64", /IPv4 prefix in CIDR/],
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

  it.each([
    ["fd00:32::/48", "fd00:32::/48"],
    ["FD00:0032:0::/64", "fd00:32::/64"],
    ["fd12:3456:789a:1::/120", "fd12:3456:789a:1::/120"],
    ["2001:db8::/64", "2001:db8::/64"],
    ["fc00::/64", "fc00::/64"],
  ])("accepts IPv6 prefix %s beside an IPv4 one and alone, as %s", (prefix6, canonical) => {
    const both = validNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16", prefix6 });
    expect(both).toMatchObject({ prefix: "10.32.0.0/16", prefix6: canonical });
    expect(validNetwork({ name: "blue", vni: 0, prefix: "", prefix6 })).toMatchObject({
      prefix: "",
      prefix6: canonical,
    });
  });

  it.each([
    ["blue", /IPv6 prefix in CIDR notation, for example fd00:32::\/64/],
    ["10.32.0.0/16", /IPv6 prefix in CIDR/],
    ["fd00:32::", /CIDR/],
    ["fd00:32::/129", /CIDR/],
    ["fe80::%eth0/64", /CIDR/],
    ["fd00:32::1/64", /did you mean fd00:32::\/64\?/],
    ["fd00::/8", /between \/48 and \/120/],
    ["fd00:32::/47", /between \/48 and \/120/],
    ["fd00:32::/121", /between \/48 and \/120/],
    ["fe80::/64", /link-local/],
    ["febf::/64", /link-local/],
    ["ff00::/64", /multicast/],
    ["ff02::/120", /multicast/],
    ["::/64", /cannot have/],
    ["::/120", /unspecified|loopback/],
    ["::ffff:10.32.0.0/112", /IPv4 addresses in IPv6 form/],
    ["::ffff:0:0/96", /IPv4 addresses in IPv6 form/],
    ["64:ff9b::/96", /NAT64/],
    ["64:ff9b::c000:200/120", /NAT64/],
    ["64:ff9b:1::/48", /neither unique local/],
    ["fec0::/64", /neither unique local/],
    ["4000::/64", /neither unique local/],
    ["::10.0.0.0/104", /neither unique local/],
  ])("refuses IPv6 prefix %j", (prefix6, description) => {
    expect(violations(() => validNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16", prefix6 }))).toEqual({
      "network.prefix6": expect.stringMatching(description),
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

describe("networks of nodes with subnets", () => {
  const network = (nodeSubnetLength: number) => () =>
    validNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16", nodeSubnetLength });

  it.each([0, 17, 24, 30])("accepts length %i", (length) => {
    expect(network(length)().nodeSubnetLength).toBe(length);
  });

  const network6 = (nodeSubnet6Length: number) => () =>
    validNetwork({ name: "blue", vni: 0, prefix: "", prefix6: "fd00:32::/64", nodeSubnet6Length });

  it.each([0, 65, 80, 126])("accepts IPv6 length %i", (length) => {
    expect(network6(length)().nodeSubnet6Length).toBe(length);
  });

  it.each([1, 64, 127, 4_000_000_000])("refuses IPv6 length %i", (length) => {
    expect(violations(network6(length))).toEqual({
      "network.node_subnet6_length": expect.stringContaining("65 and 126"),
    });
  });

  it("refuses a length for a family of which it has no prefix", () => {
    const wanted = { name: "blue", vni: 0 };
    const four = () => validNetwork({ ...wanted, prefix: "", prefix6: "fd00:32::/64", nodeSubnetLength: 24 });
    const six = () => validNetwork({ ...wanted, prefix: "10.32.0.0/16", nodeSubnet6Length: 80 });
    expect(violations(four)).toEqual({ "network.node_subnet_length": expect.stringContaining("without prefix") });
    expect(violations(six)).toEqual({ "network.node_subnet6_length": expect.stringContaining("without prefix6") });
  });

  it.each([1, 16, 31, 4_000_000_000])("refuses length %i", (length) => {
    expect(violations(network(length))).toEqual({ "network.node_subnet_length": expect.stringContaining("17 and 30") });
  });

  it("limits descriptions by characters, not by bytes", () => {
    const described = (description: string) => () =>
      validNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16", description });
    expect(violations(described("𝄞".repeat(500)))).toEqual({});
    expect(Object.keys(violations(described("x".repeat(501))))).toEqual(["network.description"]);
  });
});

describe("egress ranges", () => {
  const network =
    (...egress: string[]) =>
    () =>
      validNetwork({ name: "blue", vni: 0, prefix: "10.32.0.0/16", egress });

  it("are kept sorted", () => {
    const ranges = ["203.0.113.0/24", "0.0.0.0/0", "169.254.169.254/32", "::/0", "2001:db8::/32", "64:ff9b::/96"];
    expect(network(...ranges)().egress).toEqual([...ranges].sort());
    expect(network("2001:0DB8::/32")().egress).toEqual(["2001:db8::/32"]);
    expect(network()().egress).toEqual([]);
  });

  it.each([
    ["10.0.0.0", "CIDR"],
    ["10.0.0.1/8", "did you mean 10.0.0.0/8"],
    ["2001:db8::1/32", "did you mean 2001:db8::/32"],
    ["::1/128", "loopback"],
    ["::/128", "unspecified"],
    ["fe80::/10", "link-local"],
    ["fe80::1/128", "link-local"],
    ["ff02::/16", "multicast"],
    ["::ffff:192.0.2.0/120", "IPv4 addresses in IPv6 form"],
    ["127.0.0.0/8", "loopback"],
    ["127.0.0.1/32", "loopback"],
    ["240.0.0.0/4", "reserved"],
  ])("refuses %s", (range, reason) => {
    expect(violations(network("192.0.2.0/24", range))).toEqual({
      "network.egress[1]": expect.stringContaining(reason),
    });
  });

  it("refuses what is given twice, and more than 256", () => {
    expect(Object.keys(violations(network("192.0.2.0/24", "192.0.2.0/24")))).toEqual(["network.egress[1]"]);
    expect(Object.keys(violations(network("2001:db8::/32", "2001:0db8::/32")))).toEqual(["network.egress[1]"]);
    const many = Array.from({ length: 257 }, (_, index) => `10.${index % 256}.${index >> 8}.0/24`);
    expect(Object.keys(violations(network(...many)))).toEqual(["network.egress"]);
    expect(violations(network(...many.slice(1)))).toEqual({});
  });
});

describe("policies", () => {
  const ANY = { labels: {}, prefix: "", endpoint: "" };
  const POLICY = {
    name: "p",
    network: "blue",
    action: "allow",
    from: [ANY],
    to: [ANY],
    ports: [],
    description: "",
  } as const;

  it("are accepted at their limits", () => {
    const from = Array.from({ length: 64 }, () => ({
      labels: { app: "web" },
      prefix: "10.32.7.0/24",
      endpoint: "web",
    }));
    const ports = Array.from({ length: 64 }, (_, index) => ({ first: 1 + index, count: 65_535 - index }));
    expect(validPolicy({ ...POLICY, from, ports })).toEqual({ ...POLICY, from, ports });
  });

  it("may name IPv6 prefixes, which are kept in their canonical form", () => {
    const { from } = validPolicy({ ...POLICY, from: [{ ...ANY, prefix: "FD00:0032::/64" }] });
    expect(from).toEqual([{ ...ANY, prefix: "fd00:32::/64" }]);
    const fields = violations(() => validPolicy({ ...POLICY, from: [{ ...ANY, prefix: "fd00:32::1/64" }] }));
    expect(fields).toEqual({ "policy.from[0].prefix": expect.stringContaining("did you mean fd00:32::/64?") });
  });

  it("name each part that is wrong", () => {
    const wrong = { labels: { "-": "" }, prefix: "10.0.0.1/8", endpoint: "Web" };
    const fields = violations(() =>
      validPolicy({
        ...POLICY,
        name: "",
        action: undefined,
        from: [ANY, wrong],
        to: [],
        ports: [{ first: 0, count: 0 }],
      }),
    );
    expect(Object.keys(fields)).toEqual([
      "policy.name",
      "policy.action",
      "policy.from[1].labels",
      "policy.from[1].prefix",
      "policy.from[1].endpoint",
      "policy.to",
      "policy.ports[0].first",
      "policy.ports[0].count",
    ]);
    const many = Array.from({ length: 65 }, () => ANY);
    const manyPorts = many.map(() => ({ first: 1, count: 1 }));
    expect(Object.keys(violations(() => validPolicy({ ...POLICY, from: many, ports: manyPorts })))).toEqual([
      "policy.from",
      "policy.ports",
    ]);
    expect(Object.keys(violations(() => validPolicy(undefined)))).toEqual(["policy"]);
  });
});

describe("reservations", () => {
  const WANTED = { name: "ingress", node: "node-1", ports: { first: 443, count: 1 }, description: "" };
  const seconds = (count: number, nanos = 0) => ({ seconds: BigInt(count), nanos });

  it("may leave the ports to the controller, but not how many", () => {
    expect(validReservation({ ...WANTED, ports: { first: 0, count: 8 } }, undefined).ports).toEqual({
      first: 0,
      count: 8,
    });
    for (const [ports, field] of [
      [{ first: 0, count: 0 }, "port_reservation.ports.count"],
      [{ first: 0, count: 65_536 }, "port_reservation.ports.count"],
      [{ first: 65_535, count: 2 }, "port_reservation.ports.count"],
      [{ first: 70_000, count: 1 }, "port_reservation.ports.first"],
      [undefined, "port_reservation.ports"],
    ] as const) {
      expect(Object.keys(violations(() => validReservation({ ...WANTED, ports }, undefined)))).toContain(field);
    }
    const change = () => validReservationChange({ ports: { first: 0, count: 1 }, description: "" }, undefined);
    expect(Object.keys(violations(change))).toEqual(["port_reservation.ports.first"]);
  });

  it.each([
    [seconds(1), 1_000],
    [seconds(366 * 86_400), 366 * 86_400_000],
    [seconds(2, 1), 2_001],
  ])("take a lease of %o", (lease, ms) => {
    expect(validReservation(WANTED, lease).leaseMs).toBe(ms);
  });

  it.each([
    seconds(0),
    seconds(0, 999_000_000),
    seconds(-1),
    seconds(366 * 86_400, 1),
    seconds(5, -1),
    seconds(5, 2e9),
    { seconds: 2n ** 63n - 1n, nanos: 0 },
  ])("refuse a lease of %o", (lease) => {
    expect(Object.keys(violations(() => validReservation(WANTED, lease)))).toEqual(["lease"]);
  });

  it("are told to last for ever by a lease of 0 in an update", () => {
    expect(validReservationChange(WANTED, seconds(0)).leaseMs).toBe(0);
    expect(validReservationChange(WANTED, undefined).leaseMs).toBeUndefined();
  });
});

describe("agents", () => {
  it.each([
    [0, 2],
    [1, 2],
    [2, 2],
    [2, 3],
  ])("of protocol version %i are taken by a controller of version %i", (version, own) => {
    expect(() => checkProtocolVersion(version, own)).not.toThrow();
  });

  it.each([
    [3, 2, /controller is too old; upgrade the controller first/],
    [1, 3, /agent is too old; upgrade the agent/],
    [0, 3, /agent is too old/],
  ])(
    "of protocol version %i are refused by one of version %i, which says which side to upgrade",
    (version, own, text) => {
      expect(() => checkProtocolVersion(version, own)).toThrow(text);
      expect(() => checkProtocolVersion(version, own)).toThrow(
        expect.objectContaining({ code: "failed_precondition" }),
      );
    },
  );
});

describe("changes of nodes", () => {
  it("need a state that there is", () => {
    expect(Object.keys(violations(() => validNodeChange({ state: undefined, labels: { "-": "" } })))).toEqual([
      "node.labels",
      "node.state",
    ]);
    expect(validNodeChange({ state: "draining", labels: {} }).state).toBe("draining");
  });
});

describe("nodes", () => {
  const frontPorts = { first: 7_100, count: 16 };

  it.each(["10.200.0.1", "192.0.2.1", "127.0.0.1"])("accepts underlay address %s", (underlayAddress) => {
    expect(validNode({ name: "node-1", underlayAddress, frontPorts })).toEqual({
      name: "node-1",
      underlayAddress,
      frontPorts,
      labels: {},
      agentVersion: "",
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
    expect(validEndpoint(ENDPOINT)).toMatchObject({ address: undefined, address6: undefined });
    expect(validEndpoint({ ...ENDPOINT, address: "10.32.0.9", address6: "FD00::9" })).toMatchObject({
      address: { family: 4, value: 0x0a200009n },
      address6: { family: 6, value: (0xfd00n << 112n) | 9n },
    });
  });

  it.each([
    ["fd00::9", "10.32.0.9"],
    ["x", "fd00::/64"],
    ["10.32.0.9/32", "fd00::9%eth0"],
  ])("refuses addresses %j and %j", (address, address6) => {
    const fields = violations(() => validEndpoint({ ...ENDPOINT, address, address6 }));
    expect(Object.keys(fields)).toEqual(["endpoint.address", "endpoint.address6"]);
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
    const keys = (labels: Record<string, string>) =>
      Object.keys(violations(() => validEndpoint({ ...ENDPOINT, labels })));
    const many = (count: number) =>
      Object.fromEntries(Array.from({ length: count }, (_, index) => [`key-${index}`, ""]));
    expect(keys(many(64))).toEqual([]);
    expect(keys(many(65))).toEqual(["endpoint.labels"]);
    expect(keys({ "app.kubernetes.io/name": "web", ["k".repeat(253)]: "v".repeat(63), A_b: "1.0-a_B" })).toEqual([]);
    expect(keys({ "-": "", long: "x".repeat(64), space: "a b", ["k".repeat(254)]: "" })).toEqual([
      "endpoint.labels",
      "endpoint.labels[long]",
      "endpoint.labels[space]",
    ]);
  });

  it("needs names of endpoint, network and node", () => {
    const fields = violations(() => validEndpoint({ ...ENDPOINT, name: "", network: "", node: "" }));
    expect(Object.keys(fields)).toEqual(["endpoint.name", "endpoint.network", "endpoint.node"]);
  });
});
