/** The file of the SQLite store: how it is opened, and how a second controller is kept out. */
import { join } from "node:path";
import SqliteDatabase, { type Database } from "better-sqlite3";
import { StartupError } from "../errors.js";
import { SQLITE_BUSY_MS, SQLITE_CACHE_KIB } from "../limits.js";

export function databaseFile(stateDirectory: string): string {
  return join(stateDirectory, "controller.db");
}

/**
 * WAL with synchronous=FULL: a transaction is on the disk when its COMMIT returns. What the log holds is brought into the
 * database when somebody says so, never by the way of a COMMIT.
 */
export function openDatabase(file: string): Database {
  const database = new SqliteDatabase(file, { timeout: SQLITE_BUSY_MS });
  try {
    database.pragma("journal_mode = WAL");
    database.pragma("synchronous = FULL");
    database.pragma("wal_autocheckpoint = 0");
    // Negative: KiB. Everything that is read is in the controller's own memory.
    database.pragma(`cache_size = -${SQLITE_CACHE_KIB}`);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

export function isBusy(error: unknown): boolean {
  return error instanceof SqliteDatabase.SqliteError && error.code.startsWith("SQLITE_BUSY");
}

export function stateLocked(stateDirectory: string, cause: unknown): StartupError {
  return new StartupError(
    "state_locked",
    `the state directory ${stateDirectory} is in use by another controller: stop that one, or give this one ` +
      "another directory with --state-dir",
    cause,
  );
}

/**
 * Takes the state directory for this process, until the lock is closed or the process is gone, however it ended: the
 * kernel's own lock, on a database of its own that is never written, since that of the state has several connections.
 *
 * @throws StartupError `state_locked` if another controller has it.
 */
export function lockDirectory(stateDirectory: string): { close(): void } {
  const database = new SqliteDatabase(join(stateDirectory, "controller.lock"), { timeout: 0 });
  try {
    database.exec("BEGIN EXCLUSIVE");
    return database;
  } catch (error) {
    database.close();
    throw isBusy(error) ? stateLocked(stateDirectory, error) : error;
  }
}
