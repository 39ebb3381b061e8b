import { expect, it } from "vitest";
import { readLatencies, readPgbench } from "./pgbench.js";
import { readRedisBenchmark } from "./redis.js";
import { readSTime } from "./tls.js";

const REDIS = `"test","rps","avg_latency_ms","min_latency_ms","p50_latency_ms","p95_latency_ms","p99_latency_ms","max_latency_ms"
"GET","125000.00","0.250","0.100","0.247","0.300","0.391","1.200"
`;

it("redis-benchmark says milliseconds", () => {
  expect(readRedisBenchmark(REDIS, 500)).toEqual({
    values: { perSecond: 125_000, p50Us: 247, p99Us: 391 },
    work: { operations: 500 },
  });
  expect(() => readRedisBenchmark("Could not connect", 500)).toThrow("no rate in its output: Could not connect");
});

const PGBENCH = (failed: number) => `transaction type: <builtin: select only>
number of transactions actually processed: 5000
number of failed transactions: ${failed} (0.000%)
latency average = 1.600 ms
average connection time = 1.1 ms
tps = 4999.5 (including reconnection times)
`;

it("pgbench counts transactions, and none may have failed", () => {
  expect(readPgbench(PGBENCH(0))).toEqual({ values: { perSecond: 4_999.5 }, work: { operations: 5_000 } });
  expect(() => readPgbench(PGBENCH(1))).toThrow("failed transactions");
  expect(() => readPgbench("")).toThrow("no result");
});

it("pgbench's log has each transaction's latency", () => {
  const log = Array.from({ length: 1_000 }, (_, index) => `3 ${index} ${1_000 - index} 0 1764200000 12345`).join("\n");
  expect(readLatencies(`${log}\n`)).toEqual({ p50Us: 500, p99Us: 990, p999Us: 999 });
  expect(() => readLatencies("")).toThrow("no latencies");
  expect(() => readLatencies("0 1 failed 0 1 2\n")).toThrow("no latencies");
});

it("s_time's whole seconds are not its time", () => {
  const stdout = "465 connections in 0.30s; 1550.00 connections/user sec\n465 connections in 2 real seconds, 0 bytes\n";
  expect(readSTime(stdout, 1.5)).toEqual({ values: { perSecond: 310 }, work: { operations: 465 } });
  expect(() => readSTime("0 connections in 2 real seconds", 2)).toThrow("no result");
});
