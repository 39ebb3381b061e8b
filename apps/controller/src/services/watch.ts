/**
 * WatchResources: every commit of the store, as its watchers want to see it.
 *
 * A watch is registered in the same turn of the event loop in which what was before is read, so nothing is missed; what
 * is read may be ahead of what is announced, so commits up to the revision of the reading are passed over. A commit is
 * one response, never cut, so that its revision can be gone on from. Each watch holds a bounded number of changes: one
 * that is slower than the cluster is ended, and begins again from the revision that it has.
 */
import type { ResourceChange, WatchResourcesRequest, WatchResourcesResponse } from "@slimfast/proto";
import { validNameOrEmpty } from "../domain/validation.js";
import { ClusterError } from "../errors.js";
import { MAX_CHANGES_PER_RESPONSE, MAX_WATCH_BACKLOG, MAX_WATCHES, WATCH_SIGN_OF_LIFE_MS } from "../limits.js";
import type { Commit, Store } from "../store/store.js";
import type { Presence } from "./cluster.js";
import { changesOf, existingChanges, type WatchScope, watchScope } from "./watch-changes.js";

/** The changes and the revision of a response that is yet to be sent. */
interface Pending {
  readonly revision: bigint;
  readonly changes: readonly ResourceChange[];
}

class Watch {
  readonly scope: WatchScope;
  readonly #queue: Pending[] = [];
  #backlog = 0;
  /** Everything up to here is in the queue or was sent. */
  #revision: bigint;
  #wake: (() => void) | undefined;
  #isEnded = false;
  #failure: ClusterError | undefined;

  constructor(scope: WatchScope, revision: bigint) {
    this.scope = scope;
    this.#revision = revision;
  }

  put(revision: bigint, changes: readonly ResourceChange[]): void {
    if (this.#isEnded || revision <= this.#revision) return;
    this.#revision = revision;
    if (changes.length === 0) return;
    this.#backlog += changes.length;
    if (this.#backlog > MAX_WATCH_BACKLOG && this.#queue.length > 0) {
      this.end(
        new ClusterError(
          "resource_exhausted",
          `the watch is slower than the cluster: ${this.#backlog} changes are waiting; go on from the last revision`,
          { reason: { reason: "WATCH_TOO_SLOW" } },
        ),
      );
      return;
    }
    this.#queue.push({ revision, changes });
    this.#notify();
  }

  end(failure?: ClusterError): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#failure = failure;
    this.#queue.length = 0;
    this.#notify();
  }

  #notify(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** What there is to say, in order; a sign of life when there is nothing for a while. */
  async *responses(): AsyncGenerator<WatchResourcesResponse, void, undefined> {
    while (!this.#isEnded) {
      const next = this.#queue.shift();
      if (next) {
        this.#backlog -= next.changes.length;
        yield { revision: next.revision, changes: [...next.changes] };
        continue;
      }
      const isLate = await this.#sleep();
      if (isLate && !this.#isEnded && this.#queue.length === 0) yield { revision: this.#revision, changes: [] };
    }
    if (this.#failure) throw this.#failure;
  }

  /** Waits for something to say; true if nothing came in time. */
  #sleep(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), WATCH_SIGN_OF_LIFE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }
}

export class WatchHub {
  readonly #store: Store;
  readonly #presence: Presence;
  readonly #watches = new Set<Watch>();
  readonly #stopListening: () => void;
  #isClosed = false;

  constructor(store: Store, presence: Presence) {
    this.#store = store;
    this.#presence = presence;
    this.#stopListening = store.onCommit((commit) => this.#announce(commit));
  }

  /** How many are open. */
  get size(): number {
    return this.#watches.size;
  }

  #announce(commit: Commit): void {
    if (this.#watches.size === 0) return;
    const all = changesOf(commit, this.#store, this.#presence);
    for (const watch of this.#watches) {
      const changes = all.filter(watch.scope.includes).map(({ message }) => message);
      watch.put(commit.revision, changes);
    }
  }

  /**
   * The answers to one call, until the signal.
   *
   * @throws ClusterError `out_of_range` if what changed since the revision is not known any more, `resource_exhausted`
   * if there are too many watches or this one is too slow.
   */
  async *watch(request: WatchResourcesRequest, signal: AbortSignal): AsyncGenerator<WatchResourcesResponse> {
    const scope = watchScope(request.kinds, validNameOrEmpty("network", request.network));
    this.#admit();
    const isSnapshot = request.revision === 0n;
    const earlier = isSnapshot ? [] : this.#store.commitsAfter(request.revision);
    if (!earlier) {
      throw new ClusterError(
        "out_of_range",
        `the changes after revision ${request.revision} are not kept any more: list again, and watch from there`,
        { reason: { reason: "REVISION_EXPIRED", metadata: { revision: String(this.#store.revision) } } },
      );
    }
    const begin = isSnapshot ? this.#store.revision : request.revision;
    const existing = isSnapshot ? existingChanges(scope, this.#store, this.#presence) : [];
    const watch = new Watch(scope, begin);
    this.#watches.add(watch);
    const end = () => watch.end();
    signal.addEventListener("abort", end);
    if (signal.aborted) end();
    try {
      for (let index = 0; index < existing.length && !signal.aborted; index += MAX_CHANGES_PER_RESPONSE) {
        yield { revision: begin, changes: existing.slice(index, index + MAX_CHANGES_PER_RESPONSE) };
      }
      if (isSnapshot) yield { revision: begin, changes: [] };
      // Sent from the log and not put into the queue, so that catching up is not taken for being slow.
      for (const commit of earlier) {
        const changes = changesOf(commit, this.#store, this.#presence).filter(scope.includes);
        if (changes.length === 0 || signal.aborted) continue;
        yield { revision: commit.revision, changes: changes.map(({ message }) => message) };
      }
      yield* watch.responses();
    } finally {
      signal.removeEventListener("abort", end);
      this.#watches.delete(watch);
    }
  }

  #admit(): void {
    if (this.#isClosed) throw new ClusterError("unavailable", "the controller is shutting down");
    if (this.#watches.size >= MAX_WATCHES) {
      throw new ClusterError(
        "resource_exhausted",
        `${MAX_WATCHES} watches are open, which is the most: end some, or ask another controller`,
        { reason: { reason: "TOO_MANY_WATCHES", metadata: { limit: String(MAX_WATCHES) } } },
      );
    }
  }

  /** Ends all watches and refuses new ones. */
  close(): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#stopListening();
    for (const watch of this.#watches) watch.end(new ClusterError("unavailable", "the controller is shutting down"));
  }
}
