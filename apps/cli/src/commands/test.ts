/** `slimfast test`. */
import { CliError, EXIT } from "../exit-codes.js";
import { watchInterrupts } from "../interrupts.js";
import { printJson, printLine } from "../output.js";
import { sayProgress } from "../progress.js";
import { defaultLanes, runSuites } from "../suites/lanes.js";
import { type Failure, type SuiteResult, summaryLine } from "../suites/result.js";
import { SUITES, type Suite } from "../suites/suites.js";
import { trySandbox } from "../suites/tool.js";

const DETAIL_LINES = 40;

export async function test(
  names: readonly string[],
  options: { readonly list?: boolean; readonly json?: boolean; readonly full?: boolean; readonly jobs?: string },
): Promise<void> {
  if (options.list) {
    const width = Math.max(...SUITES.map(({ name }) => name.length));
    if (options.json) printJson(SUITES.map(({ name, description, needsRoot }) => ({ name, description, needsRoot })));
    else for (const { name, description } of SUITES) printLine(`${name.padEnd(width)}  ${description}`);
    return;
  }
  const suites = selectSuites(names);
  const lanes = options.jobs === undefined ? defaultLanes() : readJobs(options.jobs);
  // The tests run in processes of their tools.
  process.env["SLIMFAST_TEST_FULL"] = options.full ? "1" : "0";
  const watch = watchInterrupts();
  const results = await runSuites(suites, {
    lanes,
    sandboxes: suites.some(({ needsRoot }) => needsRoot) && (await canSandbox(watch.signal)),
    signal: watch.signal,
    onStart: ({ name, description }) => {
      if (!options.json) sayProgress(`testing ${name}: ${description}`);
    },
    onEnd: (result) => {
      if (!options.json) printResult(result);
    },
  });
  const failed = results.reduce((sum, result) => sum + result.failed, 0);
  if (options.json) printJson({ ok: failed === 0 && !watch.signal.aborted, suites: results });
  else printLine(summaryLine(results));
  if (failed > 0) process.exitCode = EXIT.failed;
  if (watch.signal.aborted) process.exitCode = EXIT.interrupted;
  watch.close();
}

function readJobs(text: string): number {
  if (!/^[1-9]\d?$/.test(text)) {
    throw new CliError("usage", `--jobs ${text} is no number of jobs`, { remedy: "give a number from 1 to 99" });
  }
  return Number(text);
}

/** Not everywhere: containers may lack the right to mount. The suites run on the machine itself then, one after the other. */
async function canSandbox(signal: AbortSignal): Promise<boolean> {
  if (process.geteuid?.() !== 0) return false;
  const why = await trySandbox(signal);
  if (why !== null) sayProgress(`no sandboxes here, so suites with clusters run one after the other: ${why}`);
  return why === null;
}

function selectSuites(names: readonly string[]): readonly Suite[] {
  const unknown = names.find((name) => !SUITES.some((suite) => suite.name === name));
  if (unknown !== undefined) {
    throw new CliError("usage", `there is no suite ${unknown}`, {
      remedy: `the suites are: ${SUITES.map((suite) => suite.name).join(", ")}`,
    });
  }
  return names.length === 0 ? SUITES : SUITES.filter((suite) => names.includes(suite.name));
}

function printFailure(verdict: string, { test: name, detail }: Failure): void {
  printLine(`${verdict} ${name}`);
  const lines = detail.split("\n");
  if (lines.length > DETAIL_LINES) printLine("    ... (all of it is in .slimfast/logs)");
  for (const line of lines.slice(-DETAIL_LINES)) printLine(`    ${line}`);
}

function printResult(result: SuiteResult): void {
  for (const failure of result.failures) printFailure("FAILED", failure);
  for (const failure of result.flaky) printFailure("FLAKY (failed, then passed when tried again)", failure);
  const skipped = result.skipped > 0 ? `, ${result.skipped} skipped` : "";
  const flaky = result.flaky.length > 0 ? `, ${result.flaky.length} flaky` : "";
  const seconds = Math.round(result.durationMs / 1_000);
  printLine(`${result.suite}: ${result.passed} passed, ${result.failed} failed${skipped}${flaky} (${seconds} s)`);
}
