/**
 * Who may call which method: one entry for each method of each service, and nothing is allowed that is not here.
 * Pure; `rules.test.ts` compares it with the service definitions.
 */
import * as proto from "@slimfast/proto";
import { cluster, connection, narrowed, none, type Scope, watched, within } from "./scope.js";

/**
 * - `public`: anybody, also without credentials;
 * - `known`: whoever has any credentials;
 * - `viewer`, `operator`, `admin`: the role, or one that includes it;
 * - `node`: a node for itself, an admin for any;
 * - `certificate`: a node that came with a certificate.
 */
export type Need = "public" | "known" | "viewer" | "operator" | "admin" | "node" | "certificate";

/** What a request of a node is about: the node itself, or an endpoint whose node has to be looked up. */
export type NodeSubject = { readonly node: string } | { readonly endpoint: { network: string; name: string } };

export interface Rule {
  readonly need: Need;
  /** Whether it changes something: such calls are in the audit log, whatever became of them. */
  readonly isChange: boolean;
  readonly scope: Scope;
  /** For `node`: whom the (first) request speaks for. */
  readonly subject?: (request: unknown) => NodeSubject;
  /** "KIND/NAME", for the audit log. */
  readonly resource: (request: unknown) => string;
}

type Name<Request> = (request: Request) => string;

function named<Request>(name: Name<Request>): (request: unknown) => string {
  return name as (request: unknown) => string;
}

const nothing = (): string => "";

function read(scope: Scope, need: Need = "viewer"): Rule {
  return { need, isChange: false, scope, resource: nothing };
}

function change<Request>(scope: Scope, resource: Name<Request>, need: Need = "operator"): Rule {
  return { need, isChange: true, scope, resource: named(resource) };
}

function byNode<Request>(
  isChange: boolean,
  subject: (request: Request) => NodeSubject,
  resource: Name<Request> = nothing,
): Rule {
  const speaksFor = subject as (request: unknown) => NodeSubject;
  // Nodes have no scope, and tokens that have one are no admins.
  return { need: "node", isChange, scope: cluster, subject: speaksFor, resource: named(resource) };
}

const join = (...parts: readonly (string | undefined)[]): string => parts.map((part) => part ?? "").join("/");

const CLUSTER: Readonly<Record<string, Rule>> = {
  CreateNetwork: change<proto.CreateNetworkRequest>(
    within<proto.CreateNetworkRequest>(({ network }) => network?.name),
    ({ network }) => join("network", network?.name),
  ),
  GetNetwork: read(within<proto.GetNetworkRequest>(({ name }) => name)),
  ListNetworks: read(
    narrowed<proto.ListNetworksRequest, proto.ListNetworksResponse>({
      field: "name",
      visible: (response, isMine) => ({ ...response, networks: response.networks.filter(({ name }) => isMine(name)) }),
    }),
  ),
  UpdateNetwork: change<proto.UpdateNetworkRequest>(
    within<proto.UpdateNetworkRequest>(({ network }) => network?.name),
    ({ network }) => join("network", network?.name),
  ),
  DeleteNetwork: change<proto.DeleteNetworkRequest>(
    within<proto.DeleteNetworkRequest>(({ name }) => name),
    ({ name }) => join("network", name),
  ),

  GetNode: read(cluster),
  ListNodes: read(cluster),
  UpdateNode: change<proto.UpdateNodeRequest>(cluster, ({ node }) => join("node", node?.name)),
  DeleteNode: change<proto.DeleteNodeRequest>(cluster, ({ name }) => join("node", name)),

  GetEndpoint: read(within<proto.GetEndpointRequest>(({ network }) => network)),
  ListEndpoints: read(
    narrowed<proto.ListEndpointsRequest, proto.ListEndpointsResponse>({
      field: "network",
      network: ({ network }) => network,
      visible: (response, isMine) => ({
        ...response,
        endpoints: response.endpoints.filter(({ network }) => isMine(network)),
      }),
    }),
  ),
  UpdateEndpoint: change<proto.UpdateEndpointRequest>(
    within<proto.UpdateEndpointRequest>(({ endpoint }) => endpoint?.network),
    ({ endpoint }) => join("endpoint", endpoint?.network, endpoint?.name),
  ),

  CreatePortReservation: change<proto.CreatePortReservationRequest>(cluster, ({ portReservation }) =>
    join("reservation", portReservation?.name),
  ),
  GetPortReservation: read(cluster),
  UpdatePortReservation: change<proto.UpdatePortReservationRequest>(cluster, ({ portReservation }) =>
    join("reservation", portReservation?.name),
  ),
  DeletePortReservation: change<proto.DeletePortReservationRequest>(cluster, ({ name }) => join("reservation", name)),
  ListPortReservations: read(cluster),

  CreatePolicy: change<proto.CreatePolicyRequest>(
    within<proto.CreatePolicyRequest>(({ policy }) => policy?.network),
    ({ policy }) => join("policy", policy?.network, policy?.name),
  ),
  GetPolicy: read(within<proto.GetPolicyRequest>(({ network }) => network)),
  ListPolicies: read(
    narrowed<proto.ListPoliciesRequest, proto.ListPoliciesResponse>({
      field: "network",
      network: ({ network }) => network,
      visible: (response, isMine) => ({
        ...response,
        policies: response.policies.filter(({ network }) => isMine(network)),
      }),
    }),
  ),
  UpdatePolicy: change<proto.UpdatePolicyRequest>(
    within<proto.UpdatePolicyRequest>(({ policy }) => policy?.network),
    ({ policy }) => join("policy", policy?.network, policy?.name),
  ),
  DeletePolicy: change<proto.DeletePolicyRequest>(
    within<proto.DeletePolicyRequest>(({ network }) => network),
    ({ network, name }) => join("policy", network, name),
  ),

  WatchResources: read(
    watched<proto.WatchResourcesRequest, proto.WatchResourcesResponse>(
      ({ network }) => network,
      (response, isMine) => ({
        ...response,
        changes: response.changes.filter((one) => isMine(networkOfChange(one))),
      }),
    ),
  ),
};

