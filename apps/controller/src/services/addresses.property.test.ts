/**
 * Allocation of both families on a real store, whatever is asked for in whatever order: nothing is given twice, nothing that
 * is free is refused, and what a node's endpoints have is of its subnets.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { containsIp, containsRange, formatIp, type IpPrefix, parseIp } from "@slimfast/proto";
import fc from "fast-check";
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { endpointAddresses, knownPrefix } from "../domain/address-space.js";
import { ClusterError } from "../errors.js";
import { openSqliteStore } from "../store/sqlite-store.js";
import type { Store } from "../store/store.js";
import { NETWORK, NODE } from "../testing/stored.js";
import { Cluster } from "./cluster.js";

vi.setConfig({ testTimeout: 60_000 });

let directory: string;
let store: Store;
let cluster: Cluster;

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-addresses-test-"));
  store = openSqliteStore(directory);
  cluster = new Cluster(store, { isConnected: () => false, syncError: () => "" });
  for (const number of [1, 2, 3]) {
    const rest = { underlayAddress: `10.200.0.${number}`, frontPorts: { first: 7_100, count: 16 } };
    await cluster.registerNode({ name: `node-${number}`, ...rest });
  }
});

afterEach(async () => {
  await store.close();
  rmSync(directory, { recursive: true, force: true });
});

const PREFIX = "10.32.0.0/29";
const PREFIX6 = "fd00:32::f0/124";

/** 0 of 16 addresses: none is wanted; else the one with that number in the prefix. */
const step = fc.record({
  name: fc.nat(11),
  node: fc.integer({ min: 1, max: 3 }),
  deletes: fc.nat(2).map((number) => number === 0),
  fixed: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(15) }),
  fixed6: fc.oneof({ weight: 3, arbitrary: fc.constant(0) }, { weight: 1, arbitrary: fc.nat(15) }),
});

function numbered({ family, first }: IpPrefix, number: number): string {
  return number === 0 ? "" : formatIp({ family, value: first + BigInt(number) });
}

async function codeOf(call: Promise<unknown>): Promise<string> {
  try {
    await call;
    return "ok";
  } catch (error) {
    if (error instanceof ClusterError) return error.code;
    throw error;
  }
}

const SHAPES = [
  { prefix: PREFIX, prefix6: PREFIX6, nodeSubnetLength: 0, nodeSubnet6Length: 0 },
  { prefix: "", prefix6: PREFIX6, nodeSubnetLength: 0, nodeSubnet6Length: 0 },
  { prefix: "", prefix6: PREFIX6, nodeSubnetLength: 0, nodeSubnet6Length: 126 },
  { prefix: PREFIX, prefix6: PREFIX6, nodeSubnetLength: 30, nodeSubnet6Length: 125 },
];

it.each(SHAPES)("any sequence keeps what is given apart in %o", async (shape) => {
  const prefixes = { address: knownPrefix(PREFIX), address6: knownPrefix(PREFIX6) };
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 20, maxLength: 60 }), async (steps) => {
      // Smaller than can be asked for, so that it is used up often.
      await store.transaction((tx) => tx.insertNetwork({ ...NETWORK, ...shape }));
      for (const { name, node, deletes, fixed, fixed6 } of steps) {
        const present = store.listEndpoints({ network: "blue", limit: -1 });
        const wanted = { network: "blue", name: `ep-${name}`, node: `node-${node}` };
        if (deletes) {
          await cluster.deleteEndpoint("blue", wanted.name, 0);
          continue;
        }
        const address = numbered(prefixes.address, shape.prefix === "" ? 0 : fixed % 8);
        const address6 = numbered(prefixes.address6, fixed6);
        const created = cluster.createEndpoint({ ...wanted, address, address6, publishedPorts: [], labels: {} });
        const code = await codeOf(created);
        const isTaken = present.some(
          (other) =>
            other.name === wanted.name || other.address === (address || "-") || other.address6 === (address6 || "-"),
        );
        if (code === "ok") expect(isTaken).toBe(false);
        else if (code === "already_exists") expect(isTaken).toBe(true);
        else if (code === "invalid_argument") expect(address + address6).not.toBe("");
        else {
          expect(code).toBe("resource_exhausted");
          if (shape.nodeSubnetLength + shape.nodeSubnet6Length === 0) {
            const capacity = shape.prefix === "" ? 14 : 6;
            expect(present).toHaveLength(capacity);
          }
        }
        if (code === "ok") {
          const { address: got, address6: got6 } = await created;
          if (address !== "") expect(got).toBe(address);
          if (address6 !== "") expect(got6).toBe(address6);
        }
        checkAll(shape);
      }
      for (const { name } of store.listEndpoints({ network: "blue", limit: -1 })) {
        await cluster.deleteEndpoint("blue", name, 0);
      }
      await cluster.deleteNetwork("blue");
      expect(store.list("counter", { prefix: "address", limit: -1 })).toEqual([]);
      expect(store.count("subnet")).toBe(0);
    }),
    { numRuns: 10 },
  );
});

function checkAll({ prefix, prefix6, nodeSubnetLength, nodeSubnet6Length }: (typeof SHAPES)[number]): void {
  const endpoints = store.listEndpoints({ network: "blue", limit: -1 });
  const subnets = store.listSubnets("blue");
  const families = [
    { whole: prefix, length: nodeSubnetLength, of: "address", subnetOf: "prefix" },
    { whole: prefix6, length: nodeSubnet6Length, of: "address6", subnetOf: "prefix6" },
  ] as const;
  for (const { whole, length, of, subnetOf } of families) {
    const given = endpoints.map((endpoint) => endpoint[of] ?? "");
    if (whole === "") {
      expect(given.every((text) => text === "")).toBe(true);
      continue;
    }
    expect(new Set(given).size).toBe(given.length);
    const ranges = subnets.map((subnet) => [subnet.node, knownPrefix(subnet[subnetOf] ?? "")] as const);
    for (const [node, range] of length === 0 ? [] : ranges) {
      expect(containsRange(knownPrefix(whole), range)).toBe(true);
      for (const [otherNode, other] of ranges) if (node !== otherNode) expect(containsRange(other, range)).toBe(false);
    }
    const byNode = new Map(length === 0 ? [] : ranges);
    for (const { node, [of]: text } of endpoints) {
      const address = parseIp(text ?? "");
      const range = byNode.get(node);
      expect(address && containsIp(endpointAddresses(knownPrefix(whole)), address)).toBe(true);
      if (length !== 0) expect(address && range && containsIp(range, address)).toBe(true);
    }
  }
}

it("goes on with networks and endpoints that were stored before there was IPv6", async () => {
  await store.transaction((tx) => {
    tx.putNode({ ...NODE, name: "node-1" });
    tx.insertNetwork(NETWORK);
    const rest = { node: "node-1", vni: 7, publishedPorts: [], labels: {}, createTimeMs: 0 };
    tx.insertEndpoint({ network: "blue", name: "old", id: tx.takeEndpointId(7), address: "10.32.0.1", ...rest });
    tx.put("counter", { name: "address/blue", next: 0x0a200005 });
  });
  const wanted = { network: "blue", node: "node-1", address: "", publishedPorts: [], labels: {} };
  expect(await cluster.createEndpoint({ ...wanted, name: "new" })).toMatchObject({
    address: "10.32.0.5",
    address6: "",
  });
  expect(await codeOf(cluster.createEndpoint({ ...wanted, name: "more", address: "10.32.0.1" }))).toBe(
    "already_exists",
  );
  expect(cluster.getNetwork("blue")).not.toHaveProperty("prefix6");
});
