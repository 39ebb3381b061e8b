/** Entries of the audit log from now on, for one watcher. */
import type { AuditEntry } from "../domain/resources.js";
import { ClusterError } from "../errors.js";
import type { Store } from "../store/store.js";
import { MAX_AUDIT_WATCH_PENDING } from "./limits.js";

/** Batches of entries, in their order, until the signal. */
export async function* auditFeed(
  store: Store,
  isWanted: (entry: AuditEntry) => boolean,
  signal: AbortSignal,
): AsyncGenerator<AuditEntry[], void, undefined> {
  let pending: AuditEntry[] = [];
  let isTooSlow = false;
  let wake: () => void = () => undefined;
  const stopListening = store.onCommit(({ changes }) => {
    for (const change of changes) {
      if (change.kind === "audit" && change.after && !change.before && isWanted(change.after)) {
        pending.push(change.after);
      }
    }
    if (pending.length > MAX_AUDIT_WATCH_PENDING) {
      isTooSlow = true;
      pending = [];
    }
    if (pending.length > 0 || isTooSlow) wake();
  });
  const onAbort = () => wake();
  signal.addEventListener("abort", onAbort);
  try {
    while (!signal.aborted) {
      if (isTooSlow) throw new ClusterError("resource_exhausted", "this watch was too slow: list the entries instead");
      if (pending.length > 0) {
        const batch = pending;
        pending = [];
        yield batch;
        continue;
      }
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
    }
  } finally {
    stopListening();
    signal.removeEventListener("abort", onAbort);
  }
}
