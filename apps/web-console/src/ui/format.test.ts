import { expect, test } from "vitest";
import {
  address,
  bytes,
  duration,
  exactTime,
  microseconds,
  parseLease,
  parsePorts,
  ports,
  roughDuration,
} from "./format.js";

test("numbers carry their units", () => {
  expect(bytes(1536n)).toBe("1.5 KiB");
  expect(bytes(0)).toBe("0 B");
  expect(microseconds(950)).toBe("950 µs");
  expect(microseconds(1500n)).toBe("1.5 ms");
  expect(duration(90_000)).toBe("1 min 30 s");
  expect(roughDuration(90_000)).toBe("1 min");
  expect(ports({ first: 7000, count: 16 })).toBe("7000–7015");
  expect(address({ address: "fd00::1", port: 80 })).toBe("[fd00::1]:80");
  expect(exactTime(new Date(0))).toBe("1970-01-01 00:00:00 UTC");
});

test("ports are read in each way they are written, and nothing else is", () => {
  expect(parsePorts("8080")).toEqual({ first: 8080, count: 1 });
  expect(parsePorts("8080-8099")).toEqual({ first: 8080, count: 20 });
  expect(parsePorts("8080+20")).toEqual({ first: 8080, count: 20 });
  expect(parsePorts("+20")).toEqual({ first: 0, count: 20 });
  for (const text of ["", "0", "65536", "9-8", "65530+7", "80,81", "1e3", "+0", "+"]) {
    expect(parsePorts(text)).toBeUndefined();
  }
});

test("leases are read with their unit", () => {
  expect(parseLease("90s")).toBe(90);
  expect(parseLease("7d")).toBe(604_800);
  for (const text of ["", "8", "h", "-1h"]) expect(parseLease(text)).toBeUndefined();
});
