#!/usr/bin/env node
/**
 * The `slimfast-agent` process: command line, logs, signals.
 *
 * stdout carries one line of JSON when the node is registered and serves; logs go to stderr. SIGTERM and SIGINT take the node
 * down. After SIGHUP, as after SIGKILL, the node goes on without an agent until the next one takes it over. Exit codes: 0
 * after these signals, 1 if it could not start, could not take everything down or was told twice to stop, 2 for a wrong
 * command line.
 */
import { once } from "node:events";
import { readFileSync, writeSync } from "node:fs";
import { resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { type CoreConfig, CoreError, openCore, recover } from "@slimfast/core";
import { startTracing } from "@slimfast/telemetry";
import { Command, InvalidArgumentError, Option } from "commander";
import { type Logger, pino } from "pino";
import { startAgent } from "./agent.js";
import { parseEndpointLimits, UNSAID } from "./endpoint-limits.js";
import { messageOf } from "./errors.js";
import { addJoinOptions, identityOptions, type JoinArguments } from "./identity/join-options.js";
import { NodeIdentity } from "./identity/node-identity.js";
import { DEFAULT_LIMITS } from "./limits.js";
import { parseMetricsAddress } from "./metrics/metrics-server.js";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];
const PORT_MAX = 65_535;
const DEFAULT_CONTROLLERS = ["unix:/run/slimfast/controller.sock"];

interface FrontPorts {
  first: number;
  count: number;
}

interface Arguments extends JoinArguments {
  readonly node: string;
  readonly underlay: string;
  readonly controller?: readonly string[];
  readonly runDir: string;
  readonly frontPorts: FrontPorts;
  readonly cgroup?: string;
  readonly vxlanPort: number;
  readonly endpointLimits: CoreConfig["endpointLimits"];
  readonly metrics?: string;
  readonly fresh?: boolean;
  readonly logLevel: string;
}

function parsePort(text: string): number {
  const port = Number(text);
  if (!/^\d+$/.test(text) || port < 1 || port > PORT_MAX) throw new InvalidArgumentError("not a port: 1 to 65535");
  return port;
}

function parseFrontPorts(text: string): FrontPorts {
  const [first, count, ...rest] = text.split(":");
  if (first === undefined || count === undefined || rest.length > 0) {
    throw new InvalidArgumentError("FIRST:COUNT is wanted, for example 7000:16");
  }
  return { first: parsePort(first), count: parsePort(count) };
}

function checkMetricsAddress(text: string): string {
  try {
    parseMetricsAddress(text);
    return text;
  } catch (error) {
    throw new InvalidArgumentError(messageOf(error));
  }
}

function readArguments(): Arguments {
  const command = addJoinOptions(new Command("slimfast-agent"))
    .description("Runs one node of a SlimFast cluster, in the network namespace that it is started in. Needs root.")
    .requiredOption("--node <name>", "name of the node, a DNS label")
    .requiredOption("--underlay <address>", "IPv4 address of this node that other nodes reach")
    .option(
      "--controller <address>",
      "unix:/path or host:port; again for each of several (default: unix:/run/slimfast/controller.sock)",
      (address: string, before: string[] | undefined) => [...(before ?? []), address],
    )
    .option("--run-dir <directory>", "for sockets and the journal", "/run/slimfast/agent")
    .option("--front-ports <first:count>", "host TCP ports to reserve for the overlay", parseFrontPorts, {
      first: 7000,
      count: 16,
    })
    .option("--cgroup <path>", "cgroup v2 path below the mount; default: slimfast/NODE")
    .option("--vxlan-port <port>", "UDP port of the overlay for what is not TCP", parsePort, 4789)
    .option(
      "--endpoint-limits <limits>",
      "what each endpoint may have: sockets=N,listeners=N,connects=N (a second), or some of them",
      parseEndpointLimits,
      UNSAID,
    )
    .option("--fresh", "end what an agent before this one has left running, instead of taking it over")
    .option("--metrics <host:port>", "serve Prometheus metrics there, on a loopback address", checkMetricsAddress)
    .addOption(new Option("--log-level <level>", "least level to log").choices(LOG_LEVELS).default("info"))
    .exitOverride();
  try {
    return command.parse().opts<Arguments>();
  } catch (error) {
    const isHelp = error instanceof Error && "exitCode" in error && error.exitCode === 0;
    process.exit(isHelp ? 0 : 2);
  }
}

