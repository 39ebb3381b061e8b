/** The programs of others that scenarios need: installed when they are asked for, their versions kept with the result. */
import { join } from "node:path";
import { CliError } from "../../exit-codes.js";
import { ROOT } from "../../paths.js";
import { exec, tryExec } from "../../process/exec.js";
import { sayProgress } from "../../progress.js";
import type { Scenario } from "./scenarios/scenario.js";

/** apt may have to fetch package lists first. */
const INSTALL_TIMEOUT_MS = 900_000;

/** How each says its version, where that is not `--version`. */
const VERSION_OPTION: Readonly<Record<string, string>> = { nginx: "-v", wrk: "-v", openssl: "version" };

export function programsOf(scenarios: readonly Scenario[]): string[] {
  return [...new Set(scenarios.flatMap(({ programs }) => programs))];
}

/** Installs what is missing. @throws CliError with what to do if that does not help */
export async function requirePrograms(programs: readonly string[]): Promise<void> {
  const lacking = await missing(programs);
  if (lacking.length === 0) return;
  sayProgress(`installing programs that this needs: ${lacking.join(", ")}`);
  await exec(join(ROOT, "tools/setup/bench-packages.sh"), [], { timeoutMs: INSTALL_TIMEOUT_MS });
  const still = await missing(programs);
  if (still.length > 0) {
    throw new CliError("failed", `these programs are not installed: ${still.join(", ")}`, {
      remedy: "install them, or leave out what needs them: scenarios (slimfast bench --list), --report",
    });
  }
}

async function missing(programs: readonly string[]): Promise<string[]> {
  const found = await Promise.all(programs.map((program) => tryExec("which", [program])));
  return programs.filter((_, index) => found[index]?.exitCode !== 0);
}

/** The first line of what each says. */
export async function programVersions(scenarios: readonly Scenario[]): Promise<Record<string, string>> {
  const versions: Record<string, string> = {};
  for (const program of programsOf(scenarios)) {
    const { stdout, stderr } = await tryExec(program, [VERSION_OPTION[program] ?? "--version"]);
    versions[program] = (stdout || stderr).split("\n")[0]?.trim() ?? "";
  }
  return versions;
}
