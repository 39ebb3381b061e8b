/** wrk, and reading what tools/bench/wrk-report.lua makes it print. */
import { join } from "node:path";
import { CliError } from "../../../exit-codes.js";
import { ROOT } from "../../../paths.js";
import type { Network } from "../networks/network.js";
import type { Measurement } from "./scenario.js";

/** Short and long connections, both cores busy on every network. */
const THREADS = 2;
const CONNECTIONS = 32;
const SCRIPT = join(ROOT, "tools/bench/wrk-report.lua");

export interface WrkLoad {
  readonly url: string;
  readonly seconds: number;
  /** Each request on a connection of its own. */
  readonly isShort: boolean;
}

export interface WrkReport {
  readonly requests: number;
  readonly elapsedUs: number;
  /** That came, heads included. */
  readonly bytes: number;
  readonly errors: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly p999Us: number;
}

export async function runWrk(network: Network, load: WrkLoad): Promise<Measurement> {
  const stdout = await network.run("client", [
    // wrk itself knows whole seconds only, and ends as well when it is told to: with its report, of the time that it has had.
    ...["timeout", "--foreground", "--preserve-status", "--signal", "INT", String(load.seconds)],
    ...["wrk", "--threads", String(THREADS), "--connections", String(CONNECTIONS)],
    ...["--duration", `${Math.ceil(load.seconds) + 1}s`, "--script", SCRIPT],
    ...(load.isShort ? ["--header", "Connection: close"] : []),
    load.url,
  ]);
  return readWrk(stdout, load.url);
}

/** @throws CliError if a request has failed: a rate of failures is no result */
export function readWrk(stdout: string, url: string): Measurement {
  const line = stdout.split("\n").find((text) => text.startsWith('{"requests"'));
  if (line === undefined) throw new CliError("failed", `wrk ${url}: no report in its output: ${stdout.slice(-500)}`);
  const { requests, elapsedUs, bytes, errors, p50Us, p99Us, p999Us } = JSON.parse(line) as WrkReport;
  if (errors > 0 || requests === 0) {
    throw new CliError("failed", `wrk ${url}: ${requests} requests, ${errors} of them failed`);
  }
  const perSecond = (requests * 1_000_000) / elapsedUs;
  return { values: { perSecond, p50Us, p99Us, p999Us }, work: { operations: requests, bytes } };
}
