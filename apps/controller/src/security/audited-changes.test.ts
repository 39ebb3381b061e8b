/** Every method that changes something, done once and refused once: the audit log has both, with what was before and what is after. */
import * as proto from "@slimfast/proto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { closed, connection, ReportingAgent } from "../testing/connections.js";
import {
  type Caller,
  type NodeIdentity,
  newNodeKey,
  SecureController,
  statusOf,
} from "../testing/secure-controller.js";
import { RULES } from "./rules.js";

let cluster: SecureController;
let local: Caller;
let identity: NodeIdentity;
let node: Caller;
const NODE = { name: "node-a", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } };
const SELECTORS = { from: [{ labels: { app: "web" } }], to: [{ endpoint: "db" }] };

beforeAll(async () => {
  cluster = await SecureController.start();
  local = cluster.local();
  identity = await cluster.join("node-a");
  node = cluster.tls({ ca: identity.authorities, identity });
});

afterAll(() => cluster?.remove());

interface Step {
  readonly action: string;
  readonly resource: string;
  readonly call: () => Promise<unknown>;
  /** Texts of the documents that the entry has; none: it has no document there. */
  readonly before?: string;
  readonly after?: string;
  /** The same call when it cannot be done, and how that ends. */
  readonly refused: () => Promise<unknown>;
  readonly code: string;
}

