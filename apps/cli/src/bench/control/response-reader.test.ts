import { ResourceKind, SyncResponse } from "@slimfast/proto";
import { expect, it } from "vitest";
import { readNames } from "./response-reader.js";

it("reads what the generated code does, of what the benchmark looks at", () => {
  const response = SyncResponse.fromPartial({
    nonce: 300n,
    revision: 70_000n,
    storeId: "a store",
    controllers: ["10.0.0.1:7443"],
    reservedPorts: { ranges: [{ first: 20_000, count: 3 }] },
    nodes: [
      { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_000, count: 16 }, labels: { a: "b" } },
      { name: "node-200", connected: true, createTime: new Date(1) },
    ],
    networks: [{ name: "blue", vni: 7, prefix: "10.32.0.0/16", egress: ["10.0.0.0/8"] }],
    endpoints: [{ name: "ep-1", network: "blue", node: "node-1", id: 3, address: "10.32.0.2" }],
    policies: [{ name: "none", network: "blue" }],
    removed: [{ kind: ResourceKind.RESOURCE_KIND_ENDPOINT, name: "blue/ep-2", revision: 5n }],
  });
  expect(readNames(SyncResponse.encode(response).finish())).toEqual({
    nonce: response.nonce,
    nodes: response.nodes.map(({ name }) => name),
    networks: response.networks.map(({ name }) => name),
    endpoints: response.endpoints.map(({ network, name }) => `${network}/${name}`),
    removed: response.removed.map(({ kind, name }) => ({ kind, name })),
  });
  expect(readNames(new Uint8Array())).toMatchObject({ nonce: 0n, nodes: [], endpoints: [] });
});
