/**
 * What nodes have refused, and why, for operators: a document for each node that is out of step, which every controller
 * sees. It goes when the node has acknowledged everything, at whichever controller; and with the controller that wrote it.
 */
import type { Logger } from "pino";
import { MAX_SYNC_ERROR_CHARS } from "../limits.js";
import type { Store, StoreReader } from "../store/store.js";

/** Why the node is out of step; empty if it is not. */
export function syncErrorOf(reader: StoreReader, node: string): string {
  return reader.get("refusal", node)?.reason ?? "";
}

export class Refusals {
  readonly #store: Store;
  readonly #log: Logger;

  constructor(store: Store, log: Logger) {
    this.#store = store;
    this.#log = log;
  }

  note(node: string, reason: string): void {
    const text = reason.slice(0, MAX_SYNC_ERROR_CHARS);
    if (syncErrorOf(this.#store, node) === text) return;
    this.#write(node, text);
  }

  /** The node has everything. */
  clear(node: string): void {
    if (syncErrorOf(this.#store, node) !== "") this.#write(node, "");
  }

  #write(node: string, reason: string): void {
    this.#store
      .transaction((tx) => {
        if (reason === "") tx.delete("refusal", node);
        else if (tx.getNode(node)) tx.put("refusal", { node, reason });
      })
      // The log has it, and the next acknowledgement tries again.
      .catch((error: unknown) => this.#log.debug({ err: error, node }, "refusal of a node not written"));
  }
}
