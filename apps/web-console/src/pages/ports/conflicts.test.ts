import { SlimFastError } from "@slimfast/client/web";
import { PortPurpose, PortReservation } from "@slimfast/proto";
import { expect, test } from "vitest";
import { conflictOf, holdersOf, nearestFree } from "./conflicts.js";

const reserved = (node: string, first: number, count: number, name = "") =>
  PortReservation.fromPartial({
    node,
    name,
    ports: { first, count },
    owner: name === "" ? `node/${node}` : `reservation/${name}`,
    purpose: name === "" ? PortPurpose.PORT_PURPOSE_FRONT : PortPurpose.PORT_PURPOSE_STATIC,
  });

const ALL = [reserved("node-1", 7000, 16), reserved("node-1", 9000, 4, "backup"), reserved("node-2", 7000, 16)];

test("holders are those on the node whose ports overlap", () => {
  expect(holdersOf(ALL, "node-1", { first: 7015, count: 2 })).toEqual([ALL[0]]);
  expect(holdersOf(ALL, "node-1", { first: 7016, count: 2 })).toEqual([]);
  expect(holdersOf(ALL, "node-2", { first: 9000, count: 4 })).toEqual([]);
  // One that is changed is not in its own way.
  expect(holdersOf(ALL, "node-1", { first: 9002, count: 4 }, "backup")).toEqual([]);
});

test("the nearest free block is next to what is in the way", () => {
  expect(nearestFree(ALL, "node-1", { first: 9001, count: 2 })).toBe(9004);
  expect(nearestFree(ALL, "node-1", { first: 9003, count: 2 })).toBe(9004);
  expect(nearestFree(ALL, "node-1", { first: 8000, count: 10 })).toBe(8000);
  expect(nearestFree([reserved("n", 1, 65_535)], "n", { first: 80, count: 1 })).toBeNull();
});

test("the controller's refusal names the owner and what is free", () => {
  const refusal = new SlimFastError("already_exists", "taken", {
    details: {
      info: { reason: "PORTS_TAKEN", metadata: { free_first: "9004" } },
      resources: [{ owner: "reservation/backup" }],
    },
  } as never);
  expect(conflictOf(refusal)).toEqual({ owner: "reservation/backup", free: 9004 });
  expect(conflictOf(new Error("else"))).toBeNull();
});
