/** `slimfast completion`. */
import type { Command } from "commander";
import { completionScript, type Shell } from "../completion/scripts.js";
import { completionEntries } from "../completion/tree.js";

export function completion(shell: Shell, program: Command): void {
  process.stdout.write(completionScript(shell, completionEntries(program)));
}
