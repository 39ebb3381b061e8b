/** Reading and writing of the documents table. */
import type { Database } from "better-sqlite3";
import { StartupError } from "../errors.js";
import { type Documents, KINDS, type Kind } from "./kinds.js";
import type { LeaseStamp } from "./lease-clock.js";

/** A document as it is in the table. Without a value: there is none, or none any more. */
export interface DocumentRow {
  readonly kind: Kind;
  readonly key: string;
  readonly value: string | null;
  readonly revision: bigint;
  readonly lease: string | null;
}

export interface StoredDocument {
  readonly kind: Kind;
  readonly key: string;
  readonly value: Documents[Kind];
  readonly lease: LeaseStamp | undefined;
}

interface FoundRow extends Omit<DocumentRow, "kind" | "value"> {
  readonly kind: string;
  readonly value: string;
}

function prepareStatements(database: Database) {
  return {
    store: database.prepare<[], { id: string; revision: bigint }>("SELECT id, revision FROM store").safeIntegers(),
    setRevision: database.prepare<[bigint]>("UPDATE store SET revision = ?"),
    all: database.prepare<[], FoundRow>("SELECT kind, key, value, revision, lease FROM documents").safeIntegers(),
    put: database.prepare<[Kind, string, string, bigint, string | null]>(
      `INSERT INTO documents (kind, key, value, revision, lease) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET value = excluded.value, revision = excluded.revision, lease = excluded.lease`,
    ),
    delete: database.prepare<[Kind, string]>("DELETE FROM documents WHERE kind = ? AND key = ?"),
  };
}

/** @param value Undefined: the document is to go. */
export function rowOf(
  kind: Kind,
  key: string,
  value: Documents[Kind] | undefined,
  lease: LeaseStamp | undefined,
): DocumentRow {
  if (!value) return { kind, key, value: null, revision: 0n, lease: null };
  const { revision, ...content } = value;
  return { kind, key, value: JSON.stringify(content), revision, lease: lease ? JSON.stringify(lease) : null };
}

export class SqliteDocuments {
  readonly #database: Database;
  readonly #statements: ReturnType<typeof prepareStatements>;

  constructor(database: Database) {
    this.#database = database;
    this.#statements = prepareStatements(database);
  }

  store(): { storeId: string; revision: bigint } {
    const row = this.#statements.store.get();
    if (!row) throw new StartupError("state_unusable", "the state has no revision");
    return { storeId: row.id, revision: row.revision };
  }

  *load(): Generator<StoredDocument> {
    for (const { kind, key, value, revision, lease } of this.#statements.all.iterate()) {
      if (!(kind in KINDS)) throw new StartupError("state_unusable", `the state has documents of unknown kind ${kind}`);
      yield {
        kind: kind as Kind,
        key,
        // Written by this store from validated values, so their shape is known.
        value: { ...(JSON.parse(value) as object), revision } as Documents[Kind],
        lease: lease === null ? undefined : (JSON.parse(lease) as LeaseStamp),
      };
    }
  }

  /** All or nothing. */
  write(rows: readonly DocumentRow[], storeRevision: bigint): void {
    this.#database
      .transaction(() => {
        for (const { kind, key, value, revision, lease } of rows) {
          if (value === null) this.#statements.delete.run(kind, key);
          else this.#statements.put.run(kind, key, value, revision, lease);
        }
        this.#statements.setRevision.run(storeRevision);
      })
      .immediate();
  }
}
