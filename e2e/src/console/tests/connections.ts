/** Live connections, as nginx and curl make them: seen, filtered, opened, cut, exported, held; and the map of them. */
import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { describe, expect, it } from "vitest";
import type { Site } from "../site.js";

/** More than socket buffers take at once, so that a limited download lasts as long as a test lets it. */

export function connectionsTests(site: () => Site): void {
  const rows = (page: Page) => page.getByRole("region", { name: "Connections" }).getByRole("button");
  const urlOf = (path = "") => `http://${site().web.address}/${path}`;
  const seen = (page: Page) => page.getByTestId("stream-state").getByText("live").waitFor();
  const search = (page: Page, key: string): string | null => new URL(page.url()).searchParams.get(key);

  describe("live connections", () => {
    it("appear as curl makes them, refused ones too, and are filtered and grouped; the view is in the URL", async () => {
      const buyer = site().fresh("buyer");
      const page = await site().pageOf("viewer", "connections");
      await seen(page);
      await site().curl(buyer, ...Array<string>(5).fill(urlOf()), "-H", "Connection: close");
      await rows(page).filter({ hasText: buyer }).filter({ hasText: "closed" }).first().waitFor();
      await site().curl(buyer, `http://${site().web.address}:81/`);
      await rows(page).filter({ hasText: buyer }).filter({ hasText: "refused" }).first().waitFor();

      await page.getByLabel("endpoint").fill(buyer);
      await page.getByLabel("State").selectOption("refused");
      await expect.poll(() => [search(page, "endpoint"), search(page, "state")]).toEqual([buyer, "refused"]);
      // As the client's node and the server's tell it.
      await expect.poll(() => rows(page).count()).toBe(2);
      // It comes back after a reload, and so does what the page knew.
      await page.reload();
      await rows(page).filter({ hasText: "refused" }).nth(1).waitFor();
      expect(await rows(page).count()).toBe(2);
      expect(await page.getByLabel("endpoint").inputValue()).toBe(buyer);
      await rows(page).first().click();
      await page
        .getByRole("dialog")
        .getByText(/ECONNREFUSED: nobody listens there/)
        .waitFor();
      const cut = page.getByRole("dialog").getByRole("button", { name: "Cut", exact: true });
      expect(await cut.getAttribute("title")).toBe("it needs the role operator, and yours is viewer");
      await page.keyboard.press("Escape");

      await page.getByRole("button", { name: "Clear" }).click();
      await page.getByLabel("port", { exact: true }).fill("80");
      await page.getByRole("button", { name: "Group" }).click();
      const port80 = page.getByRole("cell", { name: "80", exact: true });
      const group = page.getByRole("row").filter({ hasText: buyer }).filter({ hasText: "web" }).filter({ has: port80 });
      await group.waitFor();
      // Both ends of five connections.
      await expect.poll(() => group.getByRole("cell").nth(5).textContent()).toBe("10");
      expect(search(page, "view")).toBe("grouped");
    });

    it("are narrowed by each filter, and values that are there are suggested", async () => {
      const slow = site().fresh("slow");
      const { tag } = site().cluster;
      const command = ["curl", "-s", "-o", "/dev/null", urlOf("slow")];
      const download = await site().cluster.start({ node: "node-1", name: slow, tier: "notify" }, command);
      try {
        const page = await site().pageOf("viewer", `connections?endpoint=${slow}&state=live`);
        await expect.poll(() => rows(page).count()).toBe(2);
        const suggested = async (label: string): Promise<string[]> => {
          const list = await page.getByLabel(label, { exact: true }).getAttribute("list");
          const options = await page.locator(`[id="${list}"] option`).all();
          return Promise.all(options.map(async (option) => (await option.getAttribute("value")) ?? ""));
        };
        expect(await suggested("endpoint")).toEqual(expect.arrayContaining([slow, "web"]));
        expect(await suggested("port")).toContain("80");
        expect(await suggested("node")).toEqual(expect.arrayContaining([`${tag}node-1`, `${tag}node-2`]));
        expect(await suggested("network")).toContain("default");
        for (const [label, fits, count, not] of [
          ["node", `${tag}node-1`, 1, "node-7"],
          ["network", "default", 2, "nowhere"],
          ["port", "80", 2, "81"],
          ["Least age in seconds", "1", 2, "100000"],
          ["Least bytes in a direction", "10", 2, "1000000000"],
        ] as const) {
          await page.getByLabel(label, { exact: true }).fill(fits);
          await expect.poll(() => rows(page).count(), { message: label }).toBe(count);
          await page.getByLabel(label, { exact: true }).fill(not);
          await page.getByText("No connection fits this filter").waitFor();
          await page.getByLabel(label, { exact: true }).fill("");
        }
        for (const [label, fits, count, not] of [
          ["Tier", "notify", 1, "preload"],
          ["Verdict", "allowed", 2, "denied"],
          ["State", "live", 2, "refused"],
        ] as const) {
          await page.getByLabel(label, { exact: true }).selectOption(not);
          await page.getByText("No connection fits this filter").waitFor();
          await page.getByLabel(label, { exact: true }).selectOption(fits);
          await expect.poll(() => rows(page).count(), { message: label }).toBe(count);
          if (label !== "State") await page.getByLabel(label, { exact: true }).selectOption("");
        }
      } finally {
        await download.stop();
      }
    });

    it("show their life, and one that is cut fails for curl", async () => {
      const loader = site().fresh("loader");
      const page = await site().pageOf("operator", `connections?state=live&endpoint=${loader}`);
      await seen(page);
      const download = site().curl(loader, "-o", "/dev/null", urlOf("slow"));
      const row = rows(page).filter({ hasText: "→" });
      await row.click();
      const drawer = page.getByRole("dialog", { name: `${loader} → web` });
      await drawer
        .getByText(/connect\(2\) to [\d.]+:80 was led to front port 70\d\d of .*node-2, where web is/)
        .waitFor();
      await drawer.getByRole("link", { name: /^7000–7015 of .*node-2, for node\// }).waitFor();
      await drawer.getByText("allowed by the default of default").waitFor();
      const levels = drawer.getByRole("table").getByRole("row");
      expect(await levels.nth(1).textContent()).toContain(site().web.address);
      expect(await levels.nth(2).textContent()).toMatch(/:70\d\d$/);
      await drawer.getByText(/^established, \d+ µs after the SYN$/).waitFor();
      // By the stream, while somebody looks.
      await drawer
        .locator(".meter")
        .filter({ hasText: "Received" })
        .getByText(/KiB|MiB/)
        .waitFor();
      await drawer
        .locator(".meter")
        .filter({ hasText: "RTT" })
        .getByText(/µs$|ms$/)
        .waitFor();
      // From the other node the same connection is one that was accepted.
      await drawer.getByRole("button", { name: /node-2 sees it$/ }).click();
      await page
        .getByRole("dialog")
        .getByText(/^SYN: arrived at front port 70\d\d/)
        .waitFor();
      // Back is one step.
      await page.goBack();
      await drawer.getByText(/was led to front port/).waitFor();

      await drawer.getByRole("button", { name: "Cut", exact: true }).click();
      const confirm = page.getByRole("dialog", { name: "Cut this connection?" });
      await confirm
        .getByText(new RegExp(`Both ends, ${loader} on .*node-1 and web on .*node-2, see a reset`))
        .waitFor();
      expect(await confirm.getByTestId("cli").textContent()).toMatch(/^slimfast connection cut \S+node-1\/\d+$/);
      await confirm.getByRole("button", { name: "Cut it" }).click();
      const { exitCode, stderr } = await download;
      // CURLE_RECV_ERROR
      expect(exitCode, stderr).toBe(56);
      await drawer.getByText("closed", { exact: true }).first().waitFor();
      expect(await drawer.getByRole("button", { name: "Cut", exact: true }).getAttribute("title")).toBe("it has ended");
    });

    it("are held while somebody has paused, and counted meanwhile", async () => {
      const pausing = site().fresh("pausing");
      const page = await site().pageOf("viewer", `connections?endpoint=${pausing}`);
      await seen(page);
      await page.getByRole("button", { name: "Pause" }).click();
      await site().curl(pausing, urlOf());
      await page.getByText(/^paused, [1-9]\d* new$/).waitFor();
      expect(await rows(page).count()).toBe(0);
      await page.getByRole("button", { name: "Resume" }).click();
      await rows(page).first().waitFor();
    });

    it("are exported as they are filtered: CSV and NDJSON", async () => {
      const exported = site().fresh("exported");
      await site().curl(exported, urlOf());
      const page = await site().pageOf("viewer", `connections?endpoint=${exported}&state=closed`);
      // As the client's node and the server's see it.
      await expect.poll(() => rows(page).count()).toBe(2);
      const save = async (name: string): Promise<string> => {
        const [file] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
        return readFileSync(await file.path(), "utf8");
      };
      const [header = "", ...lines] = (await save("Export as CSV")).trim().split("\r\n");
      const column = (name: string) => lines.map((line) => line.split(",")[header.split(",").indexOf(name)]);
      expect(column("endpoint").sort()).toEqual([exported, "web"]);
      expect(column("port")).toEqual(["80", "80"]);
      const records = (await save("Export as NDJSON"))
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(records.map(({ connection }) => connection.endpoint).sort()).toEqual([exported, "web"]);
      expect(records.map(({ kind }) => kind)).toEqual(Array(2).fill("CONNECTION_EVENT_KIND_CLOSED"));
    });

    it("are drawn as a map, with the same filter", async () => {
      const walk = `while :; do curl -s -o /dev/null ${urlOf()}; sleep 0.3; done`;
      const name = site().fresh("walker");
      const walker = await site().cluster.start({ node: "node-1", name }, ["sh", "-c", walk]);
      try {
        const page = await site().pageOf("viewer", "map");
        const map = page.getByRole("region", { name: "Map of the traffic" });
        await map.getByText(`default/${name}`).waitFor();
        await map.getByText("default/web").waitFor();
        const edge = page.getByRole("row").filter({ hasText: `default/${name}` });
        await edge.getByRole("cell", { name: /^[1-9]\d*(\.\d)?\/s$/ }).waitFor();
        await map
          .getByText(/^[1-9]\d*(\.\d)?\/s new/)
          .first()
          .waitFor();
        await page.getByLabel("endpoint").fill("nobody-of-that-name");
        await page.getByText("Nobody talks to anybody that fits this filter").waitFor();
        expect(search(page, "endpoint")).toBe("nobody-of-that-name");
        await page.getByRole("button", { name: "Clear" }).click();
        await page.getByLabel("Group by").selectOption("node");
        await page
          .getByRole("row")
          .filter({ hasText: /node-1.*node-2/ })
          .waitFor();
        await site().cluster.cli.json("endpoint", "label", name, "part=walks");
        await page.getByLabel("Group by").selectOption("label");
        await page.getByLabel("Label key").fill("part");
        await page.getByRole("row").filter({ hasText: "walks" }).filter({ hasText: "(no such label)" }).waitFor();
        await page.getByRole("link", { name: "As a list" }).click();
        await page.getByRole("heading", { name: "Live connections" }).waitFor();
      } finally {
        await walker.stop();
      }
    });
  });

  describe("the overview", () => {
    it("tells nodes, rates, setup times, front ports, and what happened lately", async () => {
      const glance = site().fresh("glance");
      const look = `while :; do curl -s -o /dev/null ${urlOf()}; curl -s http://${site().web.address}:82/; sleep 0.2; done`;
      const program = await site().cluster.start({ node: "node-1", name: glance }, ["sh", "-c", look]);
      try {
        const page = await site().pageOf("viewer");
        await page.getByRole("link", { name: /^Nodes connected 2 of 2$/ }).waitFor();
        await page.getByText(`endpoint ${glance} was attached on`).waitFor();
        await page
          .getByRole("region", { name: "Setup times" })
          .getByRole("row", { name: /^(notify|preload) [\d,]+( [\d.]+ (µs|ms)){3}$/ })
          .first()
          .waitFor();
        for (const title of ["Opened", "Refused"]) {
          await page.getByRole("link", { name: new RegExp(`^${title} (0\\.[1-9]|[1-9][\\d.]*)/s$`) }).waitFor();
        }
        await page
          .getByRole("img", { name: /live inbound connections over 16 front ports/ })
          .first()
          .waitFor();
        await page.getByRole("link", { name: new RegExp(`${glance} → web:82 got ECONNREFUSED`) }).click();
        await page.getByRole("dialog", { name: `${glance} → web` }).waitFor();
      } finally {
        await program.stop();
      }
    });
  });
}
