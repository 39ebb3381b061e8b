/** Resources of the domain as messages of the API, and what messages ask for as values of the domain. Pure. */
import * as proto from "@slimfast/proto";
import { etagOf } from "./domain/etag.js";
import type { WantedPolicy } from "./domain/requests/policy.js";
import type {
  Endpoint,
  EndpointSelector,
  Network,
  Node,
  NodeState,
  Policy,
  PortReservation,
} from "./domain/resources.js";

const NODE_STATES = {
  active: proto.NodeState.NODE_STATE_ACTIVE,
  draining: proto.NodeState.NODE_STATE_DRAINING,
} as const;

const PURPOSES = {
  front: proto.PortPurpose.PORT_PURPOSE_FRONT,
  published: proto.PortPurpose.PORT_PURPOSE_PUBLISHED,
  static: proto.PortPurpose.PORT_PURPOSE_STATIC,
} as const;

const ACTIONS = {
  allow: proto.PolicyAction.POLICY_ACTION_ALLOW,
  deny: proto.PolicyAction.POLICY_ACTION_DENY,
} as const;

/** The key whose value it is. */
function keyOfValue<Key extends string>(table: Readonly<Record<Key, number>>, value: number): Key | undefined {
  return (Object.keys(table) as Key[]).find((key) => table[key] === value);
}

/** @param syncError Why it is out of step; empty if it is not. */
export function nodeMessage(node: Node, connected: boolean, syncError = ""): proto.Node {
  const { name, underlayAddress, revision, agentVersion, certificateExpireTimeMs } = node;
  return {
    name,
    underlayAddress,
    frontPorts: { ...node.frontPorts },
    connected,
    createTime: new Date(node.createTimeMs),
    revision,
    state: NODE_STATES[node.state],
    labels: { ...node.labels },
    etag: etagOf(revision),
    agentVersion,
    certificateExpireTime: certificateExpireTimeMs === undefined ? undefined : new Date(certificateExpireTimeMs),
    syncError,
  };
}

/** Undefined: not a state that there is. */
export function nodeStateOf(state: proto.NodeState): NodeState | undefined {
  return keyOfValue(NODE_STATES, state);
}

export function networkMessage(network: Network): proto.Network {
  const { name, vni, prefix, revision, description, defaultDeny, nodeSubnetLength } = network;
  return {
    name,
    vni,
    prefix,
    createTime: new Date(network.createTimeMs),
    revision,
    description,
    labels: { ...network.labels },
    defaultDeny,
    nodeSubnetLength,
    etag: etagOf(revision),
    egress: [...(network.egress ?? [])],
    prefix6: network.prefix6 ?? "",
    nodeSubnet6Length: network.nodeSubnet6Length ?? 0,
  };
}

export function endpointMessage(endpoint: Endpoint): proto.Endpoint {
  const { name, network, node, id, address, vni, revision } = endpoint;
  return {
    name,
    network,
    node,
    id,
    address,
    publishedPorts: endpoint.publishedPorts.map((port) => ({ ...port })),
    labels: { ...endpoint.labels },
    createTime: new Date(endpoint.createTimeMs),
    revision,
    vni,
    etag: etagOf(revision),
    plain: endpoint.plain ?? false,
    address6: endpoint.address6 ?? "",
    unguardedListeners: endpoint.unguardedListeners ?? 0,
  };
}

export function reservationMessage(reservation: PortReservation): proto.PortReservation {
  const { node, ports, purpose, owner, revision, name, description, expireTimeMs } = reservation;
  return {
    node,
    ports: { ...ports },
    purpose: PURPOSES[purpose],
    owner,
    revision,
    name,
    description,
    expireTime: expireTimeMs === undefined ? undefined : new Date(expireTimeMs),
    createTime: new Date(reservation.createTimeMs),
    // Only static ones can be updated.
    etag: purpose === "static" ? etagOf(revision) : "",
  };
}

function selectorMessage({ labels, prefix, endpoint }: EndpointSelector): proto.EndpointSelector {
  return { labels: { ...labels }, prefix, endpoint };
}

export function policyMessage(policy: Policy): proto.Policy {
  const { name, network, action, ports, description, revision } = policy;
  return {
    name,
    network,
    action: ACTIONS[action],
    from: policy.from.map(selectorMessage),
    to: policy.to.map(selectorMessage),
    ports: ports.map((range) => ({ ...range })),
    description,
    createTime: new Date(policy.createTimeMs),
    revision,
    etag: etagOf(revision),
  };
}

export function wantedPolicy(message: proto.Policy): WantedPolicy {
  const { name, network, from, to, ports, description } = message;
  return { name, network, action: keyOfValue(ACTIONS, message.action), from, to, ports, description };
}
