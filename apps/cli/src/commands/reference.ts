/** `slimfast reference FILE` (hidden): writes the command reference into a document, below its mark. */
import { readFileSync, writeFileSync } from "node:fs";
import type { Command } from "commander";
import { CliError } from "../exit-codes.js";
import { REFERENCE_BEGIN, reference } from "../reference.js";

export function writeReference(path: string, program: Command): void {
  const text = readFileSync(path, "utf8");
  const begin = text.indexOf(REFERENCE_BEGIN);
  if (begin === -1) throw new CliError("failed", `${path} has no line ${REFERENCE_BEGIN}`);
  writeFileSync(path, `${text.slice(0, begin)}${reference(program)}\n`);
}
