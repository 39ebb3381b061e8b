/**
 * Every method of every service, called by everybody there is, over real TLS: who is let in is the table below, and whoever is
 * not is in the audit log. The table is written out, so that a rule that is changed by mistake does not change its test.
 */
import * as proto from "@slimfast/proto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Caller, SecureController, statusOf } from "../testing/secure-controller.js";
import { FAILURE_BURST } from "./limits.js";

const CALLERS = ["nobody", "join", "scoped", "viewer", "operator", "admin", "node"] as const;
type CallerName = (typeof CALLERS)[number];

const SERVICES = {
  cluster: proto.ClusterServiceDefinition,
  operations: proto.OperationsServiceDefinition,
  access: proto.AccessServiceDefinition,
  agent: proto.AgentServiceDefinition,
  enrollment: proto.EnrollmentServiceDefinition,
} as const;

const READERS = ["viewer", "operator", "admin"] as const;
const CHANGERS = ["operator", "admin"] as const;

/** Methods, and who is let in. `scoped` is an operator in network blue alone, and the calls are about blue. */
const TABLE: readonly (readonly [methods: string, callers: readonly CallerName[]])[] = [
  ["GetNetwork ListNetworks GetEndpoint ListEndpoints GetPolicy ListPolicies", ["scoped", ...READERS]],
  ["WatchResources ListConnectionRecords TailConnections WatchTraffic TryPolicy", ["scoped", ...READERS]],
  ["GetNode ListNodes GetPortReservation ListPortReservations WatchOverview", READERS],
  ["CreateNetwork UpdateNetwork DeleteNetwork UpdateEndpoint", ["scoped", ...CHANGERS]],
  ["CreatePolicy UpdatePolicy DeletePolicy CutConnection", ["scoped", ...CHANGERS]],
  ["UpdateNode DeleteNode CreatePortReservation UpdatePortReservation DeletePortReservation", CHANGERS],
  ["CreateToken ListTokens RevokeToken RevokeNodeCertificates ListAuthorities RotateAuthority", ["admin"]],
  ["ListAuditEntries WatchAuditEntries", ["admin"]],
  ["WhoAmI", ["join", "scoped", ...READERS, "node"]],
  ["RegisterNode CreateEndpoint DeleteEndpoint Sync Report", ["admin", "node"]],
  ["RenewCertificate", ["node"]],
  ["EnrollNode", CALLERS],
];

const ALLOWED = new Map(TABLE.flatMap(([methods, callers]) => methods.split(" ").map((method) => [method, callers])));

interface Method {
  readonly service: keyof typeof SERVICES;
  readonly key: string;
  readonly name: string;
  readonly requestStream: boolean;
  readonly responseStream: boolean;
}

const METHODS: readonly Method[] = Object.entries(SERVICES).flatMap(([service, { methods }]) =>
  Object.entries(methods).map(([key, { name, requestStream, responseStream }]) => ({
    service: service as keyof typeof SERVICES,
    key,
    name,
    requestStream,
    responseStream,
  })),
);

/** What ends a node's rights, or an authority's. */
const FATAL = /^(RotateAuthority|RevokeNodeCertificates|DeleteNode)$/;

/** About network blue and node node-a wherever the request has a place for it, and otherwise too little to do anything. */
function requestOf(name: string): unknown {
  const about: Readonly<Record<string, unknown>> = {
    GetNetwork: { name: "blue" },
    DeleteNetwork: { name: "blue" },
    CreateNetwork: { network: { name: "blue" } },
    UpdateNetwork: { network: { name: "blue" } },
    CreatePolicy: { policy: { network: "blue" } },
    UpdatePolicy: { policy: { network: "blue" } },
    TryPolicy: { policy: { network: "blue" } },
    UpdateEndpoint: { endpoint: { network: "blue" } },
    // About a connection of network blue: whose it is has to be asked first.
    CutConnection: { id: "node-a/7" },
    RegisterNode: { node: { name: "node-a" } },
    CreateEndpoint: { endpoint: { node: "node-a" } },
    Sync: { kind: { $case: "hello", value: { node: "node-a" } } },
    Report: { node: "node-a" },
    WatchResources: { network: "blue", revision: 1n << 60n },
    TailConnections: { filter: "nonsense(" },
    WatchTraffic: { filter: "nonsense(" },
  };
  return about[name] ?? { network: "blue" };
}

let cluster: SecureController;
let authorities = "";
const callers = new Map<CallerName, Caller>();

