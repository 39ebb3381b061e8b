/** The program of a thread of the SQLite store: does what it is asked, one thing after the other, on a connection of its own. */
import { parentPort, workerData } from "node:worker_threads";
import type { Database } from "better-sqlite3";
import { SqliteDocuments } from "./sqlite-documents.js";
import { openDatabase } from "./sqlite-file.js";
import type { SqliteAnswer, SqliteRequest } from "./sqlite-messages.js";

const file = workerData as string;
let opened: { readonly database: Database; readonly documents: SqliteDocuments } | undefined;

function open() {
  if (!opened) {
    const database = openDatabase(file);
    opened = { database, documents: new SqliteDocuments(database) };
  }
  return opened;
}

function checkpoint(mode: "PASSIVE" | "RESTART"): SqliteAnswer {
  const [found] = open().database.pragma(`wal_checkpoint(${mode})`) as { log: number; checkpointed: number }[];
  return found ? { log: { pages: found.log, pagesLeft: found.log - found.checkpointed } } : {};
}

function handle(request: SqliteRequest): SqliteAnswer {
  switch (request.kind) {
    case "write":
      open().documents.write(request.rows, request.revision);
      return {};
    case "checkpoint":
      return checkpoint("PASSIVE");
    case "restart log":
      return checkpoint("RESTART");
    case "close":
      opened?.database.close();
      opened = undefined;
      return {};
  }
}

parentPort?.on("message", (request: SqliteRequest) => {
  let answer: SqliteAnswer;
  try {
    answer = handle(request);
  } catch (error) {
    answer = { error: error instanceof Error ? error.message : String(error) };
  }
  parentPort?.postMessage(answer);
  if (request.kind === "close") parentPort?.close();
});
