/** PostgreSQL under pgbench, select-only: a connection per transaction (-C), and kept connections. */
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { CliError } from "../../../exit-codes.js";
import { exec } from "../../../process/exec.js";
import { percentile } from "../../statistics.js";
import type { Values } from "../metrics.js";
import { startListening } from "./own-load.js";
import type { Measurement, Scenario } from "./scenario.js";

const PORT = 5_440;
const CLIENTS = 8;
/** Where Debian has each version's programs that are not for everybody's path. */
const VERSIONS = "/usr/lib/postgresql";
/** The server refuses to run as root. */
const USER = "postgres";
const INIT_TIMEOUT_MS = 120_000;

const PER_TRANSACTION = "connection-per-transaction";

export const PGBENCH: Scenario = {
  name: "pgbench",
  description: "PostgreSQL under pgbench, select-only, 8 clients",
  programs: ["pgbench"],
  cases: [
    { name: PER_TRANSACTION, title: "pgbench -S -C, a connection per transaction", primary: "perSecond" },
    { name: "persistent", title: "pgbench -S, persistent connections", primary: "perSecond" },
  ],
  open: async (network, directory) => {
    const programs = programDirectory();
    const data = join(directory, "data");
    // The parent of the directory is its maker's alone.
    await exec("chmod", ["755", join(directory, "..")]);
    await exec("chown", [USER, directory]);
    await exec("cp", ["--archive", await emptyCluster(programs, join(directory, "..")), data]);
    const settings = [`listen_addresses=*`, `port=${PORT}`, `unix_socket_directories=${directory}`, "fsync=off"];
    const postgres = [join(programs, "postgres"), "-D", data, ...settings.flatMap((setting) => ["-c", setting])];
    const server = await startListening(network, "postgres", PORT, ["setpriv", ...asUser(), ...postgres]);
    const where = ["--host", server.address, "--port", String(PORT), "--username", USER];
    try {
      const initialize = ["pgbench", "--initialize", "--quiet", ...where, "postgres"];
      await network.run("client", initialize);
    } catch (error) {
      await server.stop();
      throw error;
    }
    return {
      servers: [server],
      measure: async (name, { seconds }) => {
        const load = ["--select-only", "--no-vacuum", "--client", String(CLIENTS), "--jobs", "2"];
        const connect = name === PER_TRANSACTION ? ["--connect"] : [];
        const time = ["--time", String(Math.max(1, Math.round(seconds)))];
        const log = join(directory, name);
        const logged = ["--log", "--log-prefix", log];
        const said = await network.run("client", [
          "pgbench",
          ...where,
          ...load,
          ...connect,
          ...time,
          ...logged,
          "postgres",
        ]);
        const { values, work } = readPgbench(said);
        return { values: { ...values, ...readLatencies(takeFiles(directory, `${name}.`)) }, work };
      },
    };
  },
};

/** Made once for all networks: initdb takes seconds. */
async function emptyCluster(programs: string, directory: string): Promise<string> {
  const own = join(directory, USER);
  const data = join(own, "empty");
  if (existsSync(own)) return data;
  await exec("install", ["--directory", `--owner=${USER}`, own]);
  const initdb = [join(programs, "initdb"), "--pgdata", data, "--auth", "trust", "--no-sync", "--username", USER];
  await exec("setpriv", [...asUser(), ...initdb], { timeoutMs: INIT_TIMEOUT_MS, cwd: "/" });
  await exec("sh", ["-c", `echo "host all all 0.0.0.0/0 trust" >> "$1"`, "sh", join(data, "pg_hba.conf")]);
  return data;
}

function asUser(): string[] {
  return [`--reuid=${USER}`, `--regid=${USER}`, "--init-groups"];
}

function programDirectory(): string {
  const versions = existsSync(VERSIONS) ? readdirSync(VERSIONS).sort((a, b) => Number(b) - Number(a)) : [];
  const found = versions
    .map((version) => join(VERSIONS, version, "bin"))
    .find((bin) => existsSync(join(bin, "initdb")));
  if (found === undefined) throw new CliError("failed", `there is no PostgreSQL server under ${VERSIONS}`);
  return found;
}

/** Of files whose names begin so, which are removed: pgbench writes one for each thread. */
function takeFiles(directory: string, prefix: string): string {
  const names = readdirSync(directory).filter((name) => name.startsWith(prefix));
  return names
    .map((name) => {
      const path = join(directory, name);
      const text = readFileSync(path, "utf8");
      rmSync(path);
      return text;
    })
    .join("");
}

/** Of pgbench's log: its third column has microseconds. With -C they begin when the connection is there. */
export function readLatencies(log: string): Values {
  const times = log.split("\n").flatMap((line) => (line === "" ? [] : [Number(line.split(" ")[2])]));
  if (times.length === 0 || !times.every((us) => us >= 0)) {
    throw new CliError("failed", `pgbench: no latencies in its log: ${log.slice(0, 200)}`);
  }
  times.sort((a, b) => a - b);
  return { p50Us: percentile(times, 0.5), p99Us: percentile(times, 0.99), p999Us: percentile(times, 0.999) };
}

/** pgbench reports averages only; with -C it counts the connections in. */
export function readPgbench(stdout: string): Measurement {
  const number = (pattern: RegExp) => Number(pattern.exec(stdout)?.[1]);
  const perSecond = number(/^tps = ([\d.]+)/m);
  const operations = number(/^number of transactions actually processed: (\d+)/m);
  const failed = number(/^number of failed transactions: (\d+)/m);
  if (!(perSecond > 0) || !(operations > 0) || failed > 0) {
    throw new CliError("failed", `pgbench: no result, or failed transactions: ${stdout.slice(-500)}`);
  }
  return { values: { perSecond }, work: { operations } };
}
