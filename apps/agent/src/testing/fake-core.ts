/**
 * A core without a kernel, for tests: keeps the state that it was given as the real one does, records every call, and
 * fails or waits where a test says so.
 */
import {
  type AttachedState,
  type AttachRequest,
  type AttachResult,
  type ConnectionState,
  type Core,
  CoreError,
  type CoreEvent,
  type EndpointKey,
  type EndpointLimits,
  type EndpointUsage,
  type EventBatch,
  type ListenerState,
  type NetworkPolicy,
  type PassedOver,
  type PolicyNote,
  type PortRange,
  type StateChange,
} from "@slimfast/core";
import { Faults } from "./faults.js";

export type CoreMethod =
  | "applyState"
  | "reservePorts"
  | "attachEndpoint"
  | "detachEndpoint"
  | "setNetworkPolicy"
  | "removeNetworkPolicy"
  | "attached"
  | "connections"
  | "close";

const NO_USAGE: EndpointUsage = {
  sockets: 0,
  listeners: 0,
  refusedSockets: 0n,
  refusedListeners: 0n,
  refusedConnects: 0n,
  refusedInbound: 0n,
};

export class FakeCore implements Core {
  /** Calls in order, such as `attachEndpoint 7:1`. Reading calls are not recorded. */
  readonly calls: string[] = [];
  readonly changes: StateChange[] = [];
  readonly requests: AttachRequest[] = [];
  readonly faults = new Faults<CoreMethod>();
  /** Keys of what is in the applied state, `VNI:ID`. */
  readonly known = new Set<string>();
  readonly networks = new Set<number>();
  reservedPorts: PortRange[] = [];
  readonly policies = new Map<number, NetworkPolicy>();
  /** By VNI; of a former agent's policies as well. */
  readonly notes = new Map<number, string>();
  readonly held = new Map<string, AttachedState>();
  readonly currentConnections: ConnectionState[] = [];
  readonly currentListeners: ListenerState[] = [];
  /** Of endpoints that a process joins from now on. */
  usage: EndpointUsage = NO_USAGE;
  isClosed = false;
  /** What is in {@link held} at first is a former agent's. */
  adopted = false;
  settled = 0;
  #deliver: ((batch: EventBatch) => void) | undefined;

  async applyState(change: StateChange): Promise<void> {
    this.calls.push("applyState");
    await this.faults.pass("applyState");
    this.#mustBeOpen();
    for (const vni of change.removedNetworks) {
      if ([...this.held.values()].some((state) => state.vni === vni)) {
        throw new CoreError("conflict", `network ${vni} is in use`, { holder: "an attached endpoint" });
      }
    }
    this.changes.push(change);
    for (const { vni } of change.networks) this.networks.add(vni);
    for (const key of change.endpoints) this.known.add(text(key));
    for (const key of change.removedEndpoints) this.known.delete(text(key));
    for (const vni of change.removedNetworks) this.networks.delete(vni);
  }

  async reservePorts(ranges: PortRange[]): Promise<void> {
    this.calls.push("reservePorts");
    await this.faults.pass("reservePorts");
    this.#mustBeOpen();
    this.reservedPorts = ranges;
  }

  async attachEndpoint(request: AttachRequest): Promise<AttachResult> {
    const key = text(request);
    this.calls.push(`attachEndpoint ${key}`);
    this.requests.push(request);
    await this.faults.pass("attachEndpoint");
    this.#mustBeOpen();
    if (!this.known.has(key)) throw new CoreError("not_found", `endpoint ${key} does not exist`);
    const result = {
      netnsPath: `/run/netns/${request.netnsName}`,
      listenerMetadata: `slimfast/${request.vni}/${request.id}`,
    };
    const { vni, id, note } = request;
    this.held.set(key, {
      ...result,
      vni,
      id,
      note,
      seccompListeners: 0,
      dispensers: 0,
      unguardedListeners: 0,
      usage: NO_USAGE,
    });
    return result;
  }

  async detachEndpoint(key: EndpointKey): Promise<void> {
    this.calls.push(`detachEndpoint ${text(key)}`);
    await this.faults.pass("detachEndpoint");
    this.#mustBeOpen();
    this.held.delete(text(key));
  }

  async setNetworkPolicy(policy: NetworkPolicy, note: string): Promise<number> {
    this.calls.push(`setNetworkPolicy ${policy.vni}`);
    await this.faults.pass("setNetworkPolicy");
    this.#mustBeOpen();
    if (!(this.networks.has(policy.vni) || this.notes.has(policy.vni))) {
      throw new CoreError("not_found", `network ${policy.vni} does not exist`);
    }
    this.policies.set(policy.vni, policy);
    this.notes.set(policy.vni, note);
    return 0;
  }

  policyNotes(): PolicyNote[] {
    return [...this.notes].map(([vni, note]) => ({ vni, note }));
  }

  async removeNetworkPolicy(vni: number): Promise<void> {
    this.calls.push(`removeNetworkPolicy ${vni}`);
    await this.faults.pass("removeNetworkPolicy");
    this.policies.delete(vni);
    this.notes.delete(vni);
  }

  async replaceKeeper(): Promise<number> {
    this.calls.push("replaceKeeper");
    return 2;
  }

  async cutConnection(cookie: bigint): Promise<boolean> {
    this.calls.push(`cutConnection ${cookie}`);
    return this.currentConnections.some((connection) => connection.cookie === cookie);
  }

  async attached(): Promise<AttachedState[]> {
    await this.faults.pass("attached");
    this.#mustBeOpen();
    return [...this.held.values()];
  }

  async connections(atMost = Number.POSITIVE_INFINITY): Promise<ConnectionState[]> {
    await this.faults.pass("connections");
    return this.currentConnections.slice(0, atMost);
  }

  async listeners(): Promise<ListenerState[]> {
    return this.currentListeners;
  }

  async counters(): Promise<Record<string, bigint>> {
    this.#mustBeOpen();
    return { syn_seen: 3n };
  }

  endpointLimits(): EndpointLimits {
    return { sockets: 1_000, listeners: 10, connectsPerSecond: 100 };
  }

  seccompSocket(): string {
    return "/run/fake/seccomp.sock";
  }

  onEvents(callback: (batch: EventBatch) => void): void {
    this.#deliver = callback;
  }

  isAdopted(): boolean {
    return this.adopted;
  }

  async settle(): Promise<number> {
    this.settled += 1;
    return 0;
  }

  async leave(): Promise<void> {
    this.calls.push("leave");
    this.isClosed = true;
  }

  async close(): Promise<void> {
    this.calls.push("close");
    await this.faults.pass("close");
    this.isClosed = true;
    this.held.clear();
  }

  /** Delivers events as the core's threads do. */
  emit(events: CoreEvent[], dropped = 0n, passedOver: PassedOver[] = []): void {
    this.#deliver?.({ events, dropped, passedOver });
  }

  /** A process has joined the endpoint, or the last one has left it (0). */
  setListeners(key: EndpointKey, seccompListeners: number): void {
    const state = this.held.get(text(key));
    if (state) this.held.set(text(key), { ...state, seccompListeners, usage: this.usage });
  }

  #mustBeOpen(): void {
    if (this.isClosed) throw new CoreError("closed", "the node is closed");
  }
}

function text({ vni, id }: EndpointKey): string {
  return `${vni}:${id}`;
}
