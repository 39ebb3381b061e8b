/** Samples of what the core reports and the controller says, for tests. */
import type { ConnectionState, CoreEvent } from "@slimfast/core";
import { Endpoint, Network, Node, ResourceKind } from "@slimfast/proto";

export function connectionState(more: Partial<ConnectionState> = {}): ConnectionState {
  return {
    cookie: 2n ** 63n,
    vni: 7,
    endpointId: 1,
    direction: "outbound",
    tier: "notify",
    state: "ESTABLISHED",
    local: { address: "10.32.0.2", port: 40_000 },
    peer: { address: "10.32.0.3", port: 80 },
    underlayLocal: { address: "10.200.0.1", port: 40_001 },
    underlayPeer: { address: "10.200.0.2", port: 7_000 },
    bytesSent: 2n ** 40n,
    bytesReceived: 7n,
    rttUs: 50,
    durationUs: 1_000_000n,
    setupUs: 60,
    ...more,
  };
}

type CoreConnectionEvent = Extract<CoreEvent, { connection: ConnectionState }>;

export function connectionEvent(more: Partial<CoreConnectionEvent> = {}): CoreConnectionEvent {
  return { kind: "opened", timeNs: 1_700_000_000_123_456_789n, connection: connectionState(), error: null, ...more };
}

export function node(name: string, more: Partial<Node> = {}): Node {
  const wanted = { name, underlayAddress: "10.200.0.1", frontPorts: { first: 7000, count: 16 }, revision: 1n };
  return { ...Node.fromPartial(wanted), ...more };
}

export function network(name: string, vni: number, more: Partial<Network> = {}): Network {
  return { ...Network.fromPartial({ name, vni, prefix: "10.32.0.0/16", revision: 1n }), ...more };
}

/** An endpoint `blue/NAME` of network 7. */
export function endpoint(name: string, id: number, more: Partial<Endpoint> = {}): Endpoint {
  const wanted = { name, network: "blue", node: "node-1", vni: 7, id, address: `10.32.0.${id + 1}`, revision: 1n };
  return { ...Endpoint.fromPartial(wanted), ...more };
}

export const removedNode = (name: string) => ({ kind: ResourceKind.RESOURCE_KIND_NODE, name, revision: 0n });
export const removedNetwork = (name: string) => ({ kind: ResourceKind.RESOURCE_KIND_NETWORK, name, revision: 0n });
export const removedEndpoint = (name: string) => ({ kind: ResourceKind.RESOURCE_KIND_ENDPOINT, name, revision: 0n });
