/** Writes a report: one page that needs nothing else, the plots as files beside it, and the raw data. */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { exec } from "../../../process/exec.js";
import type { Comparison } from "../compare.js";
import type { SuiteResult } from "../result.js";
import { growingScenarios, growthPlot } from "./growth-plot.js";
import { reportPage } from "./page.js";
import { casePlot } from "./plot.js";

/** Makes the PNG files, for where SVG is not shown. */
export const REPORT_PROGRAM = "rsvg-convert";

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
  const plots = [
    ...result.cases.map((one) => [`${one.scenario}.${one.case}`, casePlot(one)] as const),
    ...growingScenarios(result.cases).map(({ name, cases }) => [name, growthPlot(name, cases)] as const),
  ];
  for (const [name, svg] of plots) {
    const path = join(directory, name);
    writeFileSync(`${path}.svg`, svg);
    await exec(REPORT_PROGRAM, ["--zoom", "2", "--output", `${path}.png`, `${path}.svg`]);
  }
  writeFileSync(page, reportPage(result, comparison));
  return page;
}
