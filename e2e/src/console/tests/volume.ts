/** Live connections in masses: the page keeps 100,000, draws those in sight, counts what it misses, and can be held. */
import type { Page } from "@playwright/test";
import { describe, expect, it } from "vitest";
import { Reporter } from "../reporter.js";
import type { Site } from "../site.js";
import { fillTail, rowsOf } from "../tail-page.js";

const ROWS = 100_000;
/** As many as fit the screen, and some beyond. */
const DRAWN_AT_MOST = 60;
const ROW_HEIGHT = 30;
const HOSTILE = "<script>globalThis.stolen = 1</script>";

export function volumeTests(site: () => Site): void {
  const list = (page: Page) => page.getByRole("region", { name: "Connections" });
  const rows = (page: Page) => list(page).getByRole("button");
  const topOfLast = async (page: Page): Promise<number> =>
    Number(/translateY\((.+)px\)/.exec((await rows(page).last().getAttribute("style")) ?? "")?.[1]);

  describe("100,000 connections", () => {
    it("are kept, drawn where they are in sight, paused and resumed, and those that were dropped are counted", async () => {
      const reporter = await Reporter.of(site().cluster, "load-1");
      try {
        const page = await site().pageOf("viewer", "connections");
        await page.getByTestId("stream-state").getByText("live").waitFor();
        await fillTail(page, reporter, ROWS);
        await page.getByText(/^100,000 of 100,000 \(the last ones\)$/).waitFor();
        expect(await rows(page).count()).toBeLessThan(DRAWN_AT_MOST);

        // The oldest is as near as the newest.
        await page.getByRole("button", { name: "Pause" }).click();
        await page.getByText(/^paused, 0 new$/).waitFor();
        const top = await rows(page).first().textContent();
        await list(page).press("End");
        await expect.poll(() => topOfLast(page)).toBe((ROWS - 1) * ROW_HEIGHT);
        expect(await rows(page).count()).toBeLessThan(DRAWN_AT_MOST);
        await list(page).press("Home");
        await rows(page)
          .filter({ hasText: top ?? "" })
          .first()
          .waitFor();

        // Held: what comes is counted, and nothing moves.
        reporter.report(500, { endpoint: "newcomer" });
        await page.getByText(/^paused, 500 new$/).waitFor();
        expect(await rows(page).first().textContent()).toBe(top);
        await page.getByRole("button", { name: "Resume" }).click();
        await rows(page).first().filter({ hasText: "newcomer" }).waitFor();
        expect(await rowsOf(page)).toBe(ROWS);
        await list(page).press("PageDown");
        await page.getByText(/^held while you read, 0 new$/).waitFor();
        reporter.report(20);
        await page.getByText(/^held while you read, 20 new$/).waitFor();
        await list(page).press("Home");

        const known = Number((await page.getByText(/ dropped$/).textContent())?.replaceAll(/\D/g, ""));
        reporter.report(1, { dropped: 7 });
        await page.getByText(`${(known + 7).toLocaleString("en")} dropped`, { exact: true }).waitFor();
        await page.getByTestId("stream-state").getByText("behind").waitFor();
        await page.getByText("7 events were dropped, since they came too fast").waitFor();

        // Whatever an endpoint is called stays text.
        reporter.report(1, { endpoint: HOSTILE });
        await rows(page).first().filter({ hasText: HOSTILE }).waitFor();
        expect(await page.evaluate("globalThis.stolen")).toBeUndefined();

        await page.getByLabel("endpoint").fill("newcomer");
        await page.getByText(/^500 of 100,000/).waitFor();
        await page.getByRole("button", { name: "Group" }).click();
        await page.getByRole("row").filter({ hasText: "newcomer" }).first().waitFor();
      } finally {
        await reporter.close();
      }
    });
  });
}
