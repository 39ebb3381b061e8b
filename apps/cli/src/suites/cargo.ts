/** Runs `cargo test` and reads what it prints. */
import { type Failure, failedReport, type Report } from "./result.js";
import { lastLines, runTool, type Surroundings } from "./tool.js";

/**
 * Builds the tests where the network is, then runs them, in a sandbox perhaps.
 *
 * @param selection cargo's options that select packages
 */
export async function runCargoTests(
  logName: string,
  selection: readonly string[],
  surroundings: Surroundings,
): Promise<Report> {
  const build = ["test", "--no-run", ...selection];
  const built = await runTool(`${logName}-build`, "cargo", build, { ...surroundings, sandboxed: false });
  if (built.exitCode !== 0) return failedReport(`cargo ${build.join(" ")}`, lastLines(built.output));
  const { exitCode, output } = await runTool(
    logName,
    "cargo",
    // One test binary after the other is cargo's way; --include-ignored, because nothing is to be skipped silently.
    ["test", "--offline", "--no-fail-fast", ...selection, "--", "--include-ignored"],
    surroundings,
  );
  const report = readCargoOutput(output);
  if (exitCode !== 0 && report.failed === 0) {
    return { ...report, failed: 1, failures: failedReport("cargo test", lastLines(output)).failures };
  }
  return report;
}

/**
 * Counts come from the summary of each binary; names of failures from their `---- NAME stdout ----` sections, since a
 * test's own output may be mixed into the line that names it.
 */
export function readCargoOutput(output: string): Report {
  let passed = 0;
  let failed = 0;
  let skipped = 0;
  const failures: Failure[] = [];
  let binary = "";
  let section: { test: string; lines: string[] } | null = null;
  const closeSection = () => {
    if (section) failures.push({ test: section.test, detail: section.lines.join("\n").trim() });
    section = null;
  };
  for (const line of output.split("\n")) {
    const running = /^\s+Running (?:unittests )?(\S+)/.exec(line) ?? /^\s+(Doc-tests \S+)/.exec(line);
    if (running) binary = running[1] ?? "";
    const summary = /^test result: \w+\. (\d+) passed; (\d+) failed; (\d+) ignored;/.exec(line);
    if (summary) {
      passed += Number(summary[1]);
      failed += Number(summary[2]);
      skipped += Number(summary[3]);
    }
    const opening = /^---- (.+) stdout ----$/.exec(line);
    if (opening) {
      closeSection();
      section = { test: `${binary}: ${opening[1]}`, lines: [] };
    } else if (/^failures:$/.test(line) || summary) closeSection();
    else section?.lines.push(line);
  }
  closeSection();
  return { passed, failed, skipped, failures, flaky: [] };
}
