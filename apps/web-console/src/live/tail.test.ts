import { ConnectionEventKind, ConnectionRecord } from "@slimfast/proto";
import { expect, test } from "vitest";
import { ConnectionTable, MAX_ROWS } from "./tail.js";

const OPENED = ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED;
const CLOSED = ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED;

function record(id: string, kind = OPENED, bytesSent = 0n): ConnectionRecord {
  const [node = ""] = id.split("/");
  return ConnectionRecord.fromPartial({ id, kind, openTime: new Date(0), connection: { node, bytesSent } });
}

const ids = (table: ConnectionTable): string[] => table.newestFirst.map(({ id }) => id);

test("a later event replaces what was known of its connection, and comes first", () => {
  const table = new ConnectionTable();
  table.apply([record("n/a"), record("n/b")]);
  table.apply([record("n/a", CLOSED)]);
  expect(table.newestFirst.map(({ id, kind }) => [id, kind])).toEqual([
    ["n/a", CLOSED],
    ["n/b", OPENED],
  ]);
  expect(table.taken).toBe(3);
});

test("new values stay in their row, and bring no row that is not there", () => {
  const table = new ConnectionTable();
  table.apply([record("n/a"), record("n/b")]);
  const before = table.newestFirst;
  table.update([record("n/a", OPENED, 5n), record("n/x")]);
  expect(ids(table)).toEqual(["n/b", "n/a"]);
  expect(table.get("n/a")?.connection?.bytesSent).toBe(5n);
  // What somebody is looking at is not changed under them.
  expect(before[1]?.connection?.bytesSent).toBe(0n);
});

test("the oldest are forgotten beyond the limit", () => {
  const table = new ConnectionTable();
  table.apply(Array.from({ length: MAX_ROWS + 2 }, (_, index) => record(`n/${index}`)));
  expect(table.size).toBe(MAX_ROWS);
  expect(ids(table).at(-1)).toBe("n/2");
});

test("a list brings what is older, and ends what is gone at the nodes it is about", () => {
  const table = new ConnectionTable();
  table.apply([record("n1/lost"), record("n1/kept"), record("n2/other"), record("n1/closed", CLOSED)]);
  const gone = table.liveAt(["n1"]);
  expect(gone).toEqual(["n1/lost", "n1/kept"]);
  // Opened after the list was asked for: it cannot be in it, and is not gone.
  table.apply([record("n1/new")]);
  table.reconcile([record("n1/kept", OPENED, 9n), record("n1/older")], gone);
  expect(ids(table)).toEqual(["n1/new", "n1/closed", "n2/other", "n1/kept", "n1/older"]);
  // An event is newer than a list.
  expect(table.get("n1/kept")?.connection?.bytesSent).toBe(0n);
  expect(table.liveAt([""])).toHaveLength(4);
});

test("what a list brings of a time when nobody told stands where its time has it", () => {
  const at = (id: string, ms: number) => ({ ...record(id, CLOSED), closeTime: new Date(ms) });
  const table = new ConnectionTable();
  table.apply([at("n/before", 1), at("n/after", 9)]);
  table.reconcile([at("n/after", 9), at("n/meanwhile", 5), at("n/before", 1)], []);
  expect(ids(table)).toEqual(["n/after", "n/meanwhile", "n/before"]);
});