/** The network in which a changed resource is, or which it is; undefined for others. By its name, as deletions have only that. */
function networkOfChange({ kind, name }: proto.ResourceChange): string | undefined {
  switch (kind) {
    case proto.ResourceKind.RESOURCE_KIND_NETWORK:
      return name;
    case proto.ResourceKind.RESOURCE_KIND_ENDPOINT:
    case proto.ResourceKind.RESOURCE_KIND_POLICY:
      return name.split("/")[0];
    default:
      return undefined;
  }
}

const OPERATIONS: Readonly<Record<string, Rule>> = {
  WatchOverview: read(cluster),
  ListConnectionRecords: read(
    narrowed<proto.ListConnectionRecordsRequest, proto.ListConnectionRecordsResponse>({
      field: "connection.network",
      visible: (response, isMine) => ({
        ...response,
        connections: response.connections.filter((record) => isMine(record.connection?.network)),
      }),
    }),
  ),
  TailConnections: read(
    narrowed<proto.TailConnectionsRequest, proto.TailConnectionsResponse>({
      field: "connection.network",
      visible: (response, isMine) => ({
        ...response,
        events: response.events.filter((record) => isMine(record.connection?.network)),
        updates: response.updates.filter((record) => isMine(record.connection?.network)),
      }),
    }),
  ),
  CutConnection: change<proto.CutConnectionRequest>(
    connection<proto.CutConnectionRequest>(({ id }) => id),
    ({ id }) => join("connection", id),
  ),
  WatchTraffic: read(narrowed<proto.WatchTrafficRequest, proto.WatchTrafficResponse>({ field: "connection.network" })),
  TryPolicy: read(within<proto.TryPolicyRequest>(({ policy }) => policy?.network)),
};

const ACCESS: Readonly<Record<string, Rule>> = {
  WhoAmI: read(none, "known"),
  CreateToken: change<proto.CreateTokenRequest>(cluster, ({ token }) => join("token", token?.name), "admin"),
  ListTokens: read(cluster, "admin"),
  RevokeToken: change<proto.RevokeTokenRequest>(cluster, ({ name }) => join("token", name), "admin"),
  RevokeNodeCertificates: change<proto.RevokeNodeCertificatesRequest>(
    cluster,
    ({ node }) => join("node", node),
    "admin",
  ),
  ListAuthorities: read(cluster, "admin"),
  RotateAuthority: change<proto.RotateAuthorityRequest>(cluster, () => "authority", "admin"),
  ListAuditEntries: read(cluster, "admin"),
  WatchAuditEntries: read(cluster, "admin"),
};

const AGENT: Readonly<Record<string, Rule>> = {
  RegisterNode: byNode<proto.RegisterNodeRequest>(
    true,
    ({ node }) => ({ node: node?.name ?? "" }),
    ({ node }) => join("node", node?.name),
  ),
  CreateEndpoint: byNode<proto.CreateEndpointRequest>(
    true,
    ({ endpoint }) => ({ node: endpoint?.node ?? "" }),
    ({ endpoint }) => join("endpoint", endpoint?.network, endpoint?.name),
  ),
  DeleteEndpoint: byNode<proto.DeleteEndpointRequest>(
    true,
    ({ network, name }) => ({ endpoint: { network, name } }),
    ({ network, name }) => join("endpoint", network, name),
  ),
  Sync: byNode<proto.SyncRequest>(false, ({ kind }) => ({ node: kind?.$case === "hello" ? kind.value.node : "" })),
  Report: byNode<proto.ReportRequest>(false, ({ node }) => ({ node })),
  RenewCertificate: { need: "certificate", isChange: true, scope: none, resource: nothing },
};

const ENROLLMENT: Readonly<Record<string, Rule>> = {
  EnrollNode: change<proto.EnrollNodeRequest>(none, ({ node }) => join("node", node), "public"),
};

const OTHERS: Readonly<Record<string, Rule>> = {
  // What answers is no secret, and load balancers have no credentials.
  "/grpc.health.v1.Health/Check": read(none, "public"),
  "/grpc.health.v1.Health/List": read(none, "public"),
  "/grpc.health.v1.Health/Watch": read(none, "public"),
  "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo": read(none, "known"),
  "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo": read(none, "known"),
};

function ofService(service: string, rules: Readonly<Record<string, Rule>>): [string, Rule][] {
  return Object.entries(rules).map(([method, rule]) => [`/slimfast.v1.${service}/${method}`, rule]);
}

/** By the path of the method, as it stands in the request. */
export const RULES: ReadonlyMap<string, Rule> = new Map([
  ...ofService("ClusterService", CLUSTER),
  ...ofService("OperationsService", OPERATIONS),
  ...ofService("AccessService", ACCESS),
  ...ofService("AgentService", AGENT),
  ...ofService("EnrollmentService", ENROLLMENT),
  ...Object.entries(OTHERS),
]);

/** As the audit log names a method: "ClusterService/CreateNetwork". */
export function actionOf(path: string): string {
  return path.replace(/^\/(?:[a-z0-9_]+\.)*/, "");
}
