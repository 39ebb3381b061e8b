/** Reading and writing of the documents table. */
import type { Database } from "better-sqlite3";
import { StartupError } from "../errors.js";
import { type Documents, KINDS, type Kind } from "./kinds.js";
import type { LeaseStamp } from "./lease-clock.js";

interface DocumentRow {
  kind: string;
  key: string;
  value: string;
  revision: bigint;
  lease: string | null;
}

export interface StoredDocument {
  readonly kind: Kind;
  readonly key: string;
  readonly value: Documents[Kind];
  readonly lease: LeaseStamp | undefined;
}

function prepareStatements(database: Database) {
  return {
    store: database.prepare<[], { id: string; revision: bigint }>("SELECT id, revision FROM store").safeIntegers(),
    setRevision: database.prepare<[bigint]>("UPDATE store SET revision = ?"),
    all: database.prepare<[], DocumentRow>("SELECT kind, key, value, revision, lease FROM documents").safeIntegers(),
    put: database.prepare<[Kind, string, string, bigint, string | null]>(
      `INSERT INTO documents (kind, key, value, revision, lease) VALUES (?, ?, ?, ?, ?)
       ON CONFLICT DO UPDATE SET value = excluded.value, revision = excluded.revision, lease = excluded.lease`,
    ),
    delete: database.prepare<[Kind, string]>("DELETE FROM documents WHERE kind = ? AND key = ?"),
  };
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
  transaction(write: () => void): void {
    this.#database.transaction(write).immediate();
  }

  put(kind: Kind, key: string, value: Documents[Kind], lease: LeaseStamp | undefined): void {
    const { revision, ...content } = value;
    this.#statements.put.run(kind, key, JSON.stringify(content), revision, lease ? JSON.stringify(lease) : null);
  }

  delete(kind: Kind, key: string): void {
    this.#statements.delete.run(kind, key);
  }

  setRevision(revision: bigint): void {
    this.#statements.setRevision.run(revision);
  }

  close(): void {
    this.#database.close();
  }
}
