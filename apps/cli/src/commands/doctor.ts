/** `slimfast doctor`. */
import { type Check, probe } from "@slimfast/core";
import { hostChecks } from "../doctor/host-checks.js";
import { EXIT, messageOf } from "../exit-codes.js";
import { printJson, printLine } from "../output.js";
import { runDirectory } from "../paths.js";

export async function doctor(options: { readonly json?: boolean }): Promise<void> {
  const checks = [...(await hostChecks(runDirectory())), ...(await probeCore())];
  const ok = checks.every((check) => check.ok || !check.required);
  if (options.json) printJson({ ok, checks });
  else printText(checks, ok);
  if (!ok) process.exitCode = EXIT.failed;
}

/** The core's own checks; that the addon cannot be loaded is one of them. */
async function probeCore(): Promise<Check[]> {
  try {
    return await probe();
  } catch (error) {
    return [
      {
        name: "core.addon",
        ok: false,
        detail: messageOf(error),
        remedy: "build it with: ./slimfast build",
        required: true,
      },
    ];
  }
}

function printText(checks: readonly Check[], ok: boolean): void {
  const width = Math.max(...checks.map((check) => check.name.length));
  for (const check of checks) {
    const mark = check.ok ? "ok     " : check.required ? "MISSING" : "warning";
    printLine(`${mark}  ${check.name.padEnd(width)}  ${check.detail}`);
    if (check.remedy !== null) printLine(`${" ".repeat(9)}${" ".repeat(width)}  -> ${check.remedy}`);
  }
  const missing = checks.filter((check) => !check.ok && check.required).length;
  printLine();
  printLine(
    ok
      ? "This machine can run SlimFast."
      : `This machine cannot run SlimFast yet: ${missing} of the required checks failed.`,
  );
}
