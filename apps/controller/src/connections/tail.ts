/**
 * Tails of connection events: each has a bounded buffer of its own. One that is not read fast enough loses its oldest
 * events, is told how many, and to list again; no tail holds up another, or the nodes.
 */
import type * as proto from "@slimfast/proto";
import { TAIL_BATCH_EVENTS, TAIL_BUFFER_EVENTS, TAIL_INTERVAL_MS, TAIL_SILENCE_MS } from "./limits.js";
import type { ConnectionRecord } from "./node-table.js";
import type { RegistryChange } from "./registry.js";

/** Stands for all nodes in `relearned_nodes`. */
const ALL_NODES = "";

export interface TailOptions {
  /** Told of events that this tail itself had to drop. */
  readonly onDrop?: (count: number) => void;
  /** Whether new values of live connections are passed on, too. */
  readonly wantsUpdates?: boolean;
}

/** What another controller's tail said; `dropped` since its last word. */
export type PeerShare = Pick<proto.TailConnectionsResponse, "events" | "relearnedNodes" | "updates"> & {
  readonly dropped: number;
};

export class Tail {
  readonly #matches: (record: ConnectionRecord) => boolean;
  readonly #onDrop: (count: number) => void;
  readonly #wantsUpdates: boolean;
  #buffer: proto.ConnectionRecord[] = [];
  /** The last values of each live connection, by id: they replace each other, so that they cannot pile up. */
  readonly #updates = new Map<string, proto.ConnectionRecord>();
  #dropped = 0;
  #toldDropped = 0;
  readonly #relearned = new Set<string>();
  #wake: (() => void) | undefined;

  constructor(matches: (record: ConnectionRecord) => boolean, options: TailOptions = {}) {
    this.#matches = matches;
    this.#onDrop = options.onDrop ?? (() => {});
    this.#wantsUpdates = options.wantsUpdates ?? false;
  }

  get waiting(): number {
    return this.#buffer.length;
  }

  get dropped(): number {
    return this.#dropped;
  }

  /** What happened at the nodes of this controller. */
  take({ events, dropped, relearned, updates = [] }: RegistryChange): void {
    this.#add(events.filter(this.#matches), this.#wantsUpdates ? updates.filter(this.#matches) : []);
    this.#dropped += dropped;
    if (relearned !== undefined) this.#relearned.add(relearned);
    if (this.#hasNews) this.#wake?.();
  }

  /** What another controller's tail with the same filter said. */
  takeFromPeer({ events, dropped, relearnedNodes, updates }: PeerShare): void {
    this.#add(events, updates);
    this.#dropped += dropped;
    for (const node of relearnedNodes) this.#relearned.add(node);
    if (this.#hasNews) this.#wake?.();
  }

  #add(events: readonly proto.ConnectionRecord[], updates: readonly proto.ConnectionRecord[]): void {
    for (const event of events) {
      this.#buffer.push(event);
      this.#updates.delete(event.id);
    }
    for (const update of updates) this.#updates.set(update.id, update);
    const excess = this.#buffer.length - TAIL_BUFFER_EVENTS;
    if (excess <= 0) return;
    this.#buffer.splice(0, excess);
    this.#dropped += excess;
    this.#onDrop(excess);
    this.#relearned.add(ALL_NODES);
  }

  get #hasNews(): boolean {
    return (
      this.#buffer.length > 0 ||
      this.#updates.size > 0 ||
      this.#relearned.size > 0 ||
      this.#dropped !== this.#toldDropped
    );
  }

  #next(): proto.TailConnectionsResponse {
    const relearnedNodes = this.#relearned.has(ALL_NODES) ? [ALL_NODES] : [...this.#relearned];
    this.#relearned.clear();
    this.#toldDropped = this.#dropped;
    const events = this.#buffer.length <= TAIL_BATCH_EVENTS ? this.#buffer : this.#buffer.splice(0, TAIL_BATCH_EVENTS);
    if (events === this.#buffer) this.#buffer = [];
    return {
      events,
      dropped: BigInt(this.#dropped),
      relearnedNodes,
      updates: this.#takeUpdates(TAIL_BATCH_EVENTS - events.length),
    };
  }

  #takeUpdates(limit: number): proto.ConnectionRecord[] {
    const taken: proto.ConnectionRecord[] = [];
    for (const [id, update] of this.#updates) {
      if (taken.length >= limit) break;
      taken.push(update);
      this.#updates.delete(id);
    }
    return taken;
  }

  /** Batches as they become due, until the signal. */
  async *batches(signal: AbortSignal): AsyncGenerator<proto.TailConnectionsResponse, void, undefined> {
    const wake = () => this.#wake?.();
    signal.addEventListener("abort", wake);
    try {
      let dueMs = 0;
      while (!signal.aborted) {
        if (!this.#hasNews) {
          const isSilent = await this.#news();
          if (isSilent && !signal.aborted) yield this.#next();
          continue;
        }
        const pauseMs = dueMs - performance.now();
        if (pauseMs > 0) await this.#pause(pauseMs, signal);
        if (signal.aborted) return;
        dueMs = performance.now() + TAIL_INTERVAL_MS;
        // All that has come since: more than one batch where there is more than fits.
        for (let left = this.#buffer.length; left >= 0 && !signal.aborted; left -= TAIL_BATCH_EVENTS) {
          if (this.#hasNews) yield this.#next();
        }
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }

  /** Waits for something to say. @returns Whether there was nothing for so long that a sign of life is due. */
  #news(): Promise<boolean> {
    return new Promise((resolve) => {
      const timer = setTimeout(() => resolve(true), TAIL_SILENCE_MS);
      this.#wake = () => {
        clearTimeout(timer);
        resolve(false);
      };
    });
  }

  /** Collects for a while, so that events come in few messages. */
  #pause(ms: number, signal: AbortSignal): Promise<void> {
    this.#wake = undefined;
    return new Promise((resolve) => {
      const done = () => {
        clearTimeout(timer);
        signal.removeEventListener("abort", done);
        resolve();
      };
      const timer = setTimeout(done, ms);
      signal.addEventListener("abort", done);
    });
  }
}
