import { ConnectionEventKind, ConnectionRecord, Endpoint, Node } from "@slimfast/proto";
import { expect, test } from "vitest";
import { connectionChanges, recentEvents } from "./events.js";

const EMPTY = { isComplete: true, nodes: [], networks: [], endpoints: [], policies: [], reservations: [] };

test("creations and refusals are told, the newest first, repeated ones once", () => {
  const web = Endpoint.fromPartial({ name: "web", node: "node-1", createTime: new Date(2_000) });
  const refusal = (id: string, atMs: number) =>
    ConnectionRecord.fromPartial({
      id,
      kind: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED,
      error: "ECONNREFUSED",
      closeTime: new Date(atMs),
      connection: { endpoint: "client", peerEndpoint: "web", peer: { address: "10.32.0.1", port: 81 } },
    });
  const events = recentEvents({ ...EMPTY, endpoints: [web] }, [refusal("a", 1_000), refusal("b", 3_000)], []);
  expect(events.map(({ text }) => text)).toEqual([
    "client → web:81 got ECONNREFUSED (2 times)",
    "endpoint web was attached on node-1",
  ]);
  expect(events[0]).toMatchObject({ isBad: true, to: "/connections", search: { id: "b" } });
});

test("agents that come and go are told; nodes that are new are not", () => {
  const node = (name: string, connected: boolean) => Node.fromPartial({ name, connected });
  const before = [node("a", true), node("b", false), node("c", true)];
  const after = [node("a", false), node("b", true), node("c", true), node("d", true)];
  expect(connectionChanges(before, after, new Date(0)).map(({ text }) => text)).toEqual([
    "the agent of a is lost",
    "the agent of b is back",
  ]);
});
