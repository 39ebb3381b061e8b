/** Runs a command that the console shows, as somebody would who copied it into a shell. */
import { execFileSync } from "node:child_process";
import type { Cluster } from "../../fixture/cluster.js";

/** The words of a command line as a POSIX shell makes them. */
export function wordsOf(command: string): string[] {
  const printed = execFileSync("sh", ["-c", `printf '%s\\0' ${command}`], { encoding: "utf8" });
  return printed.split("\0").slice(0, -1);
}

export async function runShown(cluster: Cluster, commands: string): Promise<void> {
  for (const command of commands.split("\n")) {
    const [program, ...args] = wordsOf(command);
    if (program !== "slimfast") throw new Error(`${command}: begins with ${program}, not with slimfast`);
    const result = await cluster.cli.run(args);
    if (result.exitCode !== 0) throw new Error(`${command}: ${result.exitCode}: ${result.stderr}`);
  }
}
