/**
 * When what SQLite's log holds is brought into the database: by a thread of its own, beside the one that writes, so that
 * no COMMIT waits for it. The log begins anew with the next COMMIT after one that left nothing.
 */
import { SQLITE_CHECKPOINT_ROWS, SQLITE_MAX_LOG_PAGES } from "../limits.js";
import type { SqliteThread } from "./sqlite-thread.js";

export class SqliteLog {
  readonly #thread: SqliteThread;
  #rows = 0;
  #running: Promise<void> | undefined;
  #isTooLong = false;

  constructor(thread: SqliteThread) {
    this.#thread = thread;
  }

  /** Whether those who write are so busy that the log grows: it is to begin anew before anything else is written. */
  get isTooLong(): boolean {
    return this.#isTooLong;
  }

  restarted(): void {
    this.#isTooLong = false;
  }

  /** So many rows were written. */
  written(rows: number): void {
    this.#rows += rows;
    if (this.#rows < SQLITE_CHECKPOINT_ROWS || this.#running) return;
    this.#rows = 0;
    this.#running = this.#checkpoint().finally(() => {
      this.#running = undefined;
    });
  }

  async #checkpoint(): Promise<void> {
    try {
      // What was written meanwhile is little, and leaves nothing the second time unless they write all the time.
      await this.#thread.ask({ kind: "checkpoint" });
      const { log } = await this.#thread.ask({ kind: "checkpoint" });
      this.#isTooLong = log !== undefined && log.pagesLeft > 0 && log.pages > SQLITE_MAX_LOG_PAGES;
    } catch {
      // Everything is in the log: the next attempt does it, and whoever writes hears of a disk that fails.
    }
  }

  /** Waits for what is under way. */
  async close(): Promise<void> {
    await this.#running;
    await this.#thread.close();
  }
}
