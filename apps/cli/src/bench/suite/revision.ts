/** Which source the measured programs were built from. */
import { ROOT } from "../../paths.js";
import { tryExec } from "../../process/exec.js";

/** As `git describe`; null outside of a git checkout. */
export async function sourceRevision(): Promise<string | null> {
  const { stdout, exitCode } = await tryExec("git", ["describe", "--always", "--dirty"], { cwd: ROOT });
  return exitCode === 0 ? stdout.trim() : null;
}
