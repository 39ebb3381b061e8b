/** No method without a decision, and none too many. */
import * as proto from "@slimfast/proto";
import { HealthDefinition } from "nice-grpc-server-health";
import { ServerReflectionService } from "nice-grpc-server-reflection";
import { describe, expect, it } from "vitest";
import { checkRole, checkSubject, narrowedRequest, visibleResponse } from "./authorisation.js";
import type { Identity, Role } from "./identity.js";
import { actionOf, RULES } from "./rules.js";

interface Service {
  readonly fullName?: string;
  readonly methods: Readonly<
    Record<string, { readonly name: string; readonly options: { idempotencyLevel?: string } }>
  >;
}

const SERVICES = [
  proto.ClusterServiceDefinition,
  proto.OperationsServiceDefinition,
  proto.AccessServiceDefinition,
  proto.AgentServiceDefinition,
  proto.EnrollmentServiceDefinition,
] as readonly Service[];

const LOOKUPS = { nodeOfEndpoint: () => undefined, networkOfConnection: async () => undefined };

const HASH = "0".repeat(64);

function token(role: Role, ...networks: string[]): Identity {
  return { kind: "token", name: `a-${role}`, hash: HASH, role, networks };
}

const NODE: Identity = { kind: "node", name: "node-1", serial: "01", expireTimeMs: Number.MAX_SAFE_INTEGER };

function pathsOf(service: Service): string[] {
  return Object.values(service.methods).map(({ name }) => `/${service.fullName}/${name}`);
}

describe("the table of methods", () => {
  it("has each method of each service of the controller", () => {
    const paths = SERVICES.flatMap(pathsOf);
    expect(paths.filter((path) => !RULES.has(path))).toEqual([]);
    const foreign = [...RULES.keys()].filter((path) => path.startsWith("/slimfast.") && !paths.includes(path));
    expect(foreign).toEqual([]);
  });

  it("has those of health and reflection", () => {
    const health = pathsOf(HealthDefinition as Service);
    const reflection = Object.values(ServerReflectionService).map(({ path }) => path);
    expect([...health, ...reflection].filter((path) => !RULES.has(path))).toEqual([]);
  });

  it("calls reading what the contract declares free of side effects, and nothing else of the services for people", () => {
    for (const service of SERVICES.slice(0, 3)) {
      for (const { name, options } of Object.values(service.methods)) {
        const rule = RULES.get(`/${service.fullName}/${name}`);
        expect([name, rule?.isChange]).toEqual([name, options.idempotencyLevel !== "NO_SIDE_EFFECTS"]);
      }
    }
  });

  it("opens nothing but enrollment and health to callers without credentials", () => {
    const open = [...RULES].filter(([, rule]) => allows({ kind: "unknown" }, rule)).map(([path]) => actionOf(path));
    expect(open).toEqual(["EnrollmentService/EnrollNode", "Health/Check", "Health/List", "Health/Watch"]);
  });

  function allows(identity: Identity, rule: Parameters<typeof checkRole>[0]): boolean {
    try {
      checkRole(rule, identity);
      return true;
    } catch {
      return false;
    }
  }

  function allowed(identity: Identity): string[] {
    return [...RULES]
      .filter(([, rule]) => rule.need !== "public" && allows(identity, rule))
      .map(([path]) => actionOf(path));
  }

  it("lets viewers read, and nothing of tokens and the audit log", () => {
    for (const action of allowed(token("viewer"))) {
      expect(action).toMatch(
        /^(ClusterService|OperationsService)\/(Get|List|Watch|Tail|TryPolicy)|WhoAmI|ServerReflection/,
      );
    }
    expect(allowed(token("viewer"))).toContain("ClusterService/ListNodes");
  });

  it("lets operators change, and nothing of tokens, certificates and the audit log", () => {
    const operator = allowed(token("operator"));
    expect(operator).toContain("OperationsService/CutConnection");
    expect(operator.filter((action) => /^(AccessService|AgentService)/.test(action))).toEqual(["AccessService/WhoAmI"]);
  });

  it("lets join tokens ask who they are", () => {
    expect(allowed(token("join")).filter((action) => action.startsWith("ServerReflection") === false)).toEqual([
      "AccessService/WhoAmI",
    ]);
  });

  it("lets nodes call the agents' service and ask who they are", () => {
    const others = allowed(NODE).filter((action) => !/^(AgentService|ServerReflection)/.test(action));
    expect(others).toEqual(["AccessService/WhoAmI"]);
    expect(allowed(NODE).filter((action) => action.startsWith("AgentService"))).toHaveLength(
      Object.keys(proto.AgentServiceDefinition.methods).length,
    );
  });

  it("keeps tokens with a scope from all that concerns the cluster", () => {
    for (const path of [...RULES.keys()].filter((one) =>
      /Node|Reservation|Overview|Token|Audit|Certificate/.test(one),
    )) {
      const rule = RULES.get(path);
      if (!rule || rule.need === "public") continue;
      expect([path, allows(token("operator", "blue"), rule)]).toEqual([path, false]);
    }
  });
});

/** A request of the method that is about the network in every way that its type knows. */
function requestAbout(network: string): Record<string, unknown> {
  const resource = { name: network, network };
  return { network, name: network, filter: "", policy: resource, endpoint: resource, id: "node-1/7", kinds: [] };
}

