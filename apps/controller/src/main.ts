#!/usr/bin/env node
/**
 * The `slimfast-controller` process: command line, logs, signals.
 *
 * stdout carries one line of JSON when the controller listens; logs go to stderr. Exit codes: 0 after SIGTERM or SIGINT,
 * 1 if it could not start, 2 for a wrong command line.
 */
import { writeSync } from "node:fs";
import { setFlagsFromString } from "node:v8";
import { startTracing } from "@slimfast/telemetry";
import { Command, InvalidArgumentError, Option } from "commander";
import { pino } from "pino";
import type { ControllerTls } from "./controller.js";
import { StartupError } from "./errors.js";
import { CONTROLLER_VERSION } from "./installation.js";
import { parseListenAddress } from "./listen.js";
import {
  CERTIFICATE_LIFETIME_MS,
  MAX_CERTIFICATE_LIFETIME_MS,
  MIN_CERTIFICATE_LIFETIME_MS,
} from "./security/limits.js";
import type { EtcdAccessOptions } from "./store/etcd/etcd-access.js";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

interface Arguments {
  readonly listen: string[];
  readonly tls?: boolean;
  readonly tlsCert?: string;
  readonly tlsKey?: string;
  readonly advertise?: string[];
  readonly certificateLifetime: number;
  readonly http?: string;
  readonly stateDir: string;
  readonly store?: string;
  readonly etcdCa?: string;
  readonly etcdCert?: string;
  readonly etcdKey?: string;
  readonly etcdUser?: string;
  readonly etcdPasswordFile?: string;
  readonly logLevel: string;
}

const HOUR_MS = 3_600_000;

function parseLifetimeHours(text: string): number {
  const lifetimeMs = Number(text) * HOUR_MS;
  if (!(lifetimeMs >= MIN_CERTIFICATE_LIFETIME_MS && lifetimeMs <= MAX_CERTIFICATE_LIFETIME_MS)) {
    throw new InvalidArgumentError("hours are wanted, from one second's part of one to 8784");
  }
  return Number(text);
}

function readTlsOptions({ tls, tlsCert, tlsKey }: Arguments): ControllerTls | undefined {
  if ((tlsCert === undefined) !== (tlsKey === undefined)) {
    throw new StartupError("address_refused", "--tls-cert and --tls-key belong together: one of them is missing");
  }
  if (tlsCert !== undefined && tlsKey !== undefined) return { certificateFile: tlsCert, keyFile: tlsKey };
  return tls ? {} : undefined;
}

function readArguments(): Arguments {
  const command = new Command("slimfast-controller")
    .description("Keeps the state of a SlimFast cluster and distributes it to the agents.")
    .option(
      "--listen <address...>",
      "unix:/path or host:port; may be repeated. Without --tls TCP is for loopback addresses only, and callers need a token",
      ["unix:/run/slimfast/controller.sock"],
    )
    .option("--tls", "TLS on all TCP listeners, with a certificate that the cluster's own authority signs")
    .option("--tls-cert <file>", "the server's certificate (PEM), if it is another's; implies --tls")
    .option("--tls-key <file>", "its private key (PEM)")
    .option("--advertise <address...>", "host:port under which others reach it: for its certificate")
    .option(
      "--certificate-lifetime <hours>",
      "how long the certificates of nodes and controllers are valid",
      parseLifetimeHours,
      CERTIFICATE_LIFETIME_MS / HOUR_MS,
    )
    .option(
      "--http <address>",
      "host:port for the console and the metrics, several by commas: the first that is free; with TLS unless it is loopback; or fd:N, " +
        "a socket on loopback that listens already; default: none",
    )
    .option("--state-dir <directory>", "where the cluster's state is kept", "/var/lib/slimfast/controller")
    .option(
      "--store <store>",
      "sqlite:DIRECTORY, or etcd:HOST:PORT[,HOST:PORT]; default: SQLite in the state directory",
    )
    .option("--etcd-ca <file>", "authorities of etcd's certificates (PEM); with it the connection to etcd has TLS")
    .option("--etcd-cert <file>", "certificate to show to etcd (PEM)")
    .option("--etcd-key <file>", "its private key (PEM)")
    .option("--etcd-user <name>", "user of etcd, where it has users")
    .option("--etcd-password-file <file>", "file with the user's password")
    .addOption(new Option("--log-level <level>", "least level to log").choices(LOG_LEVELS).default("info"))
    .exitOverride();
  try {
    return command.parse().opts<Arguments>();
  } catch (error) {
    const isHelp = error instanceof Error && "exitCode" in error && error.exitCode === 0;
    process.exit(isHelp ? 0 : 2);
  }
}

/**
 * How much the heap may grow beyond what is in use before garbage is collected. V8's own choice is up to four times, which
 * with a large cluster is memory that others could use; collecting more often costs little, since it goes on beside.
 */
const HEAP_GROWING_PERCENT = 100;

/** Loaded once there is something to start, because it takes a while. */
function loadController(): Promise<typeof import("./controller.js")> {
  return import("./controller.js");
}

async function main(): Promise<void> {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWING_PERCENT}`);
  const options = readArguments();
  // Nothing that the controller creates is for anybody else.
  process.umask(0o077);
  const log = pino({ name: "controller", level: options.logLevel }, pino.destination({ fd: 2, sync: true }));
  const stopRequested = new Promise<NodeJS.Signals>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  const tracing = await startTracing({ service: "slimfast-controller", version: CONTROLLER_VERSION });
  try {
    const { listen, http, store, stateDir: stateDirectory, advertise = [] } = options;
    const tls = readTlsOptions(options);
    for (const address of listen) parseListenAddress(address, { tls: tls !== undefined });
    const { startController } = await loadController();
    const etcd: EtcdAccessOptions = {
      caFile: options.etcdCa,
      certificateFile: options.etcdCert,
      keyFile: options.etcdKey,
      user: options.etcdUser,
      passwordFile: options.etcdPasswordFile,
    };
    const controller = await startController({
      etcd,
      listen,
      stateDirectory,
      log,
      advertise,
      certificateLifetimeMs: options.certificateLifetime * HOUR_MS,
      ...(tls ? { tls } : {}),
      ...(http === undefined ? {} : { http }),
      ...(store === undefined ? {} : { store }),
    });
    const { listen: first, listening } = controller;
    writeSync(1, `${JSON.stringify({ ready: true, listen: first, listening, http: controller.http })}\n`);
    log.info({ signal: await stopRequested }, "stopping");
    await controller.close();
  } catch (error) {
    if (error instanceof StartupError) {
      process.stderr.write(`slimfast-controller: ${error.message}\n`);
      log.debug({ code: error.code, err: error }, "cannot start");
    } else {
      log.fatal({ err: error }, "controller failed");
    }
    process.exitCode = 1;
  }
  await tracing.stop();
}

/** Of its bundle, which has no `await` outside of functions. */
export const ended: Promise<void> = main();
