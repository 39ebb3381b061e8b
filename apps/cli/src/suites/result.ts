/** What a test suite gives back, and how results are summed up. */

export interface Failure {
  /** Name of the test, with its file or package. */
  readonly test: string;
  /** Why it failed: message or end of the output. */
  readonly detail: string;
}

export interface SuiteResult {
  readonly suite: string;
  readonly passed: number;
  readonly failed: number;
  /** Not run, by the test's own decision; always shown, so that nothing is skipped silently. */
  readonly skipped: number;
  readonly failures: readonly Failure[];
  /** Failed first and passed when tried again: among the passed ones, and always shown, with what they said first. */
  readonly flaky: readonly Failure[];
  readonly durationMs: number;
}

/** What one tool of a suite (vitest, cargo, nx) reports. */
export type Report = Pick<SuiteResult, "passed" | "failed" | "skipped" | "failures" | "flaky">;

export function mergeReports(reports: readonly Report[]): Report {
  return {
    passed: reports.reduce((sum, report) => sum + report.passed, 0),
    failed: reports.reduce((sum, report) => sum + report.failed, 0),
    skipped: reports.reduce((sum, report) => sum + report.skipped, 0),
    failures: reports.flatMap((report) => report.failures),
    flaky: reports.flatMap((report) => report.flaky),
  };
}

/** A tool that did not get as far as running tests. */
export function failedReport(test: string, detail: string): Report {
  return { passed: 0, failed: 1, skipped: 0, failures: [{ test, detail }], flaky: [] };
}

/** The last line of `slimfast test`. */
export function summaryLine(results: readonly Report[]): string {
  const { passed, failed } = mergeReports(results);
  return `${passed} passed, ${failed} failed`;
}
