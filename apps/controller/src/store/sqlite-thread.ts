/** A thread that waits for the disk, so that the event loop does not. */
import { once } from "node:events";
import { Worker } from "node:worker_threads";
import type { SqliteAnswer, SqliteRequest } from "./sqlite-messages.js";

/** What was built, also where this file is run from its source, as by tests. */
const PROGRAM = new URL("../../dist/store/sqlite-thread-main.js", import.meta.url);

/** Rows pass through it and do not stay: V8's own choice is 16 times as much. */
const YOUNG_GENERATION_MIB = 1;

interface Asked {
  readonly resolve: (answer: SqliteAnswer) => void;
  readonly reject: (error: Error) => void;
}

export class SqliteThread {
  readonly #worker: Worker;
  readonly #asked: Asked[] = [];

  /** @param file The database; it is opened with the first request. */
  constructor(file: string) {
    this.#worker = new Worker(PROGRAM, {
      workerData: file,
      // Those of the process are for its own program.
      execArgv: [],
      // It prints nothing; left to itself it would make the process's own output non-blocking.
      stdout: true,
      stderr: true,
      resourceLimits: { maxYoungGenerationSizeMb: YOUNG_GENERATION_MIB },
    });
    // It keeps nobody alive but those who wait for an answer. An error that it does not answer ends the process: whether
    // the disk has what memory has not is known by reading it again only.
    this.#worker.unref();
    this.#worker.on("message", (answer: SqliteAnswer) => {
      const asked = this.#asked.shift();
      if (this.#asked.length === 0) this.#worker.unref();
      if (answer.error === undefined) asked?.resolve(answer);
      else asked?.reject(new Error(answer.error));
    });
  }

  /** @throws Error with why it could not be done; nothing of it was. */
  ask(request: SqliteRequest): Promise<SqliteAnswer> {
    return new Promise((resolve, reject) => {
      if (this.#asked.length === 0) this.#worker.ref();
      this.#asked.push({ resolve, reject });
      this.#worker.postMessage(request);
    });
  }

  /** Closes the database and ends the thread. */
  async close(): Promise<void> {
    const exited = once(this.#worker, "exit");
    await this.ask({ kind: "close" });
    this.#worker.ref();
    await exited;
  }
}
