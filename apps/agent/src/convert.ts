/**
 * The core's view of connections as messages of the API: ids become the names that the cluster's state has for them, and
 * what the policies say is filled in.
 */
import type { AddressPort, ConnectionState, CoreEvent, ListenerState } from "@slimfast/core";
import {
  type Connection,
  type ConnectionEvent,
  ConnectionEventKind,
  Direction,
  type Endpoint,
  type Listener,
  type PolicyDecision,
  type SocketAddress,
  Tier,
  Verdict,
} from "@slimfast/proto";
import type { ClusterState } from "./cluster-state.js";
import { tableOf } from "./policy/table.js";

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
    const owner = this.#state.endpointById(core.vni, core.endpointId);
    const { network, endpoint } = nameOf(owner, core.vni, core.endpointId);
    const isLoopback = core.peer.address === "127.0.0.1" || core.peer.address === "::1";
    const peer = this.#state.endpointByAddress(core.vni, core.peer.address);
    const decision = owner && peer ? this.#decide(core, owner, peer) : undefined;
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
      peerEndpoint: isLoopback ? endpoint : (peer?.name ?? ""),
      tier: core.tier === "preload" ? Tier.TIER_PRELOAD : Tier.TIER_NOTIFY,
      state: core.state,
      bytesSent: core.bytesSent,
      bytesReceived: core.bytesReceived,
      rttUs: core.rttUs,
      durationUs: core.durationUs,
      setupUs: core.setupUs,
      verdict: decision?.verdict ?? Verdict.VERDICT_UNSPECIFIED,
      policy: decision?.policy ?? "",
    };
  }

  event(core: CoreConnectionEvent): ConnectionEvent {
    const connection = this.connection(core.connection);
    // The kernel has decided, whatever the policies have become since.
    if (core.error === "EPERM" && connection.verdict !== Verdict.VERDICT_DENIED) {
      connection.verdict = Verdict.VERDICT_DENIED;
      connection.policy = "";
    }
    return {
      kind: EVENT_KIND[core.kind],
      time: new Date(Number(core.timeNs / 1_000_000n)),
      connection,
      error: core.error ?? "",
    };
  }

  listener(core: ListenerState): Listener {
    const owner = this.#state.endpointById(core.vni, core.endpointId);
    const { network, endpoint } = nameOf(owner, core.vni, core.endpointId);
    return {
      node: this.#node,
      network,
      endpoint,
      local: address(core.local),
      v6Only: core.v6Only,
      cookie: core.cookie,
    };
  }

  /** Between endpoints only: policies say nothing of the world outside, or of an endpoint's own loopback. */
  #decide(core: ConnectionState, owner: Endpoint, peer: Endpoint): PolicyDecision {
    const isDefaultDeny = this.#state.network(owner.network)?.defaultDeny ?? false;
    const table = tableOf(this.#state.policies(owner.network));
    return core.direction === "outbound"
      ? table.decide(isDefaultDeny, owner, peer, core.peer.port)
      : table.decide(isDefaultDeny, peer, owner, core.local.port);
  }
}

/** An endpoint that nobody knows any more is named by its numbers. */
function nameOf(known: Endpoint | undefined, vni: number, id: number): { network: string; endpoint: string } {
  return { network: known?.network ?? `vni-${vni}`, endpoint: known?.name ?? `id-${id}` };
}

function address({ address, port }: AddressPort): SocketAddress {
  return { address, port };
}
