import { expect, it } from "vitest";
import { formatBytes, formatDuration, formatTable, toJson } from "./output.js";

it("aligns text to the left and numbers to the right", () => {
  const rows = [
    ["a", 5],
    ["long", 123],
  ] as const;
  expect(formatTable(["NAME", "N"], rows)).toBe("NAME    N\na       5\nlong  123");
});

it("keeps big integers exact in JSON", () => {
  expect(toJson({ small: 5n, large: 2n ** 60n })).toBe('{"small":5,"large":"1152921504606846976"}');
});

it("writes sizes and times with units", () => {
  expect([formatBytes(512n), formatBytes(1536n)]).toEqual(["512 B", "1.5 KiB"]);
  expect([
    formatDuration(10n),
    formatDuration(1_500n),
    formatDuration(2_500_000n),
    formatDuration(61_000_000n),
  ]).toEqual(["10 us", "1.5 ms", "2.5 s", "1 min 1 s"]);
});