describe("a token that is limited to network blue", () => {
  const blue = token("operator", "blue");
  const scoped = [...RULES].filter(
    ([path]) => /Cluster|Operations/.test(path) && !/Node|Reservation|Overview/.test(path),
  );

  for (const [path, rule] of scoped) {
    it(`cannot get at network red with ${actionOf(path)}`, async () => {
      const request = requestAbout("red");
      // The one message in which the network is not a name.
      if (/CreateNetwork|UpdateNetwork/.test(path)) request.network = { name: "red" };
      const outcome = await narrowedRequest(rule, blue, request, LOOKUPS).catch((error: unknown) => error);
      if (outcome instanceof Error) {
        expect(outcome).toHaveProperty("code", path.endsWith("/CutConnection") ? "not_found" : "permission_denied");
      } else {
        // Lists without a network of their own are narrowed to the token's.
        expect(outcome).toHaveProperty("filter", expect.stringMatching(/= "blue"$/));
      }
    });
  }

  it("does not get out with a filter", async () => {
    const rule = RULES.get("/slimfast.v1.ClusterService/ListEndpoints");
    if (!rule) throw new Error("no rule");
    const narrowedTo = async (filter: string) =>
      ((await narrowedRequest(rule, blue, { network: "", filter }, LOOKUPS)) as { filter: string }).filter;
    expect(await narrowedTo('network = "red"')).toBe('(network = "blue") AND (network = "red")');
    expect(await narrowedTo('a = "x" OR network = "red"')).toBe('(network = "blue") AND (a = "x" OR network = "red")');
    // No expression by itself: it goes to the service as it is, which refuses it.
    expect(await narrowedTo('name = "x") OR (network = "red"')).toBe('name = "x") OR (network = "red"');
  });

  it("sees nothing of others in answers, even if a service forgets the filter", () => {
    const see = (method: string, response: unknown) => {
      const rule = RULES.get(`/slimfast.v1.${method}`);
      if (!rule) throw new Error(`no rule for ${method}`);
      return visibleResponse(rule, blue, response);
    };
    const both = [{ network: "blue" }, { network: "red" }];
    expect(see("ClusterService/ListEndpoints", { endpoints: both })).toEqual({ endpoints: [{ network: "blue" }] });
    expect(see("ClusterService/ListPolicies", { policies: both })).toEqual({ policies: [{ network: "blue" }] });
    expect(see("ClusterService/ListNetworks", { networks: [{ name: "red" }] })).toEqual({ networks: [] });
    const records = both.map((connection) => ({ connection }));
    const kept = [{ connection: { network: "blue" } }];
    expect(see("OperationsService/ListConnectionRecords", { connections: records })).toEqual({ connections: kept });
    expect(see("OperationsService/TailConnections", { events: records, updates: records })).toEqual({
      events: kept,
      updates: kept,
    });
    const kinds = proto.ResourceKind;
    const changes = [
      { kind: kinds.RESOURCE_KIND_NODE, name: "blue" },
      { kind: kinds.RESOURCE_KIND_PORT_RESERVATION, name: "blue" },
      { kind: kinds.RESOURCE_KIND_NETWORK, name: "red" },
      { kind: kinds.RESOURCE_KIND_ENDPOINT, name: "red/blue" },
      { kind: kinds.RESOURCE_KIND_POLICY, name: "blue/x" },
    ];
    expect(see("ClusterService/WatchResources", { revision: 7n, changes })).toEqual({
      revision: 7n,
      changes: [{ kind: kinds.RESOURCE_KIND_POLICY, name: "blue/x" }],
    });
  });
});

describe("a node", () => {
  const speaks = (method: string, request: unknown, nodeOfEndpoint?: string) => {
    const rule = RULES.get(`/slimfast.v1.AgentService/${method}`);
    if (!rule) throw new Error(`no rule for ${method}`);
    checkSubject(rule, NODE, request, { ...LOOKUPS, nodeOfEndpoint: () => nodeOfEndpoint });
  };
  const hello = (node: string) => ({ kind: { $case: "hello", value: { node } } });

  it("speaks for itself", () => {
    speaks("RegisterNode", { node: { name: "node-1" } });
    speaks("CreateEndpoint", { endpoint: { node: "node-1" } });
    speaks("DeleteEndpoint", { network: "blue", name: "web" }, "node-1");
    speaks("DeleteEndpoint", { network: "blue", name: "gone" });
    speaks("Sync", hello("node-1"));
    speaks("Report", { node: "node-1" });
  });

  it("speaks for nobody else", () => {
    const other = /node-1 cannot speak for/;
    expect(() => speaks("RegisterNode", { node: { name: "node-2" } })).toThrow(other);
    expect(() => speaks("RegisterNode", {})).toThrow(other);
    expect(() => speaks("CreateEndpoint", { endpoint: { node: "node-2" } })).toThrow(other);
    expect(() => speaks("DeleteEndpoint", { network: "blue", name: "web" }, "node-2")).toThrow(other);
    expect(() => speaks("Sync", hello("node-2"))).toThrow(other);
    expect(() => speaks("Sync", { kind: { $case: "ack", value: {} } })).toThrow(other);
    expect(() => speaks("Report", { node: "" })).toThrow(other);
  });
});
