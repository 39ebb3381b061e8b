/** Filters: what each kind of field and operator means, what is refused and where, and any filter against any message. */
import * as proto from "@slimfast/proto";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ClusterError } from "../../errors.js";
import { MAX_FILTER_CHARS, MAX_FILTER_COMPARISONS, MAX_FILTER_DEPTH } from "../../limits.js";
import { messageType } from "../descriptors.js";
import { filterOf } from "./filter.js";

const ENDPOINT = proto.Endpoint.fromPartial({
  name: "web-1",
  network: "blue",
  node: "node-1",
  id: 7,
  address: "10.32.0.7",
  publishedPorts: [
    { hostPort: 8_080, endpointPort: 80 },
    { hostPort: 8_443, endpointPort: 443 },
  ],
  labels: { app: "web", "app.kubernetes.io/name": "shop", empty: "" },
  createTime: new Date("2026-11-23T12:00:00Z"),
  revision: 1_795_472_922_078_001n,
});
const NODE = proto.Node.fromPartial({
  name: "node-1",
  frontPorts: { first: 7_100, count: 16 },
  connected: true,
  state: proto.NodeState.NODE_STATE_DRAINING,
});
const CHANGE = proto.ResourceChange.fromPartial({
  kind: proto.ResourceKind.RESOURCE_KIND_NODE,
  resource: { $case: "node", value: NODE },
});

function endpointMatches(filter: string): boolean {
  return filterOf(messageType("Endpoint"), filter)(ENDPOINT);
}

function problem(filter: string, type = "Endpoint"): string {
  try {
    filterOf(messageType(type), filter);
  } catch (error) {
    if (error instanceof ClusterError) {
      expect(error).toMatchObject({ code: "invalid_argument", details: { fields: [{ field: "filter" }] } });
      return error.details.fields?.[0]?.description ?? "";
    }
    throw error;
  }
  throw new Error(`${filter} should have been refused`);
}

