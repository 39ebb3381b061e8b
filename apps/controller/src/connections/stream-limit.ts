/** Bounds the number of streams that are open at once, and gives each a signal that also ends with its reader. */
import { ClusterError } from "../errors.js";

export class StreamLimit {
  readonly #limit: number;
  #open = 0;

  constructor(limit: number) {
    this.#limit = limit;
  }

  /** @param signal Of the call. The stream's own ends with it, and when nobody reads the stream any more. */
  async *run<Item>(
    signal: AbortSignal,
    open: (until: AbortSignal) => AsyncIterable<Item>,
  ): AsyncGenerator<Item, void, undefined> {
    if (this.#open >= this.#limit) {
      throw new ClusterError("resource_exhausted", `${this.#limit} streams are open at this controller already`);
    }
    this.#open += 1;
    const until = new AbortController();
    const end = () => until.abort();
    signal.addEventListener("abort", end);
    try {
      yield* open(until.signal);
    } finally {
      signal.removeEventListener("abort", end);
      until.abort();
      this.#open -= 1;
    }
  }
}
