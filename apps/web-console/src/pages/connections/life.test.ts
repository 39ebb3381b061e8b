import { ConnectionEventKind, ConnectionRecord, Direction, Node, PortReservation } from "@slimfast/proto";
import { expect, test } from "vitest";
import { moments, otherEnd, reservationOf, synDecision } from "./life.js";

const NODES = [1, 2].map((number) =>
  Node.fromPartial({
    name: `node-${number}`,
    underlayAddress: `10.200.0.${number}`,
    frontPorts: { first: 7000, count: 16 },
  }),
);
const RESERVATIONS = NODES.map(({ name, frontPorts }) =>
  PortReservation.fromPartial({ node: name, ports: frontPorts, owner: `node/${name}` }),
);
const client = { address: "10.32.0.2", port: 40_000 };
const server = { address: "10.32.0.3", port: 80 };
const underClient = { address: "10.200.0.1", port: 50_000 };
const underServer = { address: "10.200.0.2", port: 7004 };

const out = ConnectionRecord.fromPartial({
  id: "node-1/5",
  kind: ConnectionEventKind.CONNECTION_EVENT_KIND_OPENED,
  openTime: new Date(1_000),
  connection: {
    node: "node-1",
    network: "default",
    endpoint: "client",
    peerEndpoint: "web",
    direction: Direction.DIRECTION_OUTBOUND,
    local: client,
    peer: server,
    underlayLocal: underClient,
    underlayPeer: underServer,
    setupUs: 52,
  },
});
const into = ConnectionRecord.fromPartial({
  id: "node-2/9",
  kind: ConnectionEventKind.CONNECTION_EVENT_KIND_ACCEPTED,
  openTime: new Date(1_000),
  connection: {
    node: "node-2",
    network: "default",
    endpoint: "web",
    peerEndpoint: "client",
    direction: Direction.DIRECTION_INBOUND,
    local: server,
    peer: client,
    underlayLocal: underServer,
    underlayPeer: underClient,
  },
});

test("the decision about the SYN is told from either end", () => {
  expect(synDecision(out, NODES)).toBe("connect(2) to 10.32.0.3:80 was led to front port 7004 of node-2, where web is");
  expect(synDecision(into, NODES)).toMatch(/^arrived at front port 7004 of node-2; its option named 10.32.0.3:80/);
  expect(synDecision({ ...out, error: "EPERM" }, NODES)).toMatch(/^EPERM: a policy denies it/);
});

test("connections that leave the overlay say so, and are by no reservation", () => {
  const outside = { address: "192.0.2.9", port: 443 };
  const away = ConnectionRecord.fromPartial({
    ...out,
    connection: { ...out.connection, peer: outside, underlayPeer: outside, peerEndpoint: "" },
  });
  expect(synDecision(away, NODES)).toBe("left the overlay for 192.0.2.9:443 as it is");
  expect(reservationOf(away, NODES, RESERVATIONS)).toBeUndefined();
});

test("the reservation is that of the listening node, from either end", () => {
  expect(reservationOf(out, NODES, RESERVATIONS)?.owner).toBe("node/node-2");
  expect(reservationOf(into, NODES, RESERVATIONS)?.owner).toBe("node/node-2");
});

test("the other end is the same connection and no earlier one with its ports", () => {
  const earlier = { ...into, id: "node-2/8", closeTime: new Date(500) };
  expect(otherEnd(out, [earlier, out, into])?.id).toBe("node-2/9");
  expect(otherEnd(into, [into, out])?.id).toBe("node-1/5");
  expect(otherEnd(out, [out])).toBeUndefined();
});

test("its life goes from the SYN to the end", () => {
  const closed = { ...out, kind: ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED, closeTime: new Date(3_000) };
  expect(moments(closed, NODES).map(({ text }) => text.split(":")[0])).toEqual([
    "SYN",
    "established, 52 µs after the SYN",
    "closed",
  ]);
  expect(moments({ ...out, error: "ECONNREFUSED" }, NODES)).toHaveLength(1);
});
