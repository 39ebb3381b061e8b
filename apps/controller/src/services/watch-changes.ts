/** Commits and states of the store as the changes that a watch reports, and which of them a watch is about. Pure. */
import { type ResourceChange, ResourceKind } from "@slimfast/proto";
import type { Network } from "../domain/resources.js";
import { invalidField } from "../errors.js";
import { endpointMessage, networkMessage, policyMessage, reservationMessage } from "../messages.js";
import type { Change, Commit, StoreReader } from "../store/store.js";
import type { Presence } from "./cluster.js";
import { presentNode } from "./nodes.js";

type Resource = NonNullable<ResourceChange["resource"]>;

const KINDS: Readonly<Record<Resource["$case"], ResourceKind>> = {
  node: ResourceKind.RESOURCE_KIND_NODE,
  network: ResourceKind.RESOURCE_KIND_NETWORK,
  endpoint: ResourceKind.RESOURCE_KIND_ENDPOINT,
  policy: ResourceKind.RESOURCE_KIND_POLICY,
  portReservation: ResourceKind.RESOURCE_KIND_PORT_RESERVATION,
};

/** A change with what decides whether a watch is about it. */
export interface WatchedChange {
  readonly message: ResourceChange;
  /** Name of the network that it is, or is in. */
  readonly network?: string;
}

export interface WatchScope {
  readonly wants: (kind: ResourceKind) => boolean;
  readonly network: string;
  readonly includes: (change: WatchedChange) => boolean;
}

/** @throws ClusterError `invalid_argument` for a kind that cannot be watched. */
export function watchScope(kinds: readonly ResourceKind[], network: string): WatchScope {
  const known = new Set(Object.values(KINDS));
  for (const [index, kind] of kinds.entries()) {
    if (!known.has(kind)) throw invalidField(`kinds[${index}]`, `${kind} is not a kind of resource`);
  }
  const wanted = kinds.length === 0 ? known : new Set(kinds);
  const wants = (kind: ResourceKind): boolean => wanted.has(kind);
  return {
    wants,
    network,
    includes: (change) =>
      wants(change.message.kind) && (network === "" || change.network === undefined || change.network === network),
  };
}

/** @param resource Undefined: it was deleted. */
function watched(
  $case: Resource["$case"],
  name: string,
  resource: Resource | undefined,
  network?: string,
): WatchedChange {
  const message = { kind: KINDS[$case], name, resource };
  return network === undefined ? { message } : { message, network };
}

function existing(name: string, resource: Resource, network?: string): WatchedChange {
  return watched(resource.$case, name, resource, network);
}

function changeOf(change: Change, reader: StoreReader, presence: Presence): WatchedChange | undefined {
  const { key } = change;
  switch (change.kind) {
    case "node": {
      const { after } = change;
      const value = after && presentNode(after, presence);
      return watched("node", key, value && { $case: "node", value });
    }
    case "refusal":
    case "presence": {
      const node = reader.getNode(key);
      return node && existing(key, { $case: "node", value: presentNode(node, presence) });
    }
    case "network": {
      const value = change.after && networkMessage(change.after);
      return watched("network", key, value && { $case: "network", value }, key);
    }
    case "endpoint": {
      const value = change.after && endpointMessage(change.after);
      return watched("endpoint", key, value && { $case: "endpoint", value }, key.split("/")[0]);
    }
    case "policy": {
      const value = change.after && policyMessage(change.after);
      return watched("policy", key, value && { $case: "policy", value }, key.split("/")[0]);
    }
    case "reservation": {
      const value = change.after && reservationMessage(change.after);
      return watched("portReservation", key, value && { $case: "portReservation", value });
    }
    default:
      return undefined;
  }
}

const converted = new WeakMap<Commit, readonly WatchedChange[]>();

/** What a commit changed, once for all watches. */
export function changesOf(commit: Commit, reader: StoreReader, presence: Presence): readonly WatchedChange[] {
  const known = converted.get(commit);
  if (known) return known;
  const changes = commit.changes.flatMap((change) => changeOf(change, reader, presence) ?? []);
  converted.set(commit, changes);
  return changes;
}

/** All that exists of what a watch is about, as if it had just come: networks before what is in them. */
export function existingChanges(scope: WatchScope, reader: StoreReader, presence: Presence): ResourceChange[] {
  const found: WatchedChange[] = [];
  if (scope.wants(KINDS.node)) {
    for (const node of reader.listNodes({ limit: -1 })) {
      found.push(existing(node.name, { $case: "node", value: presentNode(node, presence) }));
    }
  }
  if (scope.wants(KINDS.portReservation)) {
    for (const reservation of reader.listReservations({ limit: -1 })) {
      const { node, ports, purpose, name } = reservation;
      const key = purpose === "static" ? name : `${node}/${ports.first}`;
      found.push(existing(key, { $case: "portReservation", value: reservationMessage(reservation) }));
    }
  }
  for (const network of networksOf(scope, reader)) found.push(...inNetwork(network, scope, reader));
  return found.map(({ message }) => message);
}

function networksOf({ network }: WatchScope, reader: StoreReader): readonly Network[] {
  if (network === "") return reader.listNetworks({ limit: -1 });
  const only = reader.getNetwork(network);
  return only ? [only] : [];
}

function* inNetwork(network: Network, { wants }: WatchScope, reader: StoreReader): Generator<WatchedChange> {
  const { name } = network;
  if (wants(KINDS.network)) yield existing(name, { $case: "network", value: networkMessage(network) }, name);
  if (wants(KINDS.policy)) {
    for (const policy of reader.listPolicies({ network: name, limit: -1 })) {
      yield existing(`${name}/${policy.name}`, { $case: "policy", value: policyMessage(policy) }, name);
    }
  }
  if (wants(KINDS.endpoint)) {
    for (const endpoint of reader.listEndpoints({ network: name, limit: -1 })) {
      yield existing(`${name}/${endpoint.name}`, { $case: "endpoint", value: endpointMessage(endpoint) }, name);
    }
  }
}
