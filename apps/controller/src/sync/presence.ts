/**
 * Which controller holds the stream of which node, as all controllers see it.
 *
 * What this controller holds is known here at once and written to the store as soon as that can be done: while the store
 * cannot be written, streams go on, and the others learn of them afterwards. The documents end with their controller.
 */
import type { Logger } from "pino";
import { PRESENCE_RETRY_MS } from "../limits.js";
import type { Store } from "../store/store.js";

export class NodePresenceKeeper {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #held = new Set<string>();
  /** Nodes whose document may not say what it should. */
  readonly #open = new Set<string>();
  readonly #stopListening: () => void;
  #isWriting = false;
  #retry: NodeJS.Timeout | undefined;
  #isClosed = false;

  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
    this.#stopListening = store.onCommit(({ changes }) => {
      for (const { kind, key, after } of changes) {
        // Whatever took it away (a lease that ended while the store was out of reach): we still hold it.
        if (kind === "presence" && !after && this.#held.has(key)) this.#write(key);
      }
    });
  }

  /** The controller that holds the node's stream, if it is known and still there. */
  holder(node: string): string | undefined {
    return this.#store.get("presence", node)?.controller;
  }

  /** Whether another controller holds the node's stream. */
  isElsewhere(node: string): boolean {
    const holder = this.holder(node);
    return holder !== undefined && holder !== this.#store.controllerId;
  }

  /** Other controllers that hold streams of nodes with endpoints in the network. */
  otherHolders(network: string): string[] {
    const holders = new Set<string>();
    for (const { node, controller } of this.#store.list("presence", { limit: -1 })) {
      if (controller === this.#store.controllerId || holders.has(controller)) continue;
      if (this.#store.hasEndpoints(network, node)) holders.add(controller);
    }
    return [...holders];
  }

  /** Whether the node came here and that is not written yet: then another's claim is the older one. */
  isClaiming(node: string): boolean {
    return this.#held.has(node) && this.#open.has(node);
  }

  claim(node: string): void {
    this.#held.add(node);
    this.#write(node);
  }

  release(node: string): void {
    if (this.#held.delete(node)) this.#write(node);
  }

  /** Another controller has the node now. */
  lost(node: string): void {
    this.#held.delete(node);
    this.#open.delete(node);
  }

  #write(node: string): void {
    this.#open.add(node);
    void this.#flush();
  }

  async #flush(): Promise<void> {
    if (this.#isWriting || this.#isClosed || this.#retry) return;
    this.#isWriting = true;
    try {
      while (this.#open.size > 0 && !this.#isClosed) {
        const nodes = [...this.#open].slice(0, 20);
        await this.#store.transaction((tx) => {
          const controller = this.#store.controllerId;
          for (const node of nodes) {
            const present = tx.get("presence", node);
            if (this.#held.has(node)) {
              if (present?.controller !== controller) tx.put("presence", { node, controller });
            } else if (present?.controller === controller) tx.delete("presence", node);
          }
        });
        for (const node of nodes) {
          const isRight = (this.holder(node) === this.#store.controllerId) === this.#held.has(node);
          if (isRight) this.#open.delete(node);
        }
      }
    } catch (error) {
      if (!this.#isClosed) {
        this.#log.debug({ err: error }, "presence of nodes not written yet");
        this.#retry = setTimeout(() => {
          this.#retry = undefined;
          void this.#flush();
        }, PRESENCE_RETRY_MS);
        this.#retry.unref();
      }
    } finally {
      this.#isWriting = false;
    }
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
    clearTimeout(this.#retry);
  }
}
