/**
 * The store in one SQLite file, `controller.db` in the state directory, for a controller that is alone.
 *
 * WAL with synchronous=FULL: a transaction is on the disk when its promise is fulfilled. Those that are asked for in one
 * turn of the event loop are written together, so they cost one fsync. The file is held in SQLite's exclusive locking
 * mode, so the kernel's own lock keeps a second controller out and is gone the moment the first one is, however it ended.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { join } from "node:path";
import SqliteDatabase, { type Database } from "better-sqlite3";
import { ClusterError, StartupError } from "../errors.js";
import { CommitLog, commitOf } from "./commit-log.js";
import { isVolatile, type Kind } from "./kinds.js";
import { type LeaseClock, type LeaseStamp, SYSTEM_LEASE_CLOCK } from "./lease-clock.js";
import { COUNTED_NUMBERS } from "./numbers.js";
import { StateReader } from "./reader.js";
import { SqliteDocuments } from "./sqlite-documents.js";
import { type LeasedDocument, SqliteLeases } from "./sqlite-leases.js";
import { migrate } from "./sqlite-schema.js";
import { State } from "./state.js";
import type { Commit, Store, StoreTransaction } from "./store.js";
import { collapse, Transaction, type Write } from "./transaction.js";

interface Pending {
  readonly change: (tx: StoreTransaction) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A transaction that is in the state and not yet on the disk. */
interface Evaluated {
  readonly pending: Pending;
  readonly result: unknown;
  readonly revision: bigint;
  readonly writes: readonly Write[];
}

class SqliteStore extends StateReader implements Store {
  readonly storeId: string;
  readonly controllerId = randomUUID();
  readonly #documents: SqliteDocuments;
  readonly #leases: SqliteLeases;
  readonly #log: CommitLog;
  #queue: Pending[] = [];
  #isClosed = false;

  constructor(documents: SqliteDocuments, clock: LeaseClock) {
    super(new State());
    const { storeId, revision } = documents.store();
    this.storeId = storeId;
    this.state.revision = revision;
    this.#documents = documents;
    this.#log = new CommitLog(revision);
    this.#leases = new SqliteLeases(clock, (expired) => this.#expire(expired));
    for (const { kind, value, key, lease } of documents.load()) {
      this.state.load(kind, value);
      if (lease) this.#leases.restore(kind, key, lease);
    }
    this.#leases.watch();
  }

  transaction<Result>(change: (tx: StoreTransaction) => Result): Promise<Result> {
    if (this.#isClosed) return Promise.reject(new ClusterError("unavailable", "the controller is shutting down"));
    return new Promise((resolve, reject) => {
      if (this.#queue.length === 0) setImmediate(() => this.#drain());
      this.#queue.push({ change, resolve: resolve as (result: unknown) => void, reject });
    });
  }

  /** Runs all that was asked for, and writes it at once. */
  #drain(): void {
    const queue = this.#queue;
    this.#queue = [];
    const before = this.state.revision;
    const evaluated = queue.map((pending) => this.#evaluate(pending)).filter((done) => done !== undefined);
    try {
      this.#write(evaluated);
    } catch (error) {
      for (const { writes } of evaluated.toReversed()) this.state.undo(writes);
      this.state.revision = before;
      const reason = error instanceof Error ? error.message : String(error);
      const failure = new ClusterError("unavailable", `the state cannot be written: ${reason}`, {}, error);
      for (const { pending } of evaluated) pending.reject(failure);
      return;
    }
    for (const { pending, result } of evaluated) pending.resolve(result);
    for (const { revision, writes } of evaluated) {
      if (writes.length > 0) this.#log.announce(commitOf(revision, collapse(writes)));
    }
  }

  #evaluate(pending: Pending): Evaluated | undefined {
    const { state, controllerId } = this;
    const revision = state.revision + 1n;
    const tx = new Transaction({ state, revision, numbers: COUNTED_NUMBERS, controllerId, auditOrdinal: 0 });
    try {
      const result = pending.change(tx);
      if (tx.writes.length > 0) state.revision = revision;
      return { pending, result, revision, writes: tx.writes };
    } catch (error) {
      state.undo(tx.writes);
      pending.reject(error);
      return undefined;
    }
  }

  #write(evaluated: readonly Evaluated[]): void {
    const writes = evaluated.flatMap((transaction) => collapse(transaction.writes));
    if (writes.length === 0) return;
    const leases: { kind: Kind; key: string; lease: LeaseStamp | undefined }[] = [];
    this.#documents.transaction(() => {
      for (const { kind, key, after, leaseMs } of writes) {
        if (isVolatile(kind)) continue;
        const lease = after && this.#leaseOf(kind, key, leaseMs);
        leases.push({ kind, key, lease });
        if (after) this.#documents.put(kind, key, after, lease);
        else this.#documents.delete(kind, key);
      }
      this.#documents.setRevision(this.state.revision);
    });
    for (const { kind, key, lease } of leases) {
      if (lease) this.#leases.restore(kind, key, lease);
      else this.#leases.forget(kind, key);
    }
    this.#leases.watch();
  }

  #leaseOf(kind: Kind, key: string, leaseMs: number | undefined): LeaseStamp | undefined {
    if (leaseMs === undefined) return this.#leases.present(kind, key);
    return leaseMs === 0 ? undefined : this.#leases.grant(leaseMs);
  }

  #expire(expired: readonly LeasedDocument[]): void {
    this.transaction((tx) => {
      for (const { kind, key } of expired) if (this.#leases.isOver(kind, key)) tx.delete(kind, key);
    }).catch(() => this.#leases.retry());
  }

  onCommit(listener: (commit: Commit) => void): () => void {
    return this.#log.onCommit(listener);
  }

  commitsAfter(revision: bigint): readonly Commit[] | undefined {
    return this.#log.after(revision, this.state.revision);
  }

  close(): Promise<void> {
    if (this.#isClosed) return Promise.resolve();
    this.#drain();
    this.#isClosed = true;
    this.#leases.stop();
    this.#documents.close();
    return Promise.resolve();
  }
}

function isBusy(error: unknown): boolean {
  return error instanceof SqliteDatabase.SqliteError && error.code.startsWith("SQLITE_BUSY");
}

/**
 * Opens the store of the state directory, which is created if it does not exist.
 *
 * @throws StartupError `state_locked` if another controller has it open, `state_unusable` if it cannot be read.
 */
export function openSqliteStore(stateDirectory: string, clock: LeaseClock = SYSTEM_LEASE_CLOCK): Store {
  const file = join(stateDirectory, "controller.db");
  let database: Database | undefined;
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    database = new SqliteDatabase(file, { timeout: 0 });
    database.pragma("locking_mode = EXCLUSIVE");
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    // The exclusive mode locks with the first access, and a mere read may be served without it: this one is a write.
    database.exec("BEGIN EXCLUSIVE; COMMIT");
    migrate(database);
    return new SqliteStore(new SqliteDocuments(database), clock);
  } catch (error) {
    database?.close();
    if (error instanceof StartupError) throw error;
    if (isBusy(error)) {
      throw new StartupError(
        "state_locked",
        `the state directory ${stateDirectory} is in use by another controller: stop that one, or give this one ` +
          "another directory with --state-dir",
        error,
      );
    }
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("state_unusable", `the state in ${file} cannot be used: ${reason}`, error);
  }
}
