/** Whether an identity may make a request, by the rule of its method. Pure, but for what it looks up. */
import { ClusterError } from "../errors.js";
import { actorOf, hasRole, type Identity, permissionDenied, scopeOf, unauthenticated } from "./identity.js";
import type { NodeSubject, Rule } from "./rules.js";

export interface SubjectLookups {
  /** The node of an endpoint; undefined if there is none. */
  nodeOfEndpoint(network: string, name: string): string | undefined;
  /** The network of a live connection, by the id of its record; undefined if there is none. */
  networkOfConnection(id: string): Promise<string | undefined>;
}

/** @throws ClusterError unless the method may be called at all. */
export function checkRole(rule: Rule, identity: Identity): void {
  const { need } = rule;
  if (need === "public") return;
  if (identity.kind === "unknown") {
    throw unauthenticated('this needs a token (metadata "authorization: Bearer TOKEN") or a valid client certificate');
  }
  if (need === "known") return;
  if (need === "certificate") {
    if (identity.kind === "node") return;
    throw new ClusterError("failed_precondition", "only a node that has a certificate can renew it");
  }
  if (need === "node") {
    if (identity.kind === "node") return;
    if (hasRole(identity, "admin") && scopeOf(identity) === undefined) return;
    throw permissionDenied(`${actorOf(identity)} is no node, nor admin of the whole cluster`);
  }
  if (!hasRole(identity, need))
    throw permissionDenied(`this needs the role ${need}, which ${actorOf(identity)} has not`);
  const { scope } = rule;
  if (scope.kind === "cluster") {
    const networks = scopeOf(identity);
    if (networks) throw permissionDenied(`${limits(identity, networks)}, and this concerns the whole cluster`);
  }
}

/** @throws ClusterError `permission_denied` if a node speaks for another. */
export function checkSubject(rule: Rule, identity: Identity, request: unknown, lookups: SubjectLookups): void {
  if (identity.kind !== "node" || !rule.subject) return;
  const node = nodeOf(rule.subject(request), lookups);
  if (node !== undefined && node !== identity.name) {
    throw permissionDenied(`node ${identity.name} cannot speak for ${node === "" ? "no node" : `node ${node}`}`);
  }
}

function nodeOf(subject: NodeSubject, lookups: SubjectLookups): string | undefined {
  if ("node" in subject) return subject.node;
  return lookups.nodeOfEndpoint(subject.endpoint.network, subject.endpoint.name);
}

/**
 * The request as it may be made by the identity.
 *
 * @throws ClusterError `permission_denied` if it names a network of others; `not_found` for a connection in one.
 */
export async function narrowedRequest(
  { scope }: Rule,
  identity: Identity,
  request: unknown,
  lookups: SubjectLookups,
): Promise<unknown> {
  const networks = scopeOf(identity);
  if (!networks) return request;
  if (scope.kind === "connection") {
    const id = scope.id(request);
    const network = await lookups.networkOfConnection(id);
    if (network !== undefined && networks.includes(network)) return request;
    // As if it were not there.
    throw new ClusterError("not_found", `there is no live connection ${JSON.stringify(id)}`);
  }
  if (scope.kind !== "networks") return request;
  const foreign = scope.named(request).find((name) => !networks.includes(name));
  if (foreign !== undefined) {
    throw permissionDenied(`${limits(identity, networks)}, and ${JSON.stringify(foreign)} is none of them`);
  }
  return scope.narrow ? scope.narrow(request, networks) : request;
}

/** The part of a response that the identity may see. */
export function visibleResponse<Response>({ scope }: Rule, identity: Identity, response: Response): Response {
  const networks = scopeOf(identity);
  if (!networks || scope.kind !== "networks" || !scope.visible) return response;
  return scope.visible(response, networks) as Response;
}

function limits(identity: Identity, networks: readonly string[]): string {
  return `${actorOf(identity)} is limited to network${networks.length > 1 ? "s" : ""} ${networks.join(", ")}`;
}
