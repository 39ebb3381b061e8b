#!/usr/bin/env node
/** The `slimfast` command: parses, runs, and turns what is thrown into a message and an exit code. */
import { pathToFileURL } from "node:url";
import { CommanderError } from "commander";
import { CliError, EXIT, messageOf } from "./exit-codes.js";
import { toJson } from "./output.js";
import { AGENT_MAIN } from "./paths.js";
import { CLI_VERSION, createProgram } from "./program.js";
import { sendTraces, traced } from "./tracing.js";

// A reader that goes away (`| head`) is no failure.
process.stdout.on("error", (error: NodeJS.ErrnoException) => {
  if (error.code === "EPIPE") process.exit(EXIT.ok);
  throw error;
});

const argv = process.argv.slice(2);
const isRun = argv[0] === "run";
// The demo's object has its own place for failures.
const wantsJson = argv.includes("--json") && !isRun && argv[0] !== "demo";

/** Of its bundle, which has no `await` outside of functions. */
export const ended: Promise<void> = main();

async function main(): Promise<void> {
  if (argv[0] === "agent") {
    process.argv.splice(2, 1);
    // It ends the process itself.
    await import(pathToFileURL(AGENT_MAIN).href);
  }
  try {
    process.exitCode = EXIT.ok;
    await traced(commandOf(argv), CLI_VERSION, () => createProgram().parseAsync(argv, { from: "user" }));
  } catch (error) {
    process.exitCode = await report(error);
  }
  await sendTraces();
}

/** The command, without arguments: those may be anybody's secrets. */
function commandOf(args: readonly string[]): string {
  const names = new Set(createProgram().commands.map((command) => command.name()));
  return args.find((arg) => names.has(arg)) ?? "";
}

async function report(error: unknown): Promise<number> {
  if (error instanceof CommanderError) {
    // Commander has printed its message; help and version come here with 0.
    return error.exitCode === 0 ? EXIT.ok : isRun ? EXIT.runFailed : EXIT.usage;
  }
  const code = error instanceof CliError ? error.code : "failed";
  // Loaded here, so that `--help` does not wait for gRPC.
  const { remedyFor } = await import("./remedies.js");
  const remedy = remedyFor(error);
  process.stderr.write(`slimfast: ${messageOf(error)}\n`);
  if (remedy !== null) process.stderr.write(`  ${remedy.replaceAll("\n", "\n  ")}\n`);
  if (process.env.SLIMFAST_DEBUG && error instanceof Error) process.stderr.write(`${error.stack}\n`);
  if (wantsJson) process.stdout.write(`${toJson({ ok: false, error: { code, message: messageOf(error), remedy } })}\n`);
  return isRun ? EXIT.runFailed : EXIT[code];
}
