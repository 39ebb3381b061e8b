/** redis under redis-benchmark: GET and SET on kept connections, and a connection per request. */
import { CliError } from "../../../exit-codes.js";
import { startListening } from "./own-load.js";
import type { Measurement, Scenario } from "./scenario.js";

const PORT = 6_379;
const CLIENTS = 16;
/** redis-benchmark runs for a number of requests; so many a second are assumed. */
const REQUESTS_PER_SECOND = { kept: 40_000, perRequest: 6_000 } as const;

const PER_REQUEST = "connection-per-request";

export const REDIS: Scenario = {
  name: "redis",
  description: "redis under redis-benchmark, GET of 3 B, 16 clients",
  programs: ["redis-server", "redis-benchmark"],
  cases: [
    { name: PER_REQUEST, title: "redis, a connection per request", primary: "perSecond" },
    { name: "persistent", title: "redis, persistent connections", primary: "perSecond" },
  ],
  open: async (network, directory) => {
    const options = ["--protected-mode", "no", "--save", "", "--appendonly", "no", "--dir", directory];
    const command = ["redis-server", "--bind", "0.0.0.0", "--port", String(PORT), ...options];
    const server = await startListening(network, "redis", PORT, command);
    return {
      servers: [server],
      measure: async (name, { seconds }) => {
        const isKept = name !== PER_REQUEST;
        const requests = Math.ceil(seconds * REQUESTS_PER_SECOND[isKept ? "kept" : "perRequest"]);
        const stdout = await network.run("client", [
          ...["redis-benchmark", "-h", server.address, "-p", String(PORT), "-t", "get", "--csv"],
          ...["-c", String(CLIENTS), "-n", String(requests), "-k", isKept ? "1" : "0"],
        ]);
        return readRedisBenchmark(stdout, requests);
      },
    };
  },
};

/** @param csv a header, and a line for the one test. Times are in milliseconds. */
export function readRedisBenchmark(csv: string, requests: number): Measurement {
  const lines = csv.split("\n").map((line) => line.split(",").map((cell) => cell.replaceAll('"', "")));
  const names = lines.find((cells) => cells[0] === "test");
  const cells = lines.find(([first]) => first === "GET");
  const cell = (name: string) => Number(cells?.[names?.indexOf(name) ?? -1]);
  const perSecond = cell("rps");
  if (!(perSecond > 0)) throw new CliError("failed", `redis-benchmark: no rate in its output: ${csv.slice(-500)}`);
  const us = (name: string) => cell(name) * 1_000;
  return {
    values: { perSecond, p50Us: us("p50_latency_ms"), p99Us: us("p99_latency_ms") },
    work: { operations: requests },
  };
}