beforeAll(async () => {
  cluster = await SecureController.start();
  const identity = await cluster.join("node-a");
  const ca = identity.authorities;
  authorities = ca;
  // It has an endpoint in the way, so that no call of the table deletes it.
  const local = cluster.local();
  await local.cluster.createNetwork({ network: { name: "blue", prefix: "10.40.0.0/16" } });
  const node = { name: "node-a", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } };
  await local.agent.registerNode({ node });
  await local.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-a" } });
  const { ROLE_ADMIN, ROLE_JOIN, ROLE_OPERATOR, ROLE_VIEWER } = proto.Role;
  const byToken = async (name: string, role: proto.Role, networks: string[] = []) =>
    cluster.tls({ ca, token: await cluster.token(name, role, { networks }) });
  callers.set("nobody", cluster.tls({ ca }));
  callers.set("join", await byToken("join", ROLE_JOIN));
  callers.set("scoped", await byToken("scoped", ROLE_OPERATOR, ["blue"]));
  callers.set("viewer", await byToken("viewer", ROLE_VIEWER));
  callers.set("operator", await byToken("operator", ROLE_OPERATOR));
  callers.set("admin", await byToken("admin", ROLE_ADMIN));
  callers.set("node", cluster.tls({ ca, identity }));
});

afterAll(() => cluster?.remove());

function callerOf(who: CallerName): Caller {
  const caller = callers.get(who);
  if (!caller) throw new Error(`${who} is nobody`);
  return caller;
}

/**
 * So many that none fails to show who it is more often than is answered as such (beyond: security/abuse.test.ts), from an
 * address each: failures are counted by address.
 */
function strangersFor(failures: number): Promise<Caller[]> {
  const count = Math.ceil(failures / (FAILURE_BURST - 1));
  const from = (_: unknown, index: number) => cluster.strangerFrom(`127.0.1.${index + 1}`, authorities);
  return Promise.all(Array.from({ length: count }, from));
}

/** How the call ends; a stream that begins, or has nothing to say for so long, has been let in. */
async function outcome(
  caller: Caller,
  { service, key, name, requestStream, responseStream }: Method,
  patienceMs: number,
): Promise<string> {
  const abort = new AbortController();
  const methods = caller[service] as unknown as Record<string, (request: unknown, options: unknown) => never>;
  const request = requestOf(name);
  async function* requests() {
    yield request;
  }
  const call: unknown = methods[key]?.(requestStream ? requests() : request, { signal: abort.signal });
  if (!responseStream) return statusOf(call as Promise<unknown>);
  const first = (call as AsyncIterable<unknown>)[Symbol.asyncIterator]().next();
  let timer: NodeJS.Timeout | undefined;
  const silence = new Promise<string>((resolve) => {
    timer = setTimeout(resolve, patienceMs, "OK");
  });
  const status = await Promise.race([statusOf(first), silence]);
  clearTimeout(timer);
  abort.abort();
  return status;
}

/** With which status a method is refused to whom it is not for. A certificate can be renewed only where there is one. */
function refusalOf(who: CallerName, method: string): string {
  if (who === "nobody") return "UNAUTHENTICATED";
  return method === "RenewCertificate" ? "FAILED_PRECONDITION" : "PERMISSION_DENIED";
}

it("the table has every method of the API", () => {
  expect([...ALLOWED.keys()].toSorted()).toEqual(METHODS.map(({ name }) => name).toSorted());
});

describe.each(CALLERS)("%s", (who) => {
  const letIn = METHODS.filter(({ name }) => ALLOWED.get(name)?.includes(who));
  const others = METHODS.filter((method) => !letIn.includes(method));
  it("is refused what the table does not say, and every refusal is in the audit log", async () => {
    const callersOf = who === "nobody" ? await strangersFor(others.length) : [callerOf(who)];
    const outcomes = await Promise.all(
      others.map(async (method, index) => {
        const caller = callersOf[index % callersOf.length] ?? callerOf(who);
        return [method.name, await outcome(caller, method, 30_000)];
      }),
    );
    const expected = others.map(({ name }) => [name, refusalOf(who, name)]);
    expect(outcomes).toEqual(expected);
    const actor = { nobody: "unknown", node: "node/node-a" }[who as string] ?? `token/${who}`;
    const recorded = async () =>
      (await cluster.audit(`actor = "${actor}" AND code != OK`)).map(({ action, code }) => [
        action.split("/")[1],
        code,
      ]);
    await expect.poll(recorded).toEqual(expect.arrayContaining(expected));
  });

  // Those that would end what the others need are tried in security/abuse.test.ts and rotation.test.ts.
  const harmless = letIn.filter(({ name }) => !FATAL.test(name));
  it("is let in where the table says so", async () => {
    const caller = callerOf(who);
    const outcomes = await Promise.all(
      harmless.map(async (method) => [method.name, await outcome(caller, method, 300)]),
    );
    expect(outcomes.filter(([, status]) => status === "PERMISSION_DENIED")).toEqual([]);
    // A join token that is none is refused as a caller without credentials is.
    expect(outcomes.filter(([name, status]) => status === "UNAUTHENTICATED" && name !== "EnrollNode")).toEqual([]);
  });
});
