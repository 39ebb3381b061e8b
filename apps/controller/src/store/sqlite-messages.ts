/** What the SQLite store and its threads say to each other: one answer for each request, in their order. */
import type { DocumentRow } from "./sqlite-documents.js";

export type SqliteRequest =
  /** All or nothing; on the disk when it is answered. */
  | { readonly kind: "write"; readonly rows: readonly DocumentRow[]; readonly revision: bigint }
  /** Brings what the log holds into the database, beside those who write. */
  | { readonly kind: "checkpoint" }
  /** The same while nobody writes, after which the log begins anew: from the thread that writes. */
  | { readonly kind: "restart log" }
  | { readonly kind: "close" };

export interface SqliteAnswer {
  /** Why it could not be done; nothing of it was. */
  readonly error?: string;
  /** Of a checkpoint: how long the log is, and how much of it is not in the database yet. */
  readonly log?: { readonly pages: number; readonly pagesLeft: number };
}
