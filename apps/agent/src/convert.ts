/** The core's view of connections as messages of the API: ids become the names that the cluster's state has for them. */
import type { AddressPort, ConnectionState, CoreEvent, ListenerState } from "@slimfast/core";
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventKind,
  Direction,
  type Listener,
  type SocketAddress,
  Tier,
  Verdict,
} from "@slimfast/proto";
import type { ClusterState } from "./cluster-state.js";

/** An event about a connection. */
export type CoreConnectionEvent = Extract<CoreEvent, { connection: ConnectionState }>;

const EVENT_KIND: Readonly<Record<CoreConnectionEvent["kind"], ConnectionEventKind>> = {
  opened: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED,
  accepted: ConnectionEventKind.CONNECTION_EVENT_KIND_ACCEPTED,
  closed: ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED,
  refused: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED,
};

export class Converter {
  readonly #node: string;
  readonly #state: ClusterState;

  constructor(node: string, state: ClusterState) {
    this.#node = node;
    this.#state = state;
  }

  connection(core: ConnectionState): Connection {
    const { network, endpoint } = this.#owner(core.vni, core.endpointId);
    const isLoopback = core.peer.address === "127.0.0.1" || core.peer.address === "::1";
    const peer = this.#state.endpointByAddress(core.vni, core.peer.address)?.name;
    return {
      cookie: core.cookie,
      node: this.#node,
      network,
      endpoint,
      direction: core.direction === "outbound" ? Direction.DIRECTION_OUTBOUND : Direction.DIRECTION_INBOUND,
      local: address(core.local),
      peer: address(core.peer),
      underlayLocal: address(core.underlayLocal),
      underlayPeer: address(core.underlayPeer),
      peerEndpoint: isLoopback ? endpoint : (peer ?? ""),
      tier: core.tier === "preload" ? Tier.TIER_PRELOAD : Tier.TIER_NOTIFY,
      state: core.state,
      bytesSent: core.bytesSent,
      bytesReceived: core.bytesReceived,
      rttUs: core.rttUs,
      durationUs: core.durationUs,
      setupUs: core.setupUs,
      verdict: Verdict.VERDICT_UNSPECIFIED,
      policy: "",
    };
  }

  event(core: CoreConnectionEvent): ConnectionEvent {
    return {
      kind: EVENT_KIND[core.kind],
      time: new Date(Number(core.timeNs / 1_000_000n)),
      connection: this.connection(core.connection),
      error: core.error ?? "",
    };
  }

  listener(core: ListenerState): Listener {
    const { network, endpoint } = this.#owner(core.vni, core.endpointId);
    return {
      node: this.#node,
      network,
      endpoint,
      local: address(core.local),
      v6Only: core.v6Only,
      cookie: core.cookie,
    };
  }

  /** An endpoint that nobody knows any more is named by its numbers. */
  #owner(vni: number, id: number): { network: string; endpoint: string } {
    const known = this.#state.endpointById(vni, id);
    return { network: known?.network ?? `vni-${vni}`, endpoint: known?.name ?? `id-${id}` };
  }
}

function address({ address, port }: AddressPort): SocketAddress {
  return { address, port };
}
