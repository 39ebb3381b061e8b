/**
 * The store in one SQLite file, `controller.db` in the state directory, for a controller that is alone.
 *
 * A transaction runs on the memory of the controller and is undone; what it wrote goes to a thread that commits it, and is
 * put into the memory when it is on the disk. So nobody reads what may still be lost, and the event loop never waits for
 * the disk. Those that are asked for while others are under way are written together, so they cost one fsync.
 */
import { randomUUID } from "node:crypto";
import { mkdirSync } from "node:fs";
import { ClusterError, StartupError } from "../errors.js";
import { CommitLog, commitOf } from "./commit-log.js";
import { isVolatile, type Kind } from "./kinds.js";
import { type LeaseClock, type LeaseStamp, SYSTEM_LEASE_CLOCK } from "./lease-clock.js";
import { COUNTED_NUMBERS } from "./numbers.js";
import { StateReader } from "./reader.js";
import { type DocumentRow, rowOf, SqliteDocuments } from "./sqlite-documents.js";
import { databaseFile, isBusy, lockDirectory, openDatabase, stateLocked } from "./sqlite-file.js";
import { type LeasedDocument, SqliteLeases } from "./sqlite-leases.js";
import { SqliteLog } from "./sqlite-log.js";
import { migrate } from "./sqlite-schema.js";
import { SqliteThread } from "./sqlite-thread.js";
import { State } from "./state.js";
import type { Commit, Store, StoreTransaction } from "./store.js";
import { collapse, Transaction, type Write } from "./transaction.js";

interface Pending {
  readonly change: (tx: StoreTransaction) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
}

/** A transaction that has run and is not on the disk yet. */
interface Evaluated {
  readonly pending: Pending;
  readonly result: unknown;
  readonly revision: bigint;
  readonly writes: readonly Write[];
}

/** What a batch comes to in the file. */
interface Rows {
  readonly rows: readonly DocumentRow[];
  readonly leases: readonly { kind: Kind; key: string; lease: LeaseStamp | undefined }[];
}

class SqliteStore extends StateReader implements Store {
  readonly storeId: string;
  readonly controllerId = randomUUID();
  readonly #lock: { close(): void };
  readonly #writer: SqliteThread;
  readonly #writeAhead: SqliteLog;
  readonly #leases: SqliteLeases;
  readonly #log: CommitLog;
  #queue: Pending[] = [];
  #running: Promise<void> | undefined;
  #closing: Promise<void> | undefined;

  /** @param documents Read now, and not used later. */
  constructor(documents: SqliteDocuments, file: string, lock: { close(): void }, clock: LeaseClock) {
    super(new State());
    const { storeId, revision } = documents.store();
    this.storeId = storeId;
    this.state.revision = revision;
    this.#lock = lock;
    this.#log = new CommitLog(revision);
    this.#leases = new SqliteLeases(clock, (expired) => this.#expire(expired));
    for (const { kind, value, key, lease } of documents.load()) {
      this.state.load(kind, value);
      if (lease) this.#leases.restore(kind, key, lease);
    }
    this.#writer = new SqliteThread(file);
    this.#writeAhead = new SqliteLog(new SqliteThread(file));
    this.#leases.watch();
  }

  transaction<Result>(change: (tx: StoreTransaction) => Result): Promise<Result> {
    if (this.#closing) return Promise.reject(new ClusterError("unavailable", "the controller is shutting down"));
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve: resolve as (result: unknown) => void, reject });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Those of one turn of the event loop go together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const queue = this.#queue;
      this.#queue = [];
      await this.#commit(queue);
    }
    this.#running = undefined;
  }

  async #commit(queue: readonly Pending[]): Promise<void> {
    const before = this.state.revision;
    const evaluated = queue.map((pending) => this.#evaluate(pending)).filter((done) => done !== undefined);
    const revision = this.state.revision;
    const { rows, leases } = this.#rowsOf(evaluated);
    if (rows.length > 0) {
      for (const { writes } of evaluated.toReversed()) this.state.undo(writes);
      this.state.revision = before;
      try {
        if (this.#writeAhead.isTooLong) await this.#restartLog();
        await this.#writer.ask({ kind: "write", rows, revision });
      } catch (error) {
        const reason = error instanceof Error ? error.message : String(error);
        const failure = new ClusterError("unavailable", `the state cannot be written: ${reason}`, {}, error);
        for (const { pending } of evaluated) pending.reject(failure);
        return;
      }
      for (const { writes } of evaluated) this.state.redo(writes);
      this.state.revision = revision;
      this.#noteLeases(leases);
      this.#writeAhead.written(rows.length);
    }
    for (const { pending, result } of evaluated) pending.resolve(result);
    for (const transaction of evaluated) {
      const { writes } = transaction;
      if (writes.length > 0) this.#log.announce(commitOf(transaction.revision, collapse(writes)));
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

  #rowsOf(evaluated: readonly Evaluated[]): Rows {
    const rows: DocumentRow[] = [];
    const leases: { kind: Kind; key: string; lease: LeaseStamp | undefined }[] = [];
    for (const { kind, key, after, leaseMs } of evaluated.flatMap(({ writes }) => collapse(writes))) {
      if (isVolatile(kind)) continue;
      const lease = after && this.#leaseOf(kind, key, leaseMs);
      leases.push({ kind, key, lease });
      rows.push(rowOf(kind, key, after, lease));
    }
    return { rows, leases };
  }

  #noteLeases(leases: Rows["leases"]): void {
    for (const { kind, key, lease } of leases) {
      if (lease) this.#leases.restore(kind, key, lease);
      else this.#leases.forget(kind, key);
    }
    this.#leases.watch();
  }

  async #restartLog(): Promise<void> {
    this.#writeAhead.restarted();
    await this.#writer.ask({ kind: "restart log" });
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
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    await this.#running;
    this.#leases.stop();
    await this.#writeAhead.close();
    await this.#writer.close();
    this.#lock.close();
  }
}

/**
 * Opens the store of the state directory, which is created if it does not exist.
 *
 * @throws StartupError `state_locked` if another controller has it open, `state_unusable` if it cannot be read.
 */
export function openSqliteStore(stateDirectory: string, clock: LeaseClock = SYSTEM_LEASE_CLOCK): Store {
  const file = databaseFile(stateDirectory);
  let lock: { close(): void } | undefined;
  try {
    mkdirSync(stateDirectory, { recursive: true, mode: 0o700 });
    lock = lockDirectory(stateDirectory);
    const database = openDatabase(file);
    try {
      migrate(database);
      return new SqliteStore(new SqliteDocuments(database), file, lock, clock);
    } finally {
      database.close();
    }
  } catch (error) {
    lock?.close();
    if (error instanceof StartupError) throw error;
    // Controllers of version 0.1 kept others out by a lock on the database itself.
    if (isBusy(error)) throw stateLocked(stateDirectory, error);
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("state_unusable", `the state in ${file} cannot be used: ${reason}`, error);
  }
}