describe("a filter", () => {
  it.each([
    ["", true],
    ["  ", true],
    ['name = "web-1"', true],
    ["name = web-1", true],
    ["name=web-1", true],
    ["name != 'web-1'", false],
    ["name = WEB-1", false],
    ["name : WEB", true],
    ["name = web-*", true],
    ['name = "*-1"', true],
    ["name = *eb*", true],
    ['name = "web-\\*"', false],
    ["name != web-*", false],
    ["name < x", true],
    ['address : "10.32."', true],
    ["id = 7", true],
    ["id:7", true],
    ["id >= 7 AND id <= 7", true],
    ["id > 7", false],
    ["id < 10", true],
    ["id != 8", true],
    ["revision = 1795472922078001", true],
    ["revision > 1795472922078000", true],
    ["revision < 1795472922078001", false],
    ["create_time > 2026-11-23T11:59:59Z", true],
    ['create_time <= "2026-11-23T13:00:00+01:00"', true],
    ["create_time = 2026-11-23T12:00:00.000Z", true],
    ["create_time:*", true],
    ["labels.app = web", true],
    ["labels.app = app", false],
    ["labels.app:*", true],
    ["labels:app", true],
    ["labels:empty", true],
    ["labels.empty:*", true],
    ['labels.empty = ""', true],
    ["labels:*", true],
    ["labels:tier", false],
    ["labels.tier:*", false],
    ['labels.tier = ""', false],
    ["labels.tier != web", true],
    ["labels.app.kubernetes.io/name = shop", true],
    ['labels."app.kubernetes.io/name" = shop', true],
    ['labels:"app.kubernetes.io/name"', true],
    ["labels.constructor:*", false],
    ["published_ports.host_port:8080", true],
    ["published_ports.host_port:8081", false],
    ["published_ports:*", true],
    ["etag:*", false],
    ['node = "node-1" AND labels.app = "web"', true],
    ["id = 8 OR name = web-1", true],
    ["NOT id = 8", true],
    ["-id = 8", true],
    ["NOT (id = 7 OR id = 8)", false],
    ["NOT NOT_A = 1 OR id = 7", undefined],
    // OR binds tighter than AND, as AIP-160 says: id = 7 AND (id = 8 OR id = 9).
    ["id = 7 AND id = 8 OR id = 9", false],
    ["(id = 7 AND id = 7) OR id = 9", true],
    ["id = 7 OR id = 8 AND id = 9", false],
  ])("%s", (filter, expected) => {
    if (expected === undefined) expect(problem(filter)).toContain("no field");
    else expect(endpointMatches(filter)).toBe(expected);
  });

  it.each([
    ["state = draining", true],
    ["state = NODE_STATE_DRAINING", true],
    ["state != active", true],
    ["connected = true", true],
    ["connected:false", false],
    ["connected != false", true],
    ["front_ports.first >= 7000", true],
    ["front_ports:*", true],
    ["certificate_expire_time:*", false],
    ["certificate_expire_time < 2030-01-01T00:00:00Z", false],
    ["certificate_expire_time != 2030-01-01T00:00:00Z", true],
  ])("of nodes: %s", (filter, expected) => {
    expect(filterOf(messageType("Node"), filter)(NODE)).toBe(expected);
  });

  it("reaches into nested messages and oneofs, and past those that are not set", () => {
    const change = messageType("ResourceChange");
    expect(filterOf(change, "node.front_ports.first = 7100 AND node.state = draining")(CHANGE)).toBe(true);
    expect(filterOf(change, "endpoint.name = web OR endpoint.labels.app = web")(CHANGE)).toBe(false);
    expect(filterOf(change, "endpoint.name != web AND endpoint.labels.app != web")(CHANGE)).toBe(true);
    const connection = proto.Connection.fromPartial({ local: { address: "10.32.0.7", port: 80 } });
    expect(filterOf(messageType("Connection"), "local.port = 80 AND peer.port != 80")(connection)).toBe(true);
  });

  it.each([
    ["name", "at character 5", "one of = != < <= > >= :"],
    ["name =", "at character 7", "a value"],
    ["= web", "at character 1", "a field"],
    ["nmae = web", "at character 1", "there is no field"],
    ["name = web id = 7", "at character 12", "AND, OR or the end"],
    ["name = web AND", "at character 15", "a field"],
    ["(name = web", "at character 12", "AND, OR or )"],
    ["name = web)", "at character 11", "AND, OR or the end"],
    ['name = "web', "at character 8", "not closed"],
    ["id = seven", "at character 6", "number"],
    ["revision = 1.5", "at character 12", "integer"],
    ["create_time > yesterday", "at character 15", "RFC 3339"],
    ["create_time > 2026-13-01T00:00:00Z", "at character 15", "RFC 3339"],
    ["labels = web", "at character 8", "map"],
    ["name.first = web", "at character 6", "no fields of its own"],
    ["create_time.seconds = 1", "at character 13", "no fields of its own"],
    ["published_ports.host_port = 8080", "at character 27", "list"],
    ["published_ports:8080", "at character 16", "cannot be compared as a whole"],
    ["published_ports.port:8080", "at character 17", "there is no field"],
    ["AND = 1", "at character 1", "a field"],
    ["id = 7 & id = 8", "at character 8", "AND, OR"],
  ])("%s is refused %s: %s", (filter, position, reason) => {
    expect(problem(filter)).toContain(position);
    expect(problem(filter)).toContain(reason);
  });

  it("that compares an enum or a boolean by what it is not is refused", () => {
    expect(problem("state = drained", "Node")).toMatch(/character 9.*unspecified, active, draining/);
    expect(problem("state > active", "Node")).toContain("enums");
    expect(problem("connected = yes", "Node")).toContain("true or false");
    expect(problem("connected < true", "Node")).toContain("booleans");
  });

  it("that is too long, too deep or too wide is refused, and at the limits it is not", () => {
    const nested = (depth: number) => `${"(".repeat(depth)}id = 7${")".repeat(depth)}`;
    expect(endpointMatches(nested(MAX_FILTER_DEPTH))).toBe(true);
    expect(problem(nested(MAX_FILTER_DEPTH + 1))).toContain("deep");
    expect(problem(nested(500))).toContain("deep");
    const wide = (count: number) => Array.from({ length: count }, () => "id = 7").join(" AND ");
    expect(endpointMatches(wide(MAX_FILTER_COMPARISONS))).toBe(true);
    expect(problem(wide(MAX_FILTER_COMPARISONS + 1))).toContain("comparisons");
    expect(problem(`id = 7${" ".repeat(MAX_FILTER_CHARS)}`)).toContain("characters");
  });
});

describe("fields of the API", () => {
  it.each([
    ["Node", proto.Node.create()],
    ["Network", proto.Network.create()],
    ["Endpoint", proto.Endpoint.create()],
    ["PortReservation", proto.PortReservation.create()],
    ["Policy", proto.Policy.create()],
    ["Connection", proto.Connection.create()],
    ["AuditEntry", proto.AuditEntry.create()],
    ["Token", proto.Token.create()],
  ])("of %s are found in its messages", (name, message) => {
    for (const field of messageType(name).fields) {
      expect(Object.hasOwn(message, field.oneof?.localName ?? field.localName), field.name).toBe(true);
    }
  });
});

