/** `slimfast oci-profile`. */
import { readFileSync } from "node:fs";
import { CliError, messageOf } from "../exit-codes.js";
import { mergeGiven } from "../oci/given.js";
import { printLine } from "../output.js";

const STDIN = 0;

export function ociProfile(
  file: string | undefined,
  options: { readonly listenerPath: string; readonly listenerMetadata: string },
): void {
  const { listenerPath: path, listenerMetadata: metadata } = options;
  const merged = mergeGiven(file === undefined ? undefined : read(file), file ?? "the base profile", {
    path,
    metadata,
  });
  printLine(JSON.stringify(merged, null, 2));
}

function read(file: string): string {
  try {
    return readFileSync(file === "-" ? STDIN : file, "utf8");
  } catch (error) {
    throw new CliError("failed", `cannot read ${file}: ${messageOf(error)}`);
  }
}
