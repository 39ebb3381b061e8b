import { ConnectionEventKind, ConnectionRecord, Verdict } from "@slimfast/proto";
import { expect, test } from "vitest";
import { matcher, NO_FILTER, serverFilter, suggestions } from "./filter.js";

function record(endpoint = "web", port = 80): ConnectionRecord {
  return ConnectionRecord.fromPartial({
    id: `node-1/${endpoint}`,
    kind: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED,
    openTime: new Date(0),
    connection: { node: "node-1", network: "default", endpoint, peer: { address: "10.32.0.9", port }, bytesSent: 100n },
  });
}

test("each field of the filter narrows", () => {
  const matches = (filter: Partial<typeof NO_FILTER>, of = record()) =>
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
  const denied = record();
  if (denied.connection) denied.connection.verdict = Verdict.VERDICT_DENIED;
  expect(matches({ verdict: "denied", minAge: "60", minBytes: "100" }, denied)).toBe(true);
});

test("an endpoint is meant by its name or by either of its addresses, however that is written", () => {
  const six = record();
  if (six.connection) six.connection.local = { address: "fd00::2:1", port: 40_000 };
  const matches = (endpoint: string) => matcher({ ...NO_FILTER, endpoint }, 0)(six);
  expect(matches("FD00:0::2:0001")).toBe(true);
  expect(matches("10.32.0.9")).toBe(true);
  expect(matches("fd00::2:2")).toBe(false);
  expect(serverFilter({ ...NO_FILTER, endpoint: "fd00:0:0::2:1" }, 0)).toBe(
    '(connection.local.address = "fd00::2:1" OR connection.peer.address = "fd00::2:1")',
  );
});

test("suggestions are the values that are there, the most frequent first", () => {
  const records = [record(), record("db"), record("db")];
  expect(suggestions(records, ({ connection }) => connection?.endpoint)).toEqual(["db", "web"]);
});

test("the controller's filter says the same, and no value gets out of its quotes", () => {
  expect(serverFilter(NO_FILTER, 0)).toBe("");
  expect(serverFilter({ ...NO_FILTER, endpoint: "web", port: "80", state: "live" }, 0)).toBe(
    '(connection.endpoint = "web" OR connection.peer_endpoint = "web") AND (connection.local.port = 80 OR connection.peer.port = 80) AND (kind = opened OR kind = accepted)',
  );
  expect(serverFilter({ ...NO_FILTER, network: 'a" OR network = "b\\*' }, 0)).toBe(
    'connection.network = "a\\" OR network = \\"b\\\\\\*"',
  );
  expect(serverFilter({ ...NO_FILTER, port: "80) OR (1", minAge: "60" }, 120_000)).toBe(
    "(connection.local.port = 0 OR connection.peer.port = 0) AND open_time <= 1970-01-01T00:01:00.000Z",
  );
});
