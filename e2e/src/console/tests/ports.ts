/** Port reservations: reserve, conflict, extend, release, one and many, by hand and by the commands that are shown. */
import { readFileSync } from "node:fs";
import type { Page } from "@playwright/test";
import { describe, expect, it } from "vitest";
import type { Site } from "../site.js";
import { runShown } from "./shown-command.js";

const HOSTILE = "<script>globalThis.stolen = 1</script>";

export function portsTests(site: () => Site): void {
  const dialogOf = (page: Page) => page.getByRole("dialog");
  const rowOf = (page: Page, name: string) => page.getByRole("row").filter({ hasText: name });
  const fill = async (page: Page, name: string, ports: string): Promise<void> => {
    await page.getByRole("button", { name: "Reserve ports" }).click();
    await dialogOf(page).getByLabel("Name").fill(name);
    await dialogOf(page).getByLabel("Ports", { exact: true }).fill(ports);
  };
  const submit = (page: Page) => dialogOf(page).getByRole("button", { name: "Reserve", exact: true }).click();

  describe("port reservations", () => {
    it("are made, are in the way of others with their owner named and a free block proposed, and count down", async () => {
      const page = await site().pageOf("operator", "ports");
      await fill(page, "backup", "9000-9003");
      await dialogOf(page).getByLabel("What for").fill(HOSTILE);
      await dialogOf(page).getByLabel("Lease").fill("30m");
      await submit(page);
      const row = rowOf(page, "backup").filter({ hasText: "9000–9003" });
      // Shown as it is written.
      await row.getByText(HOSTILE).waitFor();
      expect(await page.evaluate("globalThis.stolen")).toBeUndefined();

      const left = row.locator("time");
      expect(await left.textContent()).toMatch(/^(29|30) min \d+ s left$/);
      const before = await left.textContent();
      await expect.poll(() => left.textContent(), { timeout: 10_000 }).not.toBe(before);
      expect(await left.getAttribute("title")).toMatch(/^ends \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);

      await fill(page, "other", "9002+2");
      // Known before it is sent, and said by the controller, too, if it is.
      await dialogOf(page)
        .getByText(/Taken by reservation\/backup/)
        .waitFor();
      await submit(page);
      await dialogOf(page)
        .getByText(/Taken by reservation\/backup/)
        .waitFor();
      await dialogOf(page)
        .getByRole("button", { name: /^Use 9004 instead, which is free$/ })
        .click();
      await submit(page);
      await rowOf(page, "other").filter({ hasText: "9004–9005" }).waitFor();

      // What others do is seen without a reload.
      await site().cluster.cli.json("port", "release", "other");
      await rowOf(page, "other").waitFor({ state: "detached" });
      await site().cluster.cli.json("port", "release", "backup");
    });

    it("are changed and extended, with the command that does the same", async () => {
      const page = await site().pageOf("operator", "ports");
      await fill(page, "lease", "9100");
      await dialogOf(page).getByLabel("Lease").fill("20m");
      // The command that is shown does what the button would have done.
      const command = (await dialogOf(page).getByTestId("cli").textContent()) ?? "";
      await runShown(site().cluster, command);
      await dialogOf(page).getByRole("button", { name: "Cancel" }).click();
      const row = rowOf(page, "lease").filter({ hasText: "9100" });
      await row.getByText(/^19 min \d+ s left$/).waitFor();

      await row.getByRole("button", { name: "Extend lease" }).click();
      await dialogOf(page).getByLabel("Lease from now on").fill("2h");
      expect(await dialogOf(page).getByTestId("cli").textContent()).toBe("slimfast port extend lease --lease 2h");
      await dialogOf(page).getByRole("button", { name: "Extend", exact: true }).click();
      await row.getByText(/^1 h 59 min left$/).waitFor();

      await row.getByRole("button", { name: "Change lease" }).click();
      await dialogOf(page).getByLabel("Ports", { exact: true }).fill("9100-9109");
      expect(await dialogOf(page).getByTestId("cli").textContent()).toMatch(
        /^slimfast port release lease && slimfast port reserve lease --node \S+node-1 --ports 9100-9109$/,
      );
      await dialogOf(page).getByRole("button", { name: "Change", exact: true }).click();
      await row.getByText("9100–9109").waitFor();
      await site().cluster.cli.json("port", "release", "lease");
    });

    it("are reserved on several nodes, found, exported, and released together, after saying what that means", async () => {
      const page = await site().pageOf("operator", "ports");
      await fill(page, "bulk", "+10");
      for (const box of await dialogOf(page).getByRole("checkbox").all()) await box.check();
      await submit(page);
      await rowOf(page, "bulk").nth(1).waitFor();
      await page.getByLabel("Filter").fill("bulk");
      await expect.poll(() => page.getByRole("row").count()).toBe(3);
      expect(new URL(page.url()).searchParams.get("q")).toBe("bulk");

      const [csv] = await Promise.all([
        page.waitForEvent("download"),
        page.getByRole("button", { name: "Export as CSV" }).click(),
      ]);
      const lines = readFileSync(await csv.path(), "utf8")
        .trim()
        .split("\r\n");
      expect(lines[0]).toBe("node,first,count,purpose,owner,name,expire_time,description");
      expect(lines.slice(1).map((line) => line.split(",").slice(1, 4).join())).toEqual(
        expect.arrayContaining(["20000,10,static"]),
      );
      expect(lines).toHaveLength(3);

      await page.getByLabel(/^Choose all 2 static ones/).check();
      await page.getByRole("button", { name: "Extend 2" }).click();
      await dialogOf(page).getByLabel("Lease from now on").fill("3h");
      await runShown(site().cluster, (await dialogOf(page).getByTestId("cli").textContent()) ?? "");
      await expect.poll(() => page.getByText(/^2 h 59 min left$/).count()).toBe(2);
      await dialogOf(page).getByRole("button", { name: "Cancel" }).click();
      await page.getByRole("button", { name: "Release 2" }).click();
      await dialogOf(page).getByText("Anybody may take these ports").waitFor();
      expect((await dialogOf(page).getByTestId("cli").textContent())?.split("\n")).toHaveLength(2);
      await dialogOf(page).getByRole("button", { name: "Release" }).click();
      await page.getByText("Nothing is reserved that fits this filter").waitFor();
    });

    it("are drawn as a strip for each node, with front ports, published and static ones", async () => {
      const published = site().fresh("published");
      const server = ["python3", "-m", "http.server", "80"];
      const program = await site().cluster.start({ node: "node-1", name: published, publish: ["9700:80"] }, server);
      await site().cluster.cli.json(
        ...["port", "reserve", published, "--node", `${site().cluster.tag}node-1`, "--ports", "9800-9899"],
      );
      const page = await site().pageOf("viewer", "ports");
      const strips = page.getByRole("img", { name: /of 65535 ports are taken/ });
      await strips.nth(1).waitFor();
      expect(await strips.count()).toBe(2);
      const title = await strips.first().locator("rect.front title").textContent();
      expect(title).toMatch(/^7000–7015: node\//);
      await expect
        .poll(() => strips.first().locator("rect.published title").textContent())
        .toBe(`9700: endpoint/default/${published}`);
      expect(await strips.first().locator("rect.static title").allTextContents()).toContain(
        `9800–9899: reservation/${published}`,
      );
      await rowOf(page, `endpoint default/${published}`).getByText("with its owner").waitFor();
      await site().cluster.cli.json("port", "release", published);
      await program.stop();
      await rowOf(page, published).first().waitFor({ state: "detached" });
    });
  });
}