/** In this order: each is possible after those before it. */
const STEPS: readonly Step[] = [
  {
    action: "EnrollmentService/EnrollNode",
    resource: "node/node-b",
    call: () => cluster.join("node-b"),
    after: "node-b",
    refused: async () => {
      const { request } = await newNodeKey();
      return local.enrollment.enrollNode({ node: "node-b", joinToken: "none", certificateRequest: request });
    },
    code: "UNAUTHENTICATED",
  },
  {
    action: "AgentService/RenewCertificate",
    resource: "node/node-a",
    call: async () => node.agent.renewCertificate({ certificateRequest: (await newNodeKey()).request }),
    before: "node-a",
    after: "node-a",
    refused: () => node.agent.renewCertificate({}),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "AgentService/RegisterNode",
    resource: "node/node-a",
    call: () => node.agent.registerNode({ node: NODE }),
    after: "10.200.0.1",
    refused: () => node.agent.registerNode({ node: { ...NODE, underlayAddress: "nonsense" } }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "ClusterService/UpdateNode",
    resource: "node/node-a",
    call: () => local.cluster.updateNode({ node: { name: "node-a", labels: { rack: "r7" } }, updateMask: ["labels"] }),
    before: "10.200.0.1",
    after: "r7",
    refused: () => local.cluster.updateNode({ node: { name: "node-a" }, updateMask: ["state"] }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "ClusterService/CreateNetwork",
    resource: "network/blue",
    call: () => local.cluster.createNetwork({ network: { name: "blue", prefix: "10.40.0.0/16" } }),
    after: "10.40.0.0/16",
    refused: () => local.cluster.createNetwork({ network: { name: "blue", prefix: "10.40.0.0/16" } }),
    code: "ALREADY_EXISTS",
  },
  {
    action: "ClusterService/UpdateNetwork",
    resource: "network/blue",
    call: () => local.cluster.updateNetwork({ network: { name: "blue", description: "x7" } }),
    before: "10.40.0.0/16",
    after: "x7",
    refused: () => local.cluster.updateNetwork({ network: { name: "blue" }, updateMask: ["prefix"] }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "AgentService/CreateEndpoint",
    resource: "endpoint/blue/web",
    call: () => node.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-a" } }),
    after: "10.40.0.1",
    refused: () => node.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-a" } }),
    code: "ALREADY_EXISTS",
  },
  {
    action: "ClusterService/UpdateEndpoint",
    resource: "endpoint/blue/web",
    call: () => local.cluster.updateEndpoint({ endpoint: { name: "web", network: "blue", labels: { app: "x7" } } }),
    before: "10.40.0.1",
    after: "x7",
    refused: () => local.cluster.updateEndpoint({ endpoint: { name: "web", network: "blue", etag: "old" } }),
    code: "ABORTED",
  },
  {
    action: "ClusterService/CreatePolicy",
    resource: "policy/blue/rule",
    call: () => local.cluster.createPolicy({ policy: { name: "rule", network: "blue", action: 2, ...SELECTORS } }),
    after: "DENY",
    refused: () => local.cluster.createPolicy({ policy: { name: "rule", network: "blue" } }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "ClusterService/UpdatePolicy",
    resource: "policy/blue/rule",
    call: () =>
      local.cluster.updatePolicy({ policy: { name: "rule", network: "blue", action: 1 }, updateMask: ["action"] }),
    before: "DENY",
    after: "ALLOW",
    refused: () => local.cluster.updatePolicy({ policy: { name: "rule", network: "blue" }, updateMask: ["from"] }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "OperationsService/CutConnection",
    resource: "connection/node-a/7",
    call: async () => {
      const agent = new ReportingAgent(node, "node-a", [connection(7)], (cookie, self) =>
        self.report({ events: [closed(Number(cookie), Date.now())] }),
      );
      await expect.poll(() => statusOf(local.operations.cutConnection({ id: "node-a/7" }))).toBe("OK");
      await agent.stop();
    },
    refused: () => local.operations.cutConnection({ id: "node-a/7" }),
    // Its node does not report any more.
    code: "UNAVAILABLE",
  },
  {
    action: "ClusterService/DeletePolicy",
    resource: "policy/blue/rule",
    call: () => local.cluster.deletePolicy({ name: "rule", network: "blue" }),
    before: "ALLOW",
    refused: () => local.cluster.deletePolicy({ name: "rule", network: "blue" }),
    code: "NOT_FOUND",
  },
  {
    action: "AgentService/DeleteEndpoint",
    resource: "endpoint/blue/web",
    call: () => node.agent.deleteEndpoint({ name: "web", network: "blue" }),
    before: "10.40.0.1",
    refused: () => node.agent.deleteEndpoint({ name: "Not A Name", network: "blue" }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "ClusterService/DeleteNetwork",
    resource: "network/blue",
    call: () => local.cluster.deleteNetwork({ name: "blue" }),
    before: "10.40.0.0/16",
    refused: () => local.cluster.deleteNetwork({ name: "blue" }),
    code: "NOT_FOUND",
  },
  {
    action: "ClusterService/CreatePortReservation",
    resource: "reservation/db",
    call: () =>
      local.cluster.createPortReservation({
        portReservation: { name: "db", node: "node-a", ports: { first: 9_000, count: 1 } },
      }),
    after: "9000",
    refused: () =>
      local.cluster.createPortReservation({
        portReservation: { name: "two", node: "node-a", ports: { first: 9_000, count: 1 } },
      }),
    code: "ALREADY_EXISTS",
  },
  {
    action: "ClusterService/UpdatePortReservation",
    resource: "reservation/db",
    call: () =>
      local.cluster.updatePortReservation({
        portReservation: { name: "db", description: "x7" },
        updateMask: ["description"],
      }),
    before: "9000",
    after: "x7",
    refused: () => local.cluster.updatePortReservation({ portReservation: { name: "none", description: "x7" } }),
    code: "NOT_FOUND",
  },
  {
    action: "ClusterService/DeletePortReservation",
    resource: "reservation/db",
    call: () => local.cluster.deletePortReservation({ name: "db" }),
    before: "x7",
    refused: () => local.cluster.deletePortReservation({ name: "db" }),
    code: "NOT_FOUND",
  },
  {
    action: "AccessService/CreateToken",
    resource: "token/reader",
    call: () => local.access.createToken({ token: { name: "reader", role: proto.Role.ROLE_VIEWER } }),
    after: "VIEWER",
    refused: () => local.access.createToken({ token: { name: "reader", role: proto.Role.ROLE_VIEWER } }),
    code: "ALREADY_EXISTS",
  },
  {
    action: "AccessService/RevokeToken",
    resource: "token/reader",
    call: () => local.access.revokeToken({ name: "reader" }),
    before: "VIEWER",
    refused: () => local.access.revokeToken({ name: "Not A Name" }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "AccessService/RotateAuthority",
    resource: "authority",
    call: () => local.access.rotateAuthority({}),
    after: "",
    refused: () => local.access.rotateAuthority({}),
    code: "FAILED_PRECONDITION",
  },
  {
    action: "AccessService/RevokeNodeCertificates",
    resource: "node/node-b",
    call: () => local.access.revokeNodeCertificates({ node: "node-b" }),
    before: "node-b",
    refused: () => local.access.revokeNodeCertificates({ node: "Not A Name" }),
    code: "INVALID_ARGUMENT",
  },
  {
    action: "ClusterService/DeleteNode",
    resource: "node/node-a",
    call: () => local.cluster.deleteNode({ name: "node-a" }),
    before: "r7",
    refused: () => local.cluster.deleteNode({ name: "node-a" }),
    code: "NOT_FOUND",
  },
];

it("each method that changes something is here", () => {
  const changing = [...RULES].filter(([, { isChange }]) => isChange).map(([path]) => path.split(".").at(-1));
  expect(STEPS.map(({ action }) => action).toSorted()).toEqual(changing.toSorted());
});

it.each(STEPS)("$action", async ({ action, resource, call, before, after, refused, code }) => {
  await call();
  // Before it is answered.
  const done = (await cluster.audit(`action = "${action}" AND code = OK`)).filter((one) =>
    before === undefined && after === undefined ? one.resource === resource : one.before !== "" || one.after !== "",
  );
  const [entry] = done;
  expect(entry).toBeDefined();
  expect(entry?.resource).toContain(resource.split("/")[0]);
  const documents: readonly (readonly [string | undefined, string | undefined])[] = [
    [entry?.before, before],
    [entry?.after, after],
  ];
  for (const [document = "", text] of documents) {
    if (text === undefined) expect(document).toBe("");
    else expect(JSON.stringify(JSON.parse(document))).toContain(text);
  }
  expect(await statusOf(refused())).toBe(code);
  await expect
    .poll(async () => (await cluster.audit(`action = "${action}" AND code = ${code}`))[0]?.message)
    .toMatch(/\w/);
});
