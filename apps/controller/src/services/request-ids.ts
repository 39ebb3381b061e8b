/**
 * Creations that may be repeated (AIP-155): the answer is kept beside what was created, in the same transaction, for an
 * hour. So a caller who heard nothing can ask again, and nothing is made twice, whichever controller answers.
 */
import { createHash } from "node:crypto";
import { invalidField } from "../errors.js";
import { REQUEST_ID_LEASE_MS } from "../limits.js";
import type { Content, Documents } from "../store/kinds.js";
import type { StoreTransaction } from "../store/store.js";

export type CreatedKind = "network" | "reservation" | "policy";

export interface CreationRequest<K extends CreatedKind> {
  readonly kind: K;
  /** The caller's `request_id`, valid; empty: none. */
  readonly id: string;
  /** All that was asked for. */
  readonly wanted: unknown;
}

function digest(text: string): string {
  return createHash("sha256").update(text).digest("hex");
}

/**
 * What `create` creates, or what it created when the request came first.
 *
 * @throws ClusterError `invalid_argument` if the id came with another request before.
 */
export function createOnce<K extends CreatedKind>(
  tx: StoreTransaction,
  { kind, id, wanted }: CreationRequest<K>,
  create: () => Documents[K],
): Documents[K] {
  if (id === "") return create();
  const key = `${kind}/${digest(id)}`;
  const fingerprint = digest(JSON.stringify(wanted));
  const earlier = tx.get("request", key);
  if (earlier) {
    if (earlier.fingerprint !== fingerprint) {
      throw invalidField("request_id", "was used within the last hour for another request: take a new one");
    }
    // It was created by the transaction that wrote the record, so the revision is the same.
    return { ...(JSON.parse(earlier.created) as Content<K>), revision: earlier.revision } as Documents[K];
  }
  const created = create();
  const { revision: _, ...content } = created;
  const record = { id: key, fingerprint, created: JSON.stringify(content), createTimeMs: Date.now() };
  tx.put("request", record, { leaseMs: REQUEST_ID_LEASE_MS });
  return created;
}
