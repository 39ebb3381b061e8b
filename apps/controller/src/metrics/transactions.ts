/** Times the transactions of a store. */
import type { Histogram } from "prom-client";
import type { Store, StoreTransaction } from "../store/store.js";

/** Replaces the store's `transaction` by one that is timed; nothing else of it changes, and reading costs nothing. */
export function timeTransactions(store: Store, seconds: Histogram<"result">): void {
  const run = store.transaction.bind(store);
  async function timed<Result>(change: (tx: StoreTransaction) => Result): Promise<Result> {
    const startMs = performance.now();
    let result = "refused";
    try {
      const value = await run(change);
      result = "committed";
      return value;
    } finally {
      seconds.observe({ result }, (performance.now() - startMs) / 1_000);
    }
  }
  Object.defineProperty(store, "transaction", { value: timed });
}
