/**
 * The data that crosses between TypeScript and the Rust core. Every property is always present; "nothing" is `null`.
 * 64-bit counters, cookies and ids are `bigint`. Addresses are text, ports and sizes are numbers.
 */

/** How the core is opened on a node. */
export interface CoreConfig {
  nodeName: string;
  /** Dotted quad; must be an address of the network namespace that the process is in. */
  underlayAddress: string;
  /** First front port. */
  frontPortFirst: number;
  /** Number of front ports, 1 to 64. */
  frontPortCount: number;
  /** cgroup v2 path below the mount, for example "slimfast/node-1". The node's keeper is started in it. */
  cgroup: string;
  /** Directory for sockets, pinned programs and the journal of host changes. Created with mode 0700. */
  runDir: string;
  /** The program `slimfast-keeper`, an absolute path. */
  keeperPath: string;
  /** UDP port of the VXLAN overlay. */
  vxlanPort: number;
  /** Of each endpoint of the node; `null`: as the core has it, see bpf/slimfast.h. */
  endpointLimits: { [Limit in keyof EndpointLimits]: number | null };
}

/** What one endpoint may have of its node. */
export interface EndpointLimits {
  /** TCP sockets, those that are prepared for it and accepted connections among them. */
  sockets: number;
  listeners: number;
  /** connect(2) calls; as many as in one second may come at once. */
  connectsPerSecond: number;
}

/** What one endpoint has, and what its limits stopped since it was attached. */
export interface EndpointUsage {
  sockets: number;
  listeners: number;
  refusedSockets: bigint;
  refusedListeners: bigint;
  refusedConnects: bigint;
  /** Connections to its listeners that would have been one socket too many. */
  refusedInbound: bigint;
}

export interface NodeState {
  name: string;
  underlayAddress: string;
  frontPortFirst: number;
  frontPortCount: number;
}

export interface NetworkState {
  vni: number;
  /** CIDR, IPv4; at least one of the two is there. */
  prefix: string | null;
  /** CIDR, IPv6. */
  prefix6: string | null;
  /** CIDRs outside of the overlay that its endpoints may connect to. */
  egress: string[];
}

/** An endpoint anywhere in the cluster, this node included. */
export interface EndpointState {
  vni: number;
  id: number;
  /** IPv4; at least one of the two is there. */
  address: string | null;
  address6: string | null;
  /** Name of a node in the state. */
  node: string;
  /** Its TCP sockets are its own namespace's. */
  isPlain: boolean;
}

export interface EndpointKey {
  vni: number;
  id: number;
}

/** One increment of the cluster's state. Order of application: as the fields stand here. */
export interface StateChange {
  /** IPv4 addresses of nodes, besides those of `nodes`: no wider egress range leads to them. */
  nodeAddresses: string[];
  nodes: NodeState[];
  networks: NetworkState[];
  endpoints: EndpointState[];
  removedEndpoints: EndpointKey[];
  removedNetworks: number[];
  removedNodes: string[];
  removedNodeAddresses: string[];
}

/** What the policies of one network come to. */
export interface NetworkPolicy {
  vni: number;
  /** What holds where no verdict does. */
  isDefaultDeny: boolean;
  /** Every endpoint of the network. Endpoints that all policies treat alike may share an identity; it is at least 1. */
  identities: EndpointIdentity[];
  /** At most one for each (from, to, port): ranges of a pair do not overlap. */
  verdicts: PolicyVerdict[];
}

export interface PolicyNote {
  vni: number;
  note: string;
}

export interface EndpointIdentity {
  endpointId: number;
  identity: number;
}

export interface PolicyVerdict {
  /** Identity of the endpoints that connect. */
  from: number;
  /** Identity of the endpoints that listen. */
  to: number;
  /** Destination ports, first and last included: 0 to 65535. */
  portFirst: number;
  portLast: number;
  isAllowed: boolean;
}

export interface AttachRequest {
  /** Network namespace name to create under /run/netns. */
  netnsName: string;
  vni: number;
  id: number;
  /** As in the applied state. */
  address: string | null;
  address6: string | null;
  publishedPorts: { hostPort: number; endpointPort: number }[];
  /** Kept with the endpoint for whoever opens the node next: see {@link AttachedState}. */
  note: string;
}

export interface AttachResult {
  netnsPath: string;
  /** What a launcher or an OCI runtime sends as metadata. */
  listenerMetadata: string;
}

export interface AttachedState {
  vni: number;
  id: number;
  /** As in {@link AttachResult}. */
  netnsPath: string;
  listenerMetadata: string;
  /** Of the request. */
  note: string;
  seccompListeners: number;
  dispensers: number;
  /** Of the listeners, those of processes that may use io_uring, or of which that is not known. */
  unguardedListeners: number;
  usage: EndpointUsage;
}

export interface AddressPort {
  address: string;
  port: number;
}

export type Direction = "outbound" | "inbound";
export type Tier = "notify" | "preload";

export interface ConnectionState {
  cookie: bigint;
  vni: number;
  endpointId: number;
  direction: Direction;
  tier: Tier;
  state: string;
  local: AddressPort;
  peer: AddressPort;
  underlayLocal: AddressPort;
  underlayPeer: AddressPort;
  bytesSent: bigint;
  bytesReceived: bigint;
  rttUs: number;
  durationUs: bigint;
  setupUs: number;
}

export interface ListenerState {
  cookie: bigint;
  vni: number;
  endpointId: number;
  local: AddressPort;
  v6Only: boolean;
}

