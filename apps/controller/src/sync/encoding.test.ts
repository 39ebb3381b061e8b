import { PolicyAction, ResourceKind, SyncResponse } from "@slimfast/proto";
import { describe, expect, it } from "vitest";
import { encodeSyncResponse } from "./encoding.js";

const FULL = SyncResponse.fromPartial({
  nonce: 7n,
  revision: 1n << 60n,
  nodes: [{ name: "node-1", underlayAddress: "10.200.0.1", labels: { a: "b" } }, { name: "node-2" }],
  networks: [{ name: "blue", vni: 17, prefix: "10.32.0.0/16", createTime: new Date(1_700_000_000_123) }],
  endpoints: [{ name: "a", network: "blue", publishedPorts: [{ hostPort: 80, endpointPort: 8_080 }] }, { name: "b" }],
  policies: [{ name: "p", network: "blue", action: PolicyAction.POLICY_ACTION_DENY, from: [{ prefix: "10.0.0.0/8" }] }],
  removed: [{ kind: ResourceKind.RESOURCE_KIND_ENDPOINT, name: "blue/c" }],
  storeId: "store",
  controllers: ["10.0.0.1:7440", "10.0.0.2:7440"],
  nodeAddresses: { isComplete: true, added: [0x0ac80001, 0xfffffffe], removed: [1] },
});

describe("an encoded response", () => {
  it.each([
    ["everything in it", FULL],
    ["nothing in it", SyncResponse.fromPartial({})],
    ["removals only", SyncResponse.fromPartial({ nonce: 2n, removed: FULL.removed })],
  ])("with %s is read as what it was", (_, response) => {
    expect(SyncResponse.decode(encodeSyncResponse(response))).toEqual(response);
    // From what is remembered.
    expect(SyncResponse.decode(encodeSyncResponse(response))).toEqual(response);
  });

  it("shares its resources with others, and nothing else", () => {
    const [first] = FULL.endpoints;
    if (!first) throw new Error("no endpoint");
    const other = SyncResponse.fromPartial({ nonce: 8n });
    other.endpoints.push(first);
    expect(SyncResponse.decode(encodeSyncResponse(other))).toEqual({ ...other, endpoints: [first] });
  });
});
