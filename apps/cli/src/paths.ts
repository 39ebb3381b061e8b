/** Where things are: the checkout, its build products, the run directory. Owns no content of them. */
import { existsSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import { fileURLToPath } from "node:url";
import { CliError } from "./exit-codes.js";

/** Run directory of the machine's ordinary cluster. */
export const DEFAULT_RUN_DIR = "/run/slimfast";

/** The checkout that this file belongs to. */
export const ROOT: string = resolve(dirname(fileURLToPath(import.meta.url)), "../../..");

/** The run directory: SLIMFAST_RUN_DIR, or {@link DEFAULT_RUN_DIR}. */
export function runDirectory(): string {
  return resolve(process.env.SLIMFAST_RUN_DIR || DEFAULT_RUN_DIR);
}

export const CONTROLLER_MAIN: string = join(ROOT, "apps/controller/bundle/main.js");

export const AGENT_MAIN: string = join(ROOT, "apps/agent/bundle/main.js");
export const CLI_MAIN: string = join(ROOT, "apps/cli/bundle/main.js");

/** What Node.js is to run a controller with: its options (docs/adr/0035-responses-pass-the-layers-by.md) and its program. */
export function controllerCommand(): string[] {
  return [...nodeOptions("controller"), CONTROLLER_MAIN];
}

/** The same for an agent (docs/adr/0036-agents-collect-garbage-sooner.md). */
export function agentCommand(): string[] {
  return [...nodeOptions("agent"), AGENT_MAIN];
}

function nodeOptions(program: string): string[] {
  return JSON.parse(readFileSync(join(ROOT, "apps", program, "node-options.json"), "utf8")) as string[];
}

/**
 * A product of the Rust build.
 *
 * @throws CliError if it was not built.
 */
export function rustProduct(name: "slimfast-launch" | "slimfast-bench" | "libslimfast_preload.so"): string {
  const path = join(process.env.CARGO_TARGET_DIR || join(ROOT, "target"), "release", name);
  if (!existsSync(path)) {
    throw new CliError("failed", `${path} does not exist`, { remedy: "build it with ./slimfast build" });
  }
  return path;
}
