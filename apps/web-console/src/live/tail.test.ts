import { ConnectionEventKind, ConnectionRecord, Verdict } from "@slimfast/proto";
import { expect, test } from "vitest";
import { ConnectionTable, MAX_ROWS, matcher, NO_FILTER, suggestions } from "./tail.js";

function record(id: string, endpoint = "web", port = 80): ConnectionRecord {
  return ConnectionRecord.fromPartial({
    id,
    kind: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED,
    openTime: new Date(0),
    connection: { node: "node-1", network: "default", endpoint, peer: { address: "10.32.0.9", port }, bytesSent: 100n },
  });
}

test("a later event replaces what was known of its connection, and comes first", () => {
  const table = new ConnectionTable();
  table.apply([record("a"), record("b")]);
  table.apply([{ ...record("a"), kind: ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED }]);
  expect(table.newestFirst.map(({ id, kind }) => [id, kind])).toEqual([
    ["a", ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED],
    ["b", ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED],
  ]);
});

test("the oldest are forgotten beyond the limit", () => {
  const table = new ConnectionTable();
  table.apply(Array.from({ length: MAX_ROWS + 2 }, (_, index) => record(String(index))));
  expect(table.size).toBe(MAX_ROWS);
  expect(table.newestFirst.at(-1)?.id).toBe("2");
});

test("each field of the filter narrows", () => {
  const matches = (filter: Partial<typeof NO_FILTER>, of = record("a")) =>
    matcher({ ...NO_FILTER, ...filter }, 60_000)(of);
  expect(matches({})).toBe(true);
  expect(matches({ endpoint: "web", port: "80", node: "node-1", network: "default", state: "live" })).toBe(true);
  for (const wrong of [
    { endpoint: "db" },
    { port: "81" },
    { node: "x" },
    { network: "x" },
    { state: "closed" },
    { verdict: "denied" },
    { tier: "notify" },
    { minAge: "61" },
    { minBytes: "101" },
  ]) {
    expect(matches(wrong)).toBe(false);
  }
  const denied = record("b");
  if (denied.connection) denied.connection.verdict = Verdict.VERDICT_DENIED;
  expect(matches({ verdict: "denied", minAge: "60", minBytes: "100" }, denied)).toBe(true);
});

test("suggestions are the values that are there, the most frequent first", () => {
  const records = [record("a"), record("b", "db"), record("c", "db")];
  expect(suggestions(records, ({ connection }) => connection?.endpoint)).toEqual(["db", "web"]);
});
