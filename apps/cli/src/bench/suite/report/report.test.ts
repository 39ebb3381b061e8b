import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { compareResults } from "../compare.js";
import { parseResult } from "../result.js";
import { resultOf } from "../result-fixture.js";
import { growingScenarios, growthPlot } from "./growth-plot.js";
import { casePlot } from "./plot.js";
import { writeReport } from "./write.js";

const RESULT = resultOf({
  "crr.16-clients": { host: [100, 110, 90], "slimfast-preload": [92, 93, 94] },
  "connect.1-client": { host: [30, 31, 32], "slimfast-preload": [33, 34, 35] },
  "scale-table.1": { host: [30, 31, 32], "slimfast-preload": [33, 34, 35] },
  "scale-table.1000": { host: [30, 31, 32], "slimfast-preload": [33, 34, 35] },
});
/** Each case, and the scenario that grows. */
const PLOTS = ["connect.1-client", "crr.16-clients", "scale-table", "scale-table.1", "scale-table.1000"];

/** Width and height, of a file that begins as PNG files do. */
function pngSize(file: Buffer): [number, number] {
  expect(file.subarray(0, 8).toString("latin1")).toBe("\x89PNG\r\n\x1a\n");
  expect(file.toString("latin1", 12, 16)).toBe("IHDR");
  return [file.readUInt32BE(16), file.readUInt32BE(20)];
}

it("the page stands alone, with the raw data and the plots beside it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "slimfast-report-"));
  try {
    const page = readFileSync(await writeReport(directory, RESULT, compareResults(RESULT, RESULT)), "utf8");
    const plots = PLOTS.flatMap((name) => [`${name}.png`, `${name}.svg`]);
    expect(readdirSync(directory).sort()).toEqual(["comparison.json", "index.html", "result.json", ...plots].sort());
    for (const name of PLOTS) {
      const svg = readFileSync(join(directory, `${name}.svg`), "utf8");
      const [, width, height] =
        /^<svg xmlns="http:\/\/www.w3.org\/2000\/svg" .* width="(\d+)" height="(\d+)"/.exec(svg) ?? [];
      // Whoever made this has parsed that.
      const png = pngSize(readFileSync(join(directory, `${name}.png`)));
      expect(png, name).toEqual([2 * Number(width), 2 * Number(height)]);
    }
    expect(parseResult(readFileSync(join(directory, "result.json"), "utf8"), "result.json")).toEqual(RESULT);
    // Nothing is loaded from anywhere, and names cannot break out of their place.
    expect(page).not.toMatch(/(?:src|href)="(?!result\.json")|url\(|@import|<(?:script|link|iframe|object|img)\b/);
    expect(page).toContain("A CPU &lt;fast&gt;");
    expect(page.match(/<svg /g)).toHaveLength(PLOTS.length);
    expect(page).toContain("no change");
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});

it("a line goes from size to size", () => {
  const [scenario] = growingScenarios(RESULT.cases);
  expect(scenario?.cases.map(({ size }) => size)).toEqual([1, 1_000]);
  const plot = growthPlot("scale-table", scenario?.cases ?? []);
  expect(plot.match(/<circle /g)).toHaveLength(12);
  const lines = [...plot.matchAll(/<polyline points="([\d.]+),([\d.]+) ([\d.]+),([\d.]+)"/g)];
  expect(lines).toHaveLength(2);
  for (const [, fromX, fromY, toX, toY] of lines) {
    expect(fromY).toBe(toY);
    expect(Number(toX)).toBeGreaterThan(Number(fromX));
  }
});

it("a bar is as long as its median, and every round is a dot", () => {
  const [one] = RESULT.cases;
  if (!one) throw new Error("no case");
  const plot = casePlot(one);
  expect(plot.match(/<circle /g)).toHaveLength(6);
  const widths = [...plot.matchAll(/<rect x="130" y="\d+" width="([\d.]+)"/g)].map(([, width]) => Number(width));
  expect(widths).toHaveLength(2);
  expect((widths[1] ?? 0) / (widths[0] ?? 1)).toBeCloseTo(0.93, 2);
});
