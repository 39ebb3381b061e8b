/** Resources of the domain as messages of the API. Pure. */
import * as proto from "@slimfast/proto";
import type { Endpoint, Network, Node, PortReservation } from "./domain/resources.js";

export function nodeMessage(node: Node, connected: boolean): proto.Node {
  return proto.Node.fromPartial({
    name: node.name,
    underlayAddress: node.underlayAddress,
    frontPorts: { ...node.frontPorts },
    connected,
    createTime: new Date(node.createTimeMs),
    revision: node.revision,
  });
}

export function networkMessage(network: Network): proto.Network {
  const { name, vni, prefix, revision } = network;
  return proto.Network.fromPartial({ name, vni, prefix, createTime: new Date(network.createTimeMs), revision });
}

export function endpointMessage(endpoint: Endpoint): proto.Endpoint {
  const { name, network, node, id, address, vni, revision } = endpoint;
  return proto.Endpoint.fromPartial({
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
  });
}

const PURPOSES = {
  front: proto.PortPurpose.PORT_PURPOSE_FRONT,
  published: proto.PortPurpose.PORT_PURPOSE_PUBLISHED,
  static: proto.PortPurpose.PORT_PURPOSE_STATIC,
} as const;

export function reservationMessage(reservation: PortReservation): proto.PortReservation {
  const { node, ports, purpose, owner, revision } = reservation;
  return proto.PortReservation.fromPartial({ node, ports: { ...ports }, purpose: PURPOSES[purpose], owner, revision });
}
