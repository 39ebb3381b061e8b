import { mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect, it } from "vitest";
import { compareResults } from "../compare.js";
import { parseResult } from "../result.js";
import { resultOf } from "../result-fixture.js";
import { casePlot } from "./plot.js";
import { writeReport } from "./write.js";

const RESULT = resultOf({
  "crr.16-clients": { host: [100, 110, 90], "slimfast-preload": [92, 93, 94] },
  "connect.1-client": { host: [30, 31, 32], "slimfast-preload": [33, 34, 35] },
});

it("the page stands alone, with the raw data and the plots beside it", async () => {
  const directory = mkdtempSync(join(tmpdir(), "slimfast-report-"));
  try {
    const page = readFileSync(await writeReport(directory, RESULT, compareResults(RESULT, RESULT)), "utf8");
    expect(readdirSync(directory)).toEqual(
      expect.arrayContaining([
        "comparison.json",
        "connect.1-client.svg",
        "crr.16-clients.svg",
        "index.html",
        "result.json",
      ]),
    );
    expect(parseResult(readFileSync(join(directory, "result.json"), "utf8"), "result.json")).toEqual(RESULT);
    // Nothing is loaded from anywhere, and names cannot break out of their place.
    expect(page).not.toMatch(/(?:src|href)="(?!result\.json")/);
    expect(page).toContain("A CPU &lt;fast&gt;");
    expect(page.match(/<svg /g)).toHaveLength(2);
    expect(page).toContain("no change");
  } finally {
    rmSync(directory, { recursive: true, force: true });
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
