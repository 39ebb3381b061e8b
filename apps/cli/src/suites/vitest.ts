/** Runs vitest and reads its JSON report. */
import { readFileSync } from "node:fs";
import { relative } from "node:path";
import { ROOT } from "../paths.js";
import { type Failure, failedReport, type Report } from "./result.js";
import { lastLines, runTool, type Surroundings, scratchFile } from "./tool.js";

/** The part of vitest's report (which is jest's format) that is read. */
interface VitestReport {
  readonly testResults: readonly {
    readonly name: string;
    readonly status: string;
    readonly message?: string;
    readonly assertionResults: readonly {
      readonly fullName: string;
      readonly status: string;
      readonly failureMessages?: readonly string[] | null;
    }[];
  }[];
}

/**
 * How often a failed test is tried again. These tests share a machine with whatever else runs on it; a failure that does
 * not repeat is reported as flaky, with its message, and does not stop a release.
 */
const RETRIES = 1;

export async function runVitest(logName: string, args: readonly string[], surroundings: Surroundings): Promise<Report> {
  const reportFile = scratchFile(`${logName}.json`);
  const { exitCode, output } = await runTool(
    logName,
    "node_modules/.bin/vitest",
    [
      "run",
      "--passWithNoTests",
      `--retry=${RETRIES}`,
      "--reporter=default",
      "--reporter=json",
      `--outputFile.json=${reportFile}`,
      ...args,
    ],
    surroundings,
  );
  let text: string;
  try {
    text = readFileSync(reportFile, "utf8");
  } catch {
    return failedReport(`vitest ${args.join(" ")}`, lastLines(output));
  }
  const report = readVitestReport(text);
  if (exitCode !== 0 && report.failed === 0) {
    // An unhandled rejection outside of any test, for example.
    return { ...report, failed: 1, failures: [{ test: `vitest ${args.join(" ")}`.trim(), detail: lastLines(output) }] };
  }
  return report;
}

/** @param text vitest's JSON report */
export function readVitestReport(text: string): Report {
  const { testResults } = JSON.parse(text) as VitestReport;
  let passed = 0;
  let skipped = 0;
  const failures: Failure[] = [];
  const flaky: Failure[] = [];
  for (const file of testResults) {
    const fileName = relative(ROOT, file.name);
    for (const test of file.assertionResults) {
      const name = `${fileName}: ${test.fullName}`;
      // Messages of earlier attempts stay in the report of a test that passed in the end.
      const message = test.failureMessages?.[0];
      if (test.status === "passed") {
        passed += 1;
        if (message !== undefined) flaky.push({ test: name, detail: message });
      } else if (test.status === "failed") failures.push({ test: name, detail: message ?? "" });
      else skipped += 1;
    }
    // A file that could not be loaded has no tests to show for it, and must not count as nothing; neither must what fails
    // after the tests, whatever has become of them.
    const hasFailedTest = file.assertionResults.some((test) => test.status === "failed");
    const { message = "" } = file;
    if (message !== "" || (file.status === "failed" && !hasFailedTest))
      failures.push({ test: fileName, detail: message });
  }
  return { passed, failed: failures.length, skipped, failures, flaky };
}
