/** Times the transactions of a store. */
import type { Histogram } from "prom-client";

interface Transactional {
  transaction<Result>(change: never): Result;
}

/** Replaces the store's `transaction` by one that is timed; nothing else of it changes, and reading costs nothing. */
export function timeTransactions(store: object, seconds: Histogram<"result">): void {
  const transactional = store as Transactional;
  const run = transactional.transaction.bind(store) as (change: never) => unknown;
  const timed = (change: never): unknown => {
    const startMs = performance.now();
    const done = (result: "committed" | "refused") =>
      seconds.observe({ result }, (performance.now() - startMs) / 1_000);
    const settled = async (pending: Promise<unknown>): Promise<unknown> => {
      try {
        const value = await pending;
        done("committed");
        return value;
      } catch (error) {
        done("refused");
        throw error;
      }
    };
    try {
      const value = run(change);
      if (value instanceof Promise) return settled(value);
      done("committed");
      return value;
    } catch (error) {
      done("refused");
      throw error;
    }
  };
  Object.defineProperty(store, "transaction", { value: timed });
}
