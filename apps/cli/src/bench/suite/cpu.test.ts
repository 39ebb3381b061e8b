import { execFileSync } from "node:child_process";
import { expect, it } from "vitest";
import { busyTicks, cpuBetween, parseProcess, readCpuTimes, treeTicks } from "./cpu.js";
import { cpuValues } from "./run-suite.js";

const STAT = "7 (a) b) c) S 3 7 7 0 -1 4194560 100 0 0 0 11 5 2 1 20 0 1 0 100 0 0";

it("a process is read, whatever it is called", () => {
  expect(parseProcess(7, STAT)).toEqual({ pid: 7, parent: 3, ticks: 19 });
});

it("a tree is its root and all that descend from it", () => {
  const process = (pid: number, parent: number, ticks: number) => ({ pid, parent, ticks });
  const all = [process(1, 0, 100), process(2, 1, 10), process(3, 2, 5), process(4, 1, 1)];
  expect(treeTicks(all, [2])).toBe(15);
  expect(treeTicks(all, [2, 4])).toBe(16);
  expect(treeTicks(all, [99])).toBe(0);
});

it("waiting is no work", () => {
  expect(busyTicks("cpu  10 1 20 5000 300 4 6 7 8 9\ncpu0 1 1 1 1")).toBe(41);
});

it("a child's time is the client's", () => {
  const before = readCpuTimes([], []);
  execFileSync(process.execPath, ["-e", "const end = Date.now() + 300; while (Date.now() < end);"]);
  const used = cpuBetween(before, readCpuTimes([], []));
  expect(used.clientUs).toBeGreaterThan(0);
  expect(used.machineUs).toBeGreaterThan(0);
  expect([used.serverUs, used.networkUs]).toEqual([0, 0]);
});

it("time is divided by operations or by bytes", () => {
  const used = { clientUs: 1_000_000, serverUs: 2_000_000, networkUs: 0, machineUs: 4_000_000 };
  expect(cpuValues(used, { operations: 100_000 })).toMatchObject({ cpuClientUs: 10, cpuMachineUs: 40 });
  expect(cpuValues(used, { bytes: 2 ** 31 })).toMatchObject({ cpuClientMsPerGib: 500, cpuServerMsPerGib: 1_000 });
  const both = cpuValues(used, { operations: 100_000, bytes: 2 ** 31 });
  expect(Object.keys(both)).toHaveLength(8);
  expect(both).toMatchObject({ cpuClientUs: 10, cpuClientMsPerGib: 500 });
});