export type CoreEvent =
  | {
      kind: "opened" | "accepted" | "closed" | "refused";
      /** Nanoseconds since the epoch. */
      timeNs: bigint;
      connection: ConnectionState;
      /** For "refused": errno name, for example "ECONNREFUSED"; null otherwise. */
      error: string | null;
    }
  | {
      /** The last process under the endpoint's last seccomp listener has ended. */
      kind: "idle";
      vni: number;
      endpointId: number;
    }
  | {
      /** A container was refused at the seccomp-agent socket: its TCP sockets fail with ENOSYS. For the log. */
      kind: "admissionRefused";
      reason: string;
    }
  | {
      /** The keeper has ended by itself: see {@link Core.replaceKeeper}. */
      kind: "keeperEnded";
    }
  | {
      /** A container was let in that may use io_uring, or of which that is not known. For the log. */
      kind: "unguarded";
      vni: number;
      endpointId: number;
      reason: string;
    };

/** Events that were not told one by one, because connections came faster than the core tells of them. */
export interface PassedOver {
  kind: "opened" | "accepted" | "closed" | "refused";
  direction: Direction;
  tier: Tier;
  /** Of "refused": errno as the application saw it; else null. */
  error: string | null;
  count: number;
}

export interface EventBatch {
  events: CoreEvent[];
  /** Events passed over, or lost in the queue to JavaScript, since the core was opened. */
  dropped: bigint;
  /** Of those, what was passed over since the last batch. */
  passedOver: PassedOver[];
}

export interface Check {
  /** Short stable identifier, for example "kernel.sk_lookup". */
  name: string;
  ok: boolean;
  /** What was found. */
  detail: string;
  /** What to do about it; null when ok. */
  remedy: string | null;
  /** A required feature is missing: the agent refuses to start. */
  required: boolean;
}

/** `count` ports from `first` on. */
export interface PortRange {
  first: number;
  count: number;
}

/** One node's data path. All methods throw {@link CoreError}; after close, `kind` is "closed". */
export interface Core {
  applyState(change: StateChange): Promise<void>;
  /**
   * Keeps these ports out of the kernel's choice of ports for outgoing connections, and no longer those of the last call.
   * What others have reserved stays as it is. {@link close} ends it; {@link leave} and the end of the process do not.
   */
  reservePorts(ranges: PortRange[]): Promise<void>;
  /** The endpoint must be in the applied state, on this node. Nothing is left behind if it fails. */
  attachEndpoint(request: AttachRequest): Promise<AttachResult>;
  /** Idempotent. Those that wait for their turn go together, and have one outcome. */
  detachEndpoint(key: EndpointKey): Promise<void>;
  /**
   * Replaces what was set for the network, and cuts the connections of this node's endpoints that it does not allow.
   * An identity that is in use keeps its meaning from one call to the next: that is what makes the exchange safe.
   * Fails with `not_found` for a network that is not in the applied state, with `invalid` for too many verdicts (262,144
   * on a node; a range of ports takes 1 to 30) and nothing is changed then.
   * Resolves with the number of sockets that were cut.
   *
   * @param note - kept with the policy for whoever opens the node next: see {@link policyNotes}
   */
  setNetworkPolicy(policy: NetworkPolicy, note: string): Promise<number>;
  /** The notes of the policies that are in force, also of those that a former agent has set. */
  policyNotes(): PolicyNote[];
  /** Everything is allowed in the network from now on. Idempotent. */
  removeNetworkPolicy(vni: number): Promise<void>;
  /**
   * Starts another keeper in the place of one that has ended, which goes on with all that it has served. Resolves with the number
   * of endpoints for which that failed: their programs can create no more TCP sockets (ENOSYS) until they are started again.
   */
  replaceKeeper(): Promise<number>;
  /** Resets one connection; false if there is none with this cookie. */
  cutConnection(cookie: bigint): Promise<boolean>;
  /** Also what is just being attached. Like all that only ask, it does not wait for changes that are under way. */
  attached(): Promise<AttachedState[]>;
  /** Those that are open, opening or closing: all, or the first so many in the order of the kernel's table. */
  connections(atMost?: number): Promise<ConnectionState[]>;
  listeners(): Promise<ListenerState[]>;
  counters(): Promise<Record<string, bigint>>;
  /** Of each endpoint of the node. */
  endpointLimits(): EndpointLimits;
  /** Path of the seccomp-agent socket. */
  seccompSocket(): string;
  /** At most one callback; events before the first one are kept up to the queue's bound. */
  onEvents(callback: (batch: EventBatch) => void): void;
  /** Whether a former agent had left the node running: {@link attached} then names what it had. */
  isAdopted(): boolean;
  /**
   * What was applied since the node was opened is complete: what a former agent has left beyond it goes. Resolves with the
   * number of sockets that were cut.
   */
  settle(): Promise<number>;
  /** Closes the node, and leaves everything running for the agent that opens it next. Idempotent. */
  leave(): Promise<void>;
  /** Detaches everything and restores the host. Idempotent. */
  close(): Promise<void>;
}

/** `kind` says what to do: see docs of each. */
export type CoreErrorKind =
  /** A field of the input is wrong: `field` names it. */
  | "invalid"
  /** The host lacks a feature: the message says how to get it. */
  | "unsupported"
  /** Something is taken: `holder` says by whom. */
  | "conflict"
  | "not_found"
  /** A system call failed: `syscall` and `errno` are set. */
  | "system"
  | "closed";
