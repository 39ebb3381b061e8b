/** Options that several commands share. */
import type { Command } from "commander";

export const JSON_OPTION: [string, string] = ["--json", "print JSON instead of text"];

/** For every command that talks to a controller. */
export function remote(command: Command): Command {
  return command
    .option(
      "--server <ADDRESS>",
      "controller: unix:/path or host:port, several by commas (default: this machine's cluster)",
    )
    .option("--token <TOKEN>", "API token, or @FILE that has it")
    .option("--ca <FILE>", "certificate of the cluster's authority in PEM, or sha256:HEX of it")
    .option("--context <NAME>", "context of the configuration file to use");
}

/** For commands that list a kind of resource. */
export function listing(command: Command): Command {
  return remote(command)
    .option("--filter <FILTER>", "only those for which it is true, for example 'labels.app = \"web\"' (AIP-160)")
    .option("--watch", "go on with what changes, until Ctrl-C; with --json one object per line")
    .option(...JSON_OPTION);
}

/** For options that may be given more than once. */
export function collectTexts(value: string, earlier: string[] | undefined): string[] {
  return [...(earlier ?? []), value];
}