/** An expression with its text and what it should say of an endpoint. */
interface Sample {
  readonly text: string;
  readonly holds: (endpoint: proto.Endpoint) => boolean;
}

const ORDER: Readonly<Record<string, (one: number, other: number) => boolean>> = {
  "=": (one, other) => one === other,
  "!=": (one, other) => one !== other,
  "<": (one, other) => one < other,
  "<=": (one, other) => one <= other,
  ">": (one, other) => one > other,
  ">=": (one, other) => one >= other,
};

const quoted = (text: string): string => `"${text.replace(/[\\"*]/g, (special) => `\\${special}`)}"`;

const comparison: fc.Arbitrary<Sample> = fc.oneof(
  fc.tuple(fc.constantFrom(...Object.entries(ORDER)), fc.nat(20)).map(([[operator, isTrue], wanted]) => ({
    text: `id ${operator} ${wanted}`,
    holds: ({ id }: proto.Endpoint) => isTrue(id, wanted),
  })),
  fc.tuple(fc.boolean(), fc.string({ maxLength: 6 })).map(([isEqual, wanted]) => ({
    text: `name ${isEqual ? "=" : "!="} ${quoted(wanted)}`,
    holds: ({ name }: proto.Endpoint) => (name === wanted) === isEqual,
  })),
  fc.tuple(fc.constantFrom("a", "b", "c"), fc.constantFrom("x", "y", "")).map(([key, wanted]) => ({
    text: `labels.${key} = ${quoted(wanted)}`,
    holds: ({ labels }: proto.Endpoint) => Object.hasOwn(labels, key) && labels[key] === wanted,
  })),
  fc.nat(5).map((port) => ({
    text: `published_ports.host_port:${port}`,
    holds: ({ publishedPorts }: proto.Endpoint) => publishedPorts.some(({ hostPort }) => hostPort === port),
  })),
);

const { expression } = fc.letrec<{ expression: Sample }>((tie) => ({
  expression: fc.oneof(
    { maxDepth: 4 },
    comparison,
    tie("expression").map(
      ({ text, holds }): Sample => ({ text: `NOT (${text})`, holds: (endpoint: proto.Endpoint) => !holds(endpoint) }),
    ),
    fc.tuple(tie("expression"), tie("expression")).map(
      ([one, other]): Sample => ({
        text: `(${one.text}) AND (${other.text})`,
        holds: (endpoint: proto.Endpoint) => one.holds(endpoint) && other.holds(endpoint),
      }),
    ),
    fc.tuple(tie("expression"), tie("expression")).map(
      ([one, other]): Sample => ({
        text: `((${one.text})OR(${other.text}))`,
        holds: (endpoint: proto.Endpoint) => one.holds(endpoint) || other.holds(endpoint),
      }),
    ),
  ),
}));

const endpoint = fc
  .record({
    id: fc.nat(20),
    name: fc.string({ maxLength: 6 }),
    labels: fc.dictionary(fc.constantFrom("a", "b", "c"), fc.constantFrom("x", "y", "")),
    publishedPorts: fc.array(fc.record({ hostPort: fc.nat(5), endpointPort: fc.nat(5) }), { maxLength: 3 }),
  })
  .map((partial) => proto.Endpoint.fromPartial(partial));

describe("any filter", () => {
  it("means what its parts mean", () => {
    fc.assert(
      fc.property(expression, endpoint, ({ text, holds }, message) => {
        expect(filterOf(messageType("Endpoint"), text)(message)).toBe(holds(message));
      }),
      { numRuns: 500 },
    );
  });

  it("is either refused on the field filter or answers every message", () => {
    const piece = fc.constantFrom(
      ...'name|id|labels|labels.app|create_time|published_ports|state|AND|OR|NOT|(|)|=|!=|<|:|*|"web"|7|true|.|-|\'|\\| '.split(
        "|",
      ),
    );
    const soup = fc.oneof(
      fc.string({ maxLength: 60 }),
      fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join(" ")),
      fc.array(piece, { maxLength: 14 }).map((pieces) => pieces.join("")),
    );
    fc.assert(
      fc.property(soup, fc.constantFrom("Endpoint", "Node", "Policy", "ResourceChange"), (filter, type) => {
        try {
          const test = filterOf(messageType(type), filter);
          for (const message of [ENDPOINT, NODE, CHANGE, {}]) expect(typeof test(message)).toBe("boolean");
        } catch (error) {
          if (!(error instanceof ClusterError)) throw error;
          expect(error.details.fields?.[0]?.description).toMatch(/^at character \d+/);
        }
      }),
      { numRuns: 2_000 },
    );
  });
});
