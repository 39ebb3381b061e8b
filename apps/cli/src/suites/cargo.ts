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
  // One test binary after the other is cargo's way; --include-ignored, because nothing is to be skipped silently.
  const args = ["test", "--offline", "--no-fail-fast", ...selection, "--", "--include-ignored"];
  const { exitCode, output } = await runTool(logName, "cargo", args, surroundings);
  const report = readCargoOutput(output);
  if (exitCode !== 0 && report.failed === 0) {
    return { ...report, failed: 1, failures: failedReport("cargo test", lastLines(output)).failures };
  }
  // Where a binary ended without a word about its tests, or the run was ended, there is nothing to try again.
  if (report.failed === 0 || report.failures.length !== report.failed || surroundings.signal.aborted) return report;
  const names = report.failures.map(({ test }) => nameOf(test));
  const again = await runTool(`${logName}-again`, "cargo", [...args, "--exact", ...names], surroundings);
  const secondReport = readCargoOutput(again.output);
  // A binary that crashed names none of its tests.
  if (again.exitCode !== 0 && secondReport.failed === 0) return report;
  return settle(report, secondReport);
}

/** `BINARY: NAME` is how a test is reported. */
function nameOf(test: string): string {
  return test.slice(test.indexOf(": ") + 2);
}

/**
 * As vitest does (RETRIES): what failed and passes when tried again counts as passed, and is shown as flaky.
 *
 * @param again what the failed tests alone gave: all of them, and others of the same names perhaps, passed or failed
 */
export function settle(first: Report, again: Report): Report {
  const failsAgain = ({ test }: Failure) => again.failures.some((failure) => failure.test === test);
  // A binary that crashed beside one that failed has passed fewer tests than were asked for.
  if (again.passed + again.failures.length < first.failures.length) return first;
  const flaky = first.failures.filter((failure) => !failsAgain(failure));
  return {
    ...first,
    passed: first.passed + flaky.length,
    failed: first.failed - flaky.length,
    failures: first.failures.filter(failsAgain),
    flaky,
  };
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
