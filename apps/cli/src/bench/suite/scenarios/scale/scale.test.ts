import { expect, it } from "vitest";
import { atATime } from "./in-endpoint.js";
import { kernelBytesOf } from "./memory.js";
import { SCALE_CONNECTIONS, SCALE_ENDPOINTS, SCALE_TABLE } from "./scale.js";

it("the kernel's memory is all that it takes for itself", () => {
  const meminfo = "MemTotal: 9 kB\nSlab:   100 kB\nKernelStack:  20 kB\nPageTables:   3 kB\nPercpu:  4 kB\n";
  expect(kernelBytesOf(meminfo)).toBe(127 * 1_024);
  expect(() => kernelBytesOf("Slab: 1 kB\n")).toThrow("no KernelStack");
});

it("sizes ascend, from 1 on, and the quick profile has at least two of them", () => {
  for (const { cases } of [SCALE_CONNECTIONS, SCALE_ENDPOINTS, SCALE_TABLE]) {
    const sizes = cases.map(({ size }) => size ?? 0);
    expect(sizes[0]).toBe(1);
    expect(sizes).toEqual([...sizes].sort((a, b) => a - b));
    expect(cases.map(({ name }) => Number(name))).toEqual(sizes);
    expect(cases.filter(({ isFullOnly }) => !isFullOnly).length).toBeGreaterThanOrEqual(2);
  }
});

it("so many at a time, and after a failure nothing new is begun and nothing is left running", async () => {
  let [running, most] = [0, 0];
  const begun: number[] = [];
  const make = async (index: number) => {
    begun.push(index);
    running += 1;
    most = Math.max(most, running);
    await new Promise((resolve) => setImmediate(resolve));
    running -= 1;
    if (index === 5) throw new Error("the sixth");
  };
  await atATime(4, 3, make);
  expect([begun, most, running]).toEqual([[0, 1, 2, 3], 3, 0]);
  begun.length = 0;
  await expect(atATime(100, 3, make)).rejects.toThrow("the sixth");
  expect(running).toBe(0);
  expect(begun.length).toBeLessThanOrEqual(9);
  await atATime(-1, 3, make);
});
