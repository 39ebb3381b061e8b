/**
 * The open Sync streams: wakes them when the store changes, knows which nodes are connected, and tells who waits for a
 * change when all nodes of a network have acknowledged it.
 *
 * Everything here runs between two turns of the event loop, so no lock is needed.
 */
import type { ResourceVersion, SyncResponse } from "@slimfast/proto";
import type { Logger } from "pino";
import { ClusterError } from "../errors.js";
import type { Store } from "../store/store.js";
import { Subscription } from "./subscription.js";

/** One change that one stream has yet to acknowledge. */
interface Waiter {
  readonly revision: bigint;
  readonly settle: (known: boolean) => void;
}

export class SyncStream {
  readonly subscription: Subscription;
  readonly waiters = new Set<Waiter>();
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;
  /** Everything up to this revision has been answered; up to the other, not all of it was applied. */
  #answered = 0n;
  #refused = 0n;

  constructor(subscription: Subscription) {
    this.subscription = subscription;
  }

  /** Ends the stream, with an error or without. Only the first call counts. */
  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    // A stream that is gone is not a connected node: nobody has to wait for it.
    for (const { settle } of this.waiters) settle(true);
    this.waiters.clear();
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Responses as they become due, until the stream ends. */
  async *responses(): AsyncGenerator<SyncResponse, void, undefined> {
    while (!this.#ended) {
      const response = this.subscription.next();
      if (response) {
        yield response;
        continue;
      }
      // The difference may have come to nothing, for example for an endpoint that is already gone again.
      if (this.subscription.isUpToDate()) this.settle(undefined, true);
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure) throw this.#failure;
  }

  /** Whether the node knows the revision; undefined if it has not answered yet. */
  knows(revision: bigint): boolean | undefined {
    if (this.#answered < revision && !this.subscription.isUpToDate()) return undefined;
    return revision > this.#refused;
  }

  /** Answers those who wait for a change up to the revision (undefined: for any). */
  settle(revision: bigint | undefined, known: boolean): void {
    if (revision !== undefined) {
      this.#answered = revision;
      if (!known) this.#refused = revision;
    }
    for (const waiter of this.waiters) {
      if (revision !== undefined && waiter.revision > revision) continue;
      this.waiters.delete(waiter);
      waiter.settle(known);
    }
  }
}

export class SyncHub {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #streams = new Map<string, SyncStream>();
  readonly #stopListening: () => void;
  readonly #onAcknowledged: (revision: bigint) => void;
  #closed = false;

  /** @param onAcknowledged Told that a node has acknowledged everything up to the revision, whether it applied it or not. */
  constructor(store: Store, log: Logger, onAcknowledged: (revision: bigint) => void = () => {}) {
    this.#onAcknowledged = onAcknowledged;
    this.#store = store;
    this.#log = log;
    this.#stopListening = store.onCommit(({ changes }) => {
      for (const stream of this.#streams.values()) {
        try {
          stream.subscription.noteChanges(changes);
          stream.wake();
        } catch (error) {
          // The change is committed and its caller must not hear of this; the agent gets in step again by reconnecting.
          stream.end(error instanceof Error ? error : new Error(String(error)));
        }
      }
    });
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  isConnected(node: string): boolean {
    return this.#streams.has(node);
  }

  /**
   * Opens the stream of a registered node. A stream that the node still had is ended: its agent has restarted, or lost
   * the connection before we did.
   */
  open(node: string, known: readonly ResourceVersion[]): SyncStream {
    if (this.#closed) throw new ClusterError("unavailable", "the controller is shutting down");
    const subscription = new Subscription({
      node,
      known,
      store: this.#store,
      isConnected: (name) => this.isConnected(name),
    });
    const stream = new SyncStream(subscription);
    const former = this.#streams.get(node);
    this.#streams.set(node, stream);
    former?.end(new ClusterError("aborted", `node ${node} has opened another Sync stream`));
    this.#log.info({ node, known: known.length }, "agent connected");
    return stream;
  }

  /** To be called once the stream is over, whatever ended it. */
  closed(stream: SyncStream): void {
    stream.end();
    const { node } = stream.subscription;
    if (this.#streams.get(node) !== stream) return;
    this.#streams.delete(node);
    this.#log.info({ node }, "agent disconnected");
  }

  acknowledge(stream: SyncStream, nonce: bigint, error: string): void {
    const { revision, isApplied } = stream.subscription.acknowledge(nonce, error);
    if (error !== "") {
      const { node } = stream.subscription;
      this.#log.warn(
        { node, nonce: String(nonce), revision: String(revision), reason: error },
        "agent refused changes",
      );
    }
    stream.settle(revision, isApplied);
    this.#onAcknowledged(revision);
    stream.wake();
  }

  /**
   * Waits until the connected nodes of the network have acknowledged the revision.
   *
   * @returns Whether all of them have applied it within the time.
   */
  async waitForNetwork(network: string, revision: bigint, timeoutMs: number): Promise<boolean> {
    const answers: Promise<boolean>[] = [];
    const waiting: { stream: SyncStream; waiter: Waiter }[] = [];
    for (const node of this.#store.nodesOfNetwork(network)) {
      const stream = this.#streams.get(node);
      if (!stream) continue;
      const known = stream.knows(revision);
      if (known !== undefined) {
        answers.push(Promise.resolve(known));
        continue;
      }
      answers.push(
        new Promise((resolve) => {
          const waiter = { revision, settle: resolve };
          stream.waiters.add(waiter);
          waiting.push({ stream, waiter });
        }),
      );
    }
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    try {
      return await Promise.race([Promise.all(answers).then((all) => all.every(Boolean)), timeout]);
    } finally {
      clearTimeout(timer);
      for (const { stream, waiter } of waiting) stream.waiters.delete(waiter);
    }
  }

  /** Ends all streams and refuses new ones. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    for (const stream of this.#streams.values()) {
      stream.end(new ClusterError("unavailable", "the controller is shutting down"));
    }
  }
}
