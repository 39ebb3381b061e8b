/** What the page of live connections says of its tail, and a way to fill it. */
import type { Page } from "@playwright/test";
import { until } from "../fixture/until.js";
import type { Reporter } from "./reporter.js";

const EVENTS_PER_REQUEST = 2_000;
/** Less than what waits for a reader at most before events are dropped. */
const AHEAD = 12_000;

export async function rowsOf(page: Page): Promise<number> {
  const text = await page.getByTestId("tail-count").textContent();
  return Number(text?.match(/of ([\d,]+)/)?.[1]?.replaceAll(",", "") ?? 0);
}

/** As fast as the page takes them; nothing is under way any more when it returns. */
export async function fillTail(page: Page, reporter: Reporter, rows: number): Promise<void> {
  const before = reporter.reported;
  const had = await rowsOf(page);
  await until(
    async () => {
      const shown = await rowsOf(page);
      while (reporter.waiting < 3 && reporter.reported - before < shown - had + AHEAD) {
        reporter.report(EVENTS_PER_REQUEST);
      }
      return shown >= rows;
    },
    `${rows} rows`,
    240_000,
  );
  reporter.report(1, { endpoint: "last-of-the-filling" });
  const newest = page.getByRole("region", { name: "Connections" }).getByRole("button").first();
  await newest.filter({ hasText: "last-of-the-filling" }).waitFor();
}
