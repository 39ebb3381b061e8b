/** Policies from the controller to the core, through a whole agent: what is set, in which order, and what is refused. */
import { CoreError } from "@slimfast/core";
import { PolicyAction, ResourceKind } from "@slimfast/proto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { attachment, TestBed } from "../testing/agent.js";
import { eventually } from "../testing/eventually.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 60_000 });

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
  await bed.startAgent();
});
afterEach(() => bed.remove());

const denyAll = { name: "deny", network: "blue", action: PolicyAction.POLICY_ACTION_DENY, from: [{}], to: [{}] };
const policyGone = { kind: ResourceKind.RESOURCE_KIND_POLICY, name: "blue/deny" };

/** Sends what another controller's client has changed; resolves when the agent has answered. */
async function push(response: object): Promise<string> {
  const stream = bed.controller.stream ?? expect.fail("no stream");
  const before = stream.acks.length;
  bed.controller.revision += 1n;
  stream.send({ revision: bed.controller.revision, ...response });
  return eventually(() => stream.acks[before]?.error ?? expect.fail("no ack"));
}

const changing = () => bed.core.calls.filter((call) => /Policy|applyState|attach/.test(call));

describe("policies", () => {
  it("cost nothing where there are none", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    expect(bed.core.calls.filter((call) => call.includes("Policy"))).toEqual([]);
  });

  it("are set when they come, replaced only when something changes, and removed when they go", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    bed.core.calls.length = 0;
    expect(await push({ policies: [denyAll] })).toBe("");
    expect(changing()).toEqual(["setNetworkPolicy 7"]);
    expect(bed.core.policies.get(7)).toEqual({
      vni: 7,
      isDefaultDeny: false,
      identities: [{ endpointId: 1, identity: 1 }],
      verdicts: [{ from: 1, to: 1, portFirst: 0, portLast: 65_535, isAllowed: false }],
    });
    expect(await push({ policies: [{ ...denyAll, description: "for people", revision: 9n }] })).toBe("");
    expect(changing()).toEqual(["setNetworkPolicy 7"]);
    expect(await push({ removed: [policyGone] })).toBe("");
    expect(changing()).toEqual(["setNetworkPolicy 7", "removeNetworkPolicy 7"]);
    expect(bed.core.policies.size).toBe(0);
  });

  it("know an endpoint before the core does, and as long as it does", async () => {
    const { local } = bed.connect();
    await local.attachEndpoint(attachment("web"));
    await push({ policies: [denyAll] });
    bed.core.calls.length = 0;
    await local.attachEndpoint(attachment("db"));
    expect(changing()).toEqual(["setNetworkPolicy 7", "applyState", "attachEndpoint 7:2"]);
    bed.core.calls.length = 0;
    bed.controller.remove("blue", "db");
    await eventually(() => expect(changing()).toEqual(["applyState", "setNetworkPolicy 7"]));
    expect(bed.core.policies.get(7)?.identities).toEqual([{ endpointId: 1, identity: 1 }]);
  });

  it("of a network that is new here are set before the first endpoint is attached", async () => {
    const { controller, core } = bed;
    controller.network.defaultDeny = true;
    await bed.connect().local.attachEndpoint(attachment("web"));
    expect(changing().slice(-3)).toEqual(["applyState", "setNetworkPolicy 7", "attachEndpoint 7:1"]);
    expect(core.policies.get(7)).toMatchObject({ isDefaultDeny: true, verdicts: [] });
    controller.remove("blue", "web");
    await eventually(() => expect(core.policies.size).toBe(0));
    expect(core.networks.size).toBe(0);
  });

  it("are named in the next hello", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    await push({ policies: [{ ...denyAll, revision: 5n }] });
    bed.controller.stream?.end();
    await eventually(() => expect(bed.controller.streams).toHaveLength(2));
    expect(bed.controller.stream?.hello.known).toContainEqual({
      kind: ResourceKind.RESOURCE_KIND_POLICY,
      name: "blue/deny",
      revision: 5n,
    });
  });
});

describe("what is refused", () => {
  it("by the core is answered with its reason, leaves what was set, and is tried again", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    await push({ policies: [denyAll] });
    const before = bed.core.policies.get(7);
    const tooMany = new CoreError("invalid", "the policies of network 7 need 300000 entries", { field: "verdicts" });
    bed.core.faults.failNext("setNetworkPolicy", tooMany);
    const ports = [{ first: 80, count: 1 }];
    expect(await push({ policies: [{ ...denyAll, revision: 8n, ports }] })).toBe(tooMany.message);
    expect(bed.core.policies.get(7)).toEqual(before);
    await eventually(() => expect(bed.controller.streams).toHaveLength(2));
    expect(bed.controller.streams[1]?.hello.known.find(({ name }) => name === "blue/deny")?.revision).toBe(0n);
    expect(await push({ policies: [{ ...denyAll, revision: 8n, ports }] })).toBe("");
    expect(bed.core.policies.get(7)?.verdicts).toMatchObject([{ portFirst: 80, portLast: 80 }]);
  });

  it("because nobody can understand it does not open anything", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    const error = await push({ policies: [{ ...denyAll, from: [{ prefix: "nonsense" }] }] });
    expect(error).toMatch(/blue\/deny: "nonsense" is not an IPv4 or IPv6 prefix/);
    expect(bed.core.policies.size).toBe(0);
  });

  it("when something is taken away is tried again with the next change", async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    await push({ policies: [denyAll] });
    bed.core.faults.failNext("removeNetworkPolicy", new Error("bpf: EBUSY"));
    expect(await push({ removed: [policyGone] })).toBe("bpf: EBUSY");
    expect(bed.core.policies.size).toBe(1);
    await eventually(() => expect(bed.core.policies.size).toBe(0));
  });
});
