/** Writes a report: one page that needs nothing else, the plots as files beside it, and the raw data. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { tryExec } from "../../../process/exec.js";
import type { Comparison } from "../compare.js";
import type { SuiteResult } from "../result.js";
import { reportPage } from "./page.js";
import { casePlot } from "./plot.js";

/** @returns path of the page */
export async function writeReport(
  directory: string,
  result: SuiteResult,
  comparison: Comparison | null,
): Promise<string> {
  mkdirSync(directory, { recursive: true });
  const page = join(directory, "index.html");
  writeFileSync(join(directory, "result.json"), `${JSON.stringify(result, null, 1)}\n`);
  if (comparison) writeFileSync(join(directory, "comparison.json"), `${JSON.stringify(comparison, null, 1)}\n`);
  for (const one of result.cases) {
    const plot = join(directory, `${one.scenario}.${one.case}`);
    writeFileSync(`${plot}.svg`, casePlot(one));
    // For where SVG is not shown; without the converter there is only SVG.
    await tryExec("rsvg-convert", ["--zoom", "2", "--output", `${plot}.png`, `${plot}.svg`]);
  }
  writeFileSync(page, reportPage(result, comparison));
  return page;
}