function version(): string {
  const manifest: unknown = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8"));
  return (manifest as { version: string }).version;
}

/** A product of the Rust build, which is where the agent's own files are. */
const KEEPER = resolve(
  process.env.CARGO_TARGET_DIR ?? fileURLToPath(new URL("../../../target", import.meta.url)),
  "release/slimfast-keeper",
);

/** With this reason for its end, the agent leaves the node running. */
const LEAVE = new Error("the agent was told to leave the node to the next one");

/**
 * Aborted by the first SIGTERM, SIGINT or SIGHUP. The second ends the process, and so does a graceful exit that takes too
 * long.
 */
function stopSignal(log: Logger): AbortSignal {
  const stop = new AbortController();
  // The journal tells the next run what is left.
  const exitAtOnce = () => process.exit(1);
  const onSignal = (signal: NodeJS.Signals) => {
    if (stop.signal.aborted) exitAtOnce();
    log.info({ signal }, "stopping");
    setTimeout(exitAtOnce, DEFAULT_LIMITS.shutdownTimeoutMs).unref();
    stop.abort(signal === "SIGHUP" ? LEAVE : undefined);
  };
  process.on("SIGHUP", onSignal);
  process.on("SIGTERM", onSignal);
  process.on("SIGINT", onSignal);
  return stop.signal;
}

/** Runs the agent until `signal`. */
async function run(options: Arguments, log: Logger, signal: AbortSignal): Promise<void> {
  const { node, controller: controllers = DEFAULT_CONTROLLERS } = options;
  const timeoutMs = DEFAULT_LIMITS.startupTimeoutMs;
  // Before anything is changed on this host: without it nothing else can succeed.
  const joining = identityOptions(options, { node, controllers, timeoutMs, log });
  const identity = joining && (await NodeIdentity.open(joining));
  signal.throwIfAborted();
  const agent = await startAgent({
    config: {
      nodeName: options.node,
      underlayAddress: options.underlay,
      frontPortFirst: options.frontPorts.first,
      frontPortCount: options.frontPorts.count,
      cgroup: options.cgroup ?? `slimfast/${options.node}`,
      runDir: options.runDir,
      keeperPath: KEEPER,
      vxlanPort: options.vxlanPort,
      endpointLimits: options.endpointLimits,
    },
    controllerAddresses: controllers,
    identity,
    version: version(),
    ...(options.metrics === undefined ? {} : { metricsAddress: options.metrics }),
    log,
    openCore: async (config) => {
      if (options.fresh) await recover(config.runDir);
      return openCore(config);
    },
    signal,
  });
  try {
    const { socket, seccompSocket, metricsAddress } = agent;
    const ready = { ready: true, node: options.node, socket, seccompSocket, metrics: metricsAddress };
    writeSync(1, `${JSON.stringify(ready)}\n`);
    if (!signal.aborted) await once(signal, "abort");
  } finally {
    await (signal.reason === LEAVE ? agent.leave() : agent.close());
  }
}

async function main(): Promise<void> {
  const options = readArguments();
  if (process.geteuid?.() !== 0) {
    process.stderr.write("slimfast-agent: it changes the network of this host and must be started by root\n");
    process.exit(1);
  }
  process.umask(0o077);
  const log = pino({ name: "agent", level: options.logLevel }, pino.destination({ fd: 2, sync: true }));
  const signal = stopSignal(log);
  const tracing = await startTracing({ service: "slimfast-agent", version: version() });
  try {
    await run(options, log, signal);
    await tracing.stop();
    process.exit(0);
  } catch (error) {
    if (error === signal.reason) process.exit(0);
    process.stderr.write(`slimfast-agent: ${messageOf(error)}\n`);
    if (error instanceof CoreError && error.kind === "conflict") {
      process.stderr.write("  end what has it first, or choose others with --front-ports and --run-dir\n");
    }
    log.debug({ err: error }, "the agent failed");
    process.exit(1);
  }
}

/** Of its bundle, which has no `await` outside of functions. */
export const ended: Promise<void> = main();
