#!/usr/bin/env node
/**
 * The `slimfast-controller` process: command line, logs, signals.
 *
 * stdout carries one line of JSON when the controller listens; logs go to stderr. Exit codes: 0 after SIGTERM or SIGINT,
 * 1 if it could not start, 2 for a wrong command line.
 */
import { writeSync } from "node:fs";
import { startTracing } from "@slimfast/telemetry";
import { Command, Option } from "commander";
import { pino } from "pino";
import { controllerVersion, startController } from "./controller.js";
import { StartupError } from "./errors.js";

const LOG_LEVELS = ["trace", "debug", "info", "warn", "error", "fatal", "silent"];

interface Arguments {
  readonly listen: string;
  readonly http?: string;
  readonly stateDir: string;
  readonly store?: string;
  readonly logLevel: string;
}

function readArguments(): Arguments {
  const command = new Command("slimfast-controller")
    .description("Keeps the state of a SlimFast cluster and distributes it to the agents.")
    .option(
      "--listen <address>",
      "unix:/path, or host:port on a loopback address",
      "unix:/run/slimfast/controller.sock",
    )
    .option("--http <address>", "host:port for the console and the metrics; default: none")
    .option("--state-dir <directory>", "where the cluster's state is kept", "/var/lib/slimfast/controller")
    .option(
      "--store <store>",
      "sqlite:DIRECTORY, or etcd:HOST:PORT[,HOST:PORT]; default: SQLite in the state directory",
    )
    .addOption(new Option("--log-level <level>", "least level to log").choices(LOG_LEVELS).default("info"))
    .exitOverride();
  try {
    return command.parse().opts<Arguments>();
  } catch (error) {
    const isHelp = error instanceof Error && "exitCode" in error && error.exitCode === 0;
    process.exit(isHelp ? 0 : 2);
  }
}

async function main(): Promise<void> {
  const options = readArguments();
  // Nothing that the controller creates is for anybody else.
  process.umask(0o077);
  const log = pino({ name: "controller", level: options.logLevel }, pino.destination({ fd: 2, sync: true }));
  const stopRequested = new Promise<NodeJS.Signals>((resolve) => {
    process.once("SIGTERM", resolve);
    process.once("SIGINT", resolve);
  });
  const tracing = await startTracing({ service: "slimfast-controller", version: controllerVersion() });
  try {
    const { listen, http, store, stateDir: stateDirectory } = options;
    const controller = await startController({
      listen,
      stateDirectory,
      log,
      ...(http === undefined ? {} : { http }),
      ...(store === undefined ? {} : { store }),
    });
    writeSync(1, `${JSON.stringify({ ready: true, listen: controller.listen, http: controller.http })}\n`);
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

await main();
