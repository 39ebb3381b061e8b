/**
 * The facade of the Rust core: the only door to the addon. It adds nothing to what the addon does but the error class;
 * no defaults, no policy, no retries.
 */
import { fromNative } from "./errors.js";
import { type NativeModule, type NativeNode, nativeModule } from "./native.js";
import type {
  AttachedState,
  AttachRequest,
  AttachResult,
  Check,
  ConnectionState,
  Core,
  CoreConfig,
  EndpointKey,
  EndpointLimits,
  EventBatch,
  ListenerState,
  NetworkPolicy,
  PolicyNote,
  PortRange,
  StateChange,
} from "./types.js";

export { CoreError, type CoreErrorFields } from "./errors.js";
export type * from "./types.js";

/**
 * Opens this node's data path. One that a former agent has left running is taken over; what else is left of one is undone
 * first. Everything is as before if it fails.
 */
export async function openCore(config: CoreConfig): Promise<Core> {
  return openWith(nativeModule(), config);
}

/** Looks at what this host can do. Changes nothing. */
export async function probe(): Promise<Check[]> {
  const native = nativeModule();
  return later(() => native.probe());
}

/**
 * Undoes what an agent that is gone has left on the host, running or not, from the journal in `runDir`. Nothing to do is not
 * an error.
 */
export async function recover(runDir: string): Promise<void> {
  const native = nativeModule();
  return later(() => native.recover(runDir));
}

/** As {@link openCore}, with the addon given; for tests. */
export async function openWith(native: NativeModule, config: CoreConfig): Promise<Core> {
  return new CoreHandle(await later(() => native.open(config)));
}

/** So that other changes get their turn: as many take a few tenths of a second. */
const DETACHED_AT_ONCE = 64;

/** Hands every call on and turns what is thrown into a CoreError. */
class CoreHandle implements Core {
  readonly #node: NativeNode;
  /** Over when the last change is that was asked for. */
  #last: Promise<unknown> = Promise.resolve();
  /** The last change that was asked for, if it is a detachment that has not begun. */
  #detachment: { readonly keys: EndpointKey[]; readonly over: Promise<void> } | undefined;

  constructor(node: NativeNode) {
    this.#node = node;
  }

  /**
   * One after the other, in the order in which they are asked for: the core has one lock for all changes, and each that waited
   * for it would take one of libuv's few threads from those who only ask.
   */
  #change<T>(call: () => Promise<T>): Promise<T> {
    this.#detachment = undefined;
    const over = this.#last.then(() => later(call));
    this.#last = over.catch(() => undefined);
    return over;
  }

  applyState(change: StateChange): Promise<void> {
    return this.#change(() => this.#node.applyState(change));
  }

  reservePorts(ranges: PortRange[]): Promise<void> {
    return this.#change(() => this.#node.reservePorts(ranges));
  }

  attachEndpoint(request: AttachRequest): Promise<AttachResult> {
    return this.#change(() => this.#node.attachEndpoint(request));
  }

  detachEndpoint(key: EndpointKey): Promise<void> {
    const waiting = this.#detachment;
    if (waiting && waiting.keys.length < DETACHED_AT_ONCE) {
      waiting.keys.push(key);
      return waiting.over;
    }
    const keys = [key];
    const over = this.#change(() => {
      if (this.#detachment?.keys === keys) this.#detachment = undefined;
      return this.#node.detachEndpoints(keys);
    });
    this.#detachment = { keys, over };
    return over;
  }

  setNetworkPolicy(policy: NetworkPolicy, note: string): Promise<number> {
    return this.#change(() => this.#node.setNetworkPolicy(policy, note));
  }

  policyNotes(): PolicyNote[] {
    return now(() => this.#node.policyNotes());
  }

  removeNetworkPolicy(vni: number): Promise<void> {
    return this.#change(() => this.#node.removeNetworkPolicy(vni));
  }

  replaceKeeper(): Promise<number> {
    return this.#change(() => this.#node.replaceKeeper());
  }

  cutConnection(cookie: bigint): Promise<boolean> {
    return this.#change(() => this.#node.cutConnection(cookie));
  }

  attached(): Promise<AttachedState[]> {
    return later(() => this.#node.attached());
  }

  connections(atMost?: number): Promise<ConnectionState[]> {
    return later(() => this.#node.connections(atMost));
  }

  listeners(): Promise<ListenerState[]> {
    return later(() => this.#node.listeners());
  }

  counters(): Promise<Record<string, bigint>> {
    return later(() => this.#node.counters());
  }

  endpointLimits(): EndpointLimits {
    return now(() => this.#node.endpointLimits());
  }

  seccompSocket(): string {
    return now(() => this.#node.seccompSocket());
  }

  onEvents(callback: (batch: EventBatch) => void): void {
    now(() => this.#node.onEvents(callback));
  }

  isAdopted(): boolean {
    return now(() => this.#node.isAdopted());
  }

  settle(): Promise<number> {
    return this.#change(() => this.#node.settle());
  }

  leave(): Promise<void> {
    return this.#change(() => this.#node.leave());
  }

  close(): Promise<void> {
    return this.#change(() => this.#node.close());
  }
}

/** For methods that answer with a promise: the addon may still throw at once, when an argument has the wrong type. */
async function later<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}

function now<T>(call: () => T): T {
  try {
    return call();
  } catch (thrown) {
    throw fromNative(thrown);
  }
}
