/** Update masks of every resource that can be updated, over a real socket: each field by itself, all of them, and none too many. */
import { ClusterServiceDefinition } from "@slimfast/proto";
import { Status } from "nice-grpc";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { messageType } from "../domain/descriptors.js";
import { refusal, registerNode, type TestClient, TestController } from "../testing/controller.js";

type Fields = Readonly<Record<string, unknown>>;

interface Updatable {
  /** Name of the message in the API. */
  readonly type: string;
  readonly identity: Fields;
  /** Two different values of each field that can be changed, by the name that the mask has for it. */
  readonly values: Readonly<Record<string, readonly [unknown, unknown]>>;
  readonly update: (resource: Fields, updateMask?: string[]) => Promise<Fields>;
}

let controller: TestController;
let client: TestClient;

const labels = [{ app: "a", tier: "x" }, { app: "b" }] as const;
const ranges = (first: number) => [{ first, count: 3 }];
const selector = (app: string) => [{ labels: { app }, prefix: "", endpoint: "" }];

const UPDATABLE: readonly Updatable[] = [
  {
    type: "Network",
    identity: { name: "blue" },
    values: {
      description: ["one", "two"],
      labels,
      default_deny: [true, false],
      egress: [["192.0.2.0/24"], ["198.51.100.0/24", "203.0.113.0/24"]],
    },
    update: async (network, updateMask) => ({
      ...(await client.cluster.updateNetwork({ network, updateMask })).network,
    }),
  },
  {
    type: "Node",
    identity: { name: "node-1" },
    values: { state: [1, 2], labels },
    update: async (node, updateMask) => ({ ...(await client.cluster.updateNode({ node, updateMask })).node }),
  },
  {
    type: "Endpoint",
    identity: { name: "web", network: "blue" },
    values: { labels },
    update: async (endpoint, updateMask) => ({
      ...(await client.cluster.updateEndpoint({ endpoint, updateMask })).endpoint,
    }),
  },
  {
    type: "PortReservation",
    identity: { name: "db" },
    values: {
      ports: [
        { first: 9_000, count: 2 },
        { first: 9_010, count: 4 },
      ],
      description: ["one", "two"],
    },
    update: async (portReservation, updateMask) => ({
      ...(await client.cluster.updatePortReservation({ portReservation, updateMask })).portReservation,
    }),
  },
  {
    type: "Policy",
    identity: { name: "rule", network: "blue" },
    values: {
      action: [1, 2],
      from: [selector("a"), selector("b")],
      to: [selector("c"), selector("d")],
      ports: [ranges(80), ranges(443)],
      description: ["one", "two"],
    },
    update: async (policy, updateMask) => ({ ...(await client.cluster.updatePolicy({ policy, updateMask })).policy }),
  },
];

/** Every message that is updated by ClusterService, from the API itself. */
const IN_THE_API = Object.values(ClusterServiceDefinition.methods)
  .filter(({ name }) => name.startsWith("Update"))
  .map(({ name }) => name.slice("Update".length));

beforeAll(async () => {
  controller = await TestController.start();
  client = controller.client;
  await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  await registerNode(client, 1);
  await client.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-1" } });
  await client.cluster.createPortReservation({
    portReservation: { name: "db", node: "node-1", ports: { first: 9_000, count: 2 } },
  });
  await client.cluster.createPolicy({
    policy: { name: "rule", network: "blue", action: 1, from: selector("a"), to: selector("c") },
  });
});

afterAll(() => controller?.remove());

it("every resource that the API can update is here", () => {
  expect(UPDATABLE.map(({ type }) => type).toSorted()).toEqual(IN_THE_API.toSorted());
});

/** As TypeScript has the field. */
function property(field: string): string {
  return field.replace(/_(\w)/g, (_, letter: string) => letter.toUpperCase());
}

describe.each(UPDATABLE)("an update of $type", ({ type, identity, values, update }) => {
  const fields = Object.keys(values);
  const all = (which: 0 | 1): Fields => ({
    ...identity,
    ...Object.fromEntries(Object.entries(values).map(([field, pair]) => [property(field), pair[which]])),
  });
  const changed = (resource: Fields) => Object.fromEntries(fields.map((field) => [field, resource[property(field)]]));
  const expected = (which: (field: string) => 0 | 1) =>
    Object.fromEntries(fields.map((field) => [field, values[field]?.[which(field)]]));

  it("with a mask that is absent, empty or * is of all fields that can be changed", async () => {
    for (const [round, mask] of [undefined, [], ["*"], undefined].entries()) {
      const which = (round % 2) as 0 | 1;
      expect(changed(await update(all(which), mask))).toEqual(expected(() => which));
    }
  });

  it.each(fields)("with the mask %s is of that field alone", async (field) => {
    const before = await update(all(0));
    const after = await update(all(1), [field]);
    expect(changed(after)).toEqual(expected((one) => (one === field ? 1 : 0)));
    // What is not a field that can be changed has not changed, but for what says that something has.
    const rest = (resource: Fields) => {
      const { revision: _revision, etag: _etag, ...kept } = resource;
      return { ...kept, ...Object.fromEntries(fields.map((one) => [property(one), undefined])) };
    };
    expect(rest(after)).toEqual(rest(before));
    expect(after.revision).toBeGreaterThan(before.revision as bigint);
    expect(after.etag).not.toBe(before.etag);
  });

  it("refuses each other field of the message, and what is none, and then changes nothing", async () => {
    const before = await update(all(0));
    const others = messageType(type)
      .fields.map(({ name }) => name)
      .filter((name) => !fields.includes(name));
    for (const path of [...others, "colour", "name.first", ""]) {
      const refused = await refusal(update(all(1), [path]));
      expect([path, refused]).toMatchObject([path, { code: Status.INVALID_ARGUMENT, fields: ["update_mask"] }]);
      // Nothing of a mask is done of which a part is wrong.
      expect(await refusal(update(all(1), [...fields, path]))).toMatchObject({ code: Status.INVALID_ARGUMENT });
    }
    expect(await update(all(0))).toEqual(before);
  });
});
