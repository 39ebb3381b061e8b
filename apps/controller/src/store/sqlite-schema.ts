/**
 * The tables of the SQLite store, and how older ones become them.
 *
 * A migration that was released is never edited: a change of the tables is another entry at the end.
 */
import type { Database } from "better-sqlite3";
import { StartupError } from "../errors.js";

const MIGRATIONS: readonly string[] = [
  `
  -- One row: the number of the last change.
  CREATE TABLE revision (
    only INTEGER PRIMARY KEY CHECK (only = 1),
    last INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE nodes (
    name TEXT PRIMARY KEY,
    underlay_address TEXT NOT NULL UNIQUE,
    front_first INTEGER NOT NULL,
    front_count INTEGER NOT NULL,
    create_time_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  CREATE TABLE networks (
    name TEXT PRIMARY KEY,
    vni INTEGER NOT NULL UNIQUE,
    prefix TEXT NOT NULL,
    next_address INTEGER NOT NULL,
    create_time_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL
  ) STRICT, WITHOUT ROWID;

  -- Outlives the networks: an endpoint is known by (vni, id) on the wire, so ids stay used up even when another network
  -- gets the VNI.
  CREATE TABLE endpoint_ids (
    vni INTEGER PRIMARY KEY,
    next INTEGER NOT NULL
  ) STRICT;

  CREATE TABLE endpoints (
    network TEXT NOT NULL REFERENCES networks (name),
    name TEXT NOT NULL,
    node TEXT NOT NULL REFERENCES nodes (name),
    id INTEGER NOT NULL,
    address INTEGER NOT NULL,
    published_ports TEXT NOT NULL,
    labels TEXT NOT NULL,
    create_time_ms INTEGER NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (network, name),
    UNIQUE (network, address),
    UNIQUE (network, id)
  ) STRICT, WITHOUT ROWID;
  CREATE INDEX endpoints_by_node ON endpoints (node, network);

  CREATE TABLE port_reservations (
    node TEXT NOT NULL REFERENCES nodes (name),
    first INTEGER NOT NULL,
    count INTEGER NOT NULL,
    purpose TEXT NOT NULL CHECK (purpose IN ('front', 'published')),
    owner TEXT NOT NULL,
    revision INTEGER NOT NULL,
    PRIMARY KEY (node, first)
  ) STRICT, WITHOUT ROWID;
  `,
];

/** Brings the tables up to date, in one transaction. */
export function migrate(database: Database): void {
  const version = Number(database.pragma("user_version", { simple: true }));
  if (version > MIGRATIONS.length) {
    throw new StartupError(
      "state_unusable",
      `the state was written by a newer controller (tables of version ${version}, this one knows ${MIGRATIONS.length})`,
    );
  }
  if (version === MIGRATIONS.length) return;
  database
    .transaction(() => {
      for (const migration of MIGRATIONS.slice(version)) database.exec(migration);
      // Fresh stores do not start at 1 but at the time, in microseconds: when a state directory is lost and an agent
      // still remembers revisions of the old one, none of them is taken for a revision of the new.
      if (version === 0) database.prepare("INSERT INTO revision VALUES (1, ?)").run(Date.now() * 1_000);
      database.pragma(`user_version = ${MIGRATIONS.length}`);
    })
    .immediate();
}
