/** The calls that are being answered, so that those end whose caller has lost its rights. */

import type { Identity } from "./identity.js";
import { RIGHTS_CHECK_MS } from "./limits.js";

export interface OpenCall {
  readonly identity: Identity;
  readonly end: (reason: string) => void;
}

export class OpenCalls {
  readonly #calls = new Set<OpenCall>();
  readonly #invalidity: (identity: Identity) => string | undefined;
  readonly #timer: NodeJS.Timeout;

  /** @param invalidity Why an identity is not valid any more; undefined if it is. */
  constructor(invalidity: (identity: Identity) => string | undefined) {
    this.#invalidity = invalidity;
    // What expires does so without a change of the store.
    this.#timer = setInterval(() => this.check(), RIGHTS_CHECK_MS).unref();
  }

  /** @returns The way to take it out again. */
  add(call: OpenCall): () => void {
    this.#calls.add(call);
    return () => this.#calls.delete(call);
  }

  /** To be called when tokens or certificates have changed. */
  check(): void {
    for (const call of this.#calls) {
      const reason = this.#invalidity(call.identity);
      if (reason === undefined) continue;
      this.#calls.delete(call);
      call.end(reason);
    }
  }

  close(): void {
    clearInterval(this.#timer);
  }
}
