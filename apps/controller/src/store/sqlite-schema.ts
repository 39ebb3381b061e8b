/**
 * The tables of the SQLite store, and how older ones become them.
 *
 * A migration that was released is never edited: a change of the tables is another entry at the end.
 */
import { randomUUID } from "node:crypto";
import type { Database } from "better-sqlite3";
import { StartupError } from "../errors.js";

/** Version 1 had a table for each kind and was never released. */
const FIRST_VERSION = 2;

const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE store (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    -- Names the store for as long as it exists.
    id TEXT NOT NULL,
    -- The number of the last change.
    revision INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE documents (
    kind TEXT NOT NULL,
    key TEXT NOT NULL,
    -- JSON, without the revision.
    value TEXT NOT NULL,
    revision INTEGER NOT NULL,
    -- JSON: when the document ends by itself (LeaseStamp), or NULL.
    lease TEXT,
    PRIMARY KEY (kind, key)
  ) STRICT, WITHOUT ROWID;
  `,
];

const LATEST_VERSION = FIRST_VERSION + MIGRATIONS.length - 1;

/** Brings the tables up to date, in one transaction. */
export function migrate(database: Database): void {
  const version = Number(database.pragma("user_version", { simple: true }));
  if (version > LATEST_VERSION) {
    throw new StartupError(
      "state_unusable",
      `the state was written by a newer controller (tables of version ${version}, this one knows ${LATEST_VERSION})`,
    );
  }
  if (version > 0 && version < FIRST_VERSION) {
    throw new StartupError(
      "state_unusable",
      "the state was written before the first release and cannot be taken over: remove the state directory",
    );
  }
  if (version === LATEST_VERSION) return;
  database
    .transaction(() => {
      const done = version === 0 ? 0 : version - FIRST_VERSION + 1;
      for (const migration of MIGRATIONS.slice(done)) database.exec(migration);
      // Fresh stores do not start at 1 but at the time, in microseconds: when a state directory is lost and an agent
      // still remembers revisions of the old one, none of them is taken for a revision of the new.
      if (version === 0) {
        database.prepare("INSERT INTO store VALUES (1, ?, ?)").run(randomUUID(), BigInt(Date.now()) * 1_000n);
      }
      database.pragma(`user_version = ${LATEST_VERSION}`);
    })
    .immediate();
}
