import { expect, it } from "vitest";
import { compareHoldings, type Holdings, residentKib, socketsInUse } from "./holdings.js";

const before: Holdings = {
  descriptors: 90,
  sockets: 40,
  maps: [
    { pid: 1, name: "ports", entries: 3 },
    { pid: 2, name: "ports", entries: 1 },
    { pid: 1, name: "peers", entries: 2 },
  ],
};

it("gives differences, and those of maps by name over all nodes", () => {
  const after: Holdings = {
    descriptors: 91,
    sockets: 38,
    maps: [
      { pid: 1, name: "ports", entries: 3 },
      { pid: 2, name: "ports", entries: 5 },
      { pid: 1, name: "peers", entries: 2 },
    ],
  };
  const report = compareHoldings(before, after, 1_000, [100, 700, 720, 725, 727]);
  expect(report).toMatchObject({ connections: 1_000, descriptors: 1, sockets: -2, mapEntries: 4, residentKib: 7 });
  expect(report.maps).toEqual({ ports: 4 });
});

it("counts a map that has gone", () => {
  expect(compareHoldings(before, { ...before, maps: [] }, 1, [5]).maps).toEqual({ ports: -4, peers: -2 });
});

it("reads the kernel's words", () => {
  expect(residentKib("Name:\tnode\nVmHWM:\t  90000 kB\nVmRSS:\t   81234 kB\nThreads:\t12\n")).toBe(81_234);
  expect(socketsInUse("sockets: used 212\nTCP: inuse 5 orphan 0 tw 3 alloc 9 mem 1\n")).toBe(212);
  expect(() => residentKib("Name:\tnode\n")).toThrow(RangeError);
});
