/** IPv6 in the console: networks of both families and of IPv6 alone, their endpoints, connections and policies. */
import type { Page } from "@playwright/test";
import { describe, expect, it } from "vitest";
import type { Site } from "../site.js";
import { runShown } from "./shown-command.js";

const PREFIX = "10.66.0.0/16";
const PREFIX6 = "fd66::/64";

export function ipv6Tests(site: () => Site): void {
  const dialogOf = (page: Page) => page.getByRole("dialog");
  const rowOf = (page: Page, name: string) => page.getByRole("row").filter({ hasText: name });
  const shown = async (page: Page): Promise<string> => (await dialogOf(page).getByTestId("cli").textContent()) ?? "";

  describe("IPv6", () => {
    it("a network of both families is created, edited, and used; its endpoints and connections show what they have", async () => {
      const { cluster } = site();
      const network = site().fresh("dual");
      const page = await site().pageOf("operator", "networks?form=new");
      await dialogOf(page).getByLabel("Name").fill(network);
      await dialogOf(page).getByLabel("IPv4 prefix").fill(PREFIX);
      await dialogOf(page).getByLabel("IPv6 prefix").fill("fd66::1/64");
      await dialogOf(page).getByRole("button", { name: "Create" }).click();
      await dialogOf(page).getByRole("alert").getByText(/host/).waitFor();
      await dialogOf(page).getByLabel("IPv6 prefix").fill(PREFIX6);
      expect(await shown(page)).toBe(`slimfast network create ${network} --prefix ${PREFIX} --prefix6 ${PREFIX6}`);
      await dialogOf(page).getByRole("button", { name: "Create" }).click();
      const row = rowOf(page, network);
      await row.getByText(`${PREFIX}, ${PREFIX6}`).waitFor();

      await row.getByRole("button", { name: /^Edit/ }).click();
      expect(await dialogOf(page).getByLabel("IPv6 prefix").inputValue()).toBe(PREFIX6);
      expect(await dialogOf(page).getByLabel("IPv6 prefix").isDisabled()).toBe(true);
      await dialogOf(page).getByLabel("Ranges outside").fill("192.0.2.0/24, 2001:db8::/32");
      expect(await shown(page)).toBe(`slimfast network update ${network} --egress 192.0.2.0/24 --egress 2001:db8::/32`);
      await dialogOf(page).getByRole("button", { name: "Save" }).click();
      await row.getByText("192.0.2.0/24, 2001:db8::/32").waitFor();

      const serve = ["python3", "-m", "http.server", "--bind", "::", "80"];
      const six = await cluster.start({ node: "node-2", network, name: "six", ready: { ports: [80] } }, serve);
      try {
        await page.goto(`${site().url}endpoints?network=${network}`);
        const addresses = await rowOf(page, "six")
          .getByText(/^10\.66\.[\d.]+, fd66::/)
          .textContent();
        const address6 = addresses?.split(", ")[1] ?? "";
        await page.getByLabel("Filter").fill(address6);
        await rowOf(page, "six").waitFor();

        await page.goto(`${site().url}policies`);
        await runShown(cluster, `slimfast policy create by-six --network ${network} --action allow --from ${PREFIX6}`);
        await rowOf(page, "by-six").getByText(PREFIX6).waitFor();

        const ask = `while :; do curl -s -o /dev/null 'http://[${address6}]/'; sleep 0.3; done`;
        const asker = await cluster.start({ node: "node-1", network, name: "asker" }, ["sh", "-c", ask]);
        // As somebody may write it, too.
        const written = address6.replace(/[\da-f]+$/, (group) => group.padStart(4, "0")).toUpperCase();
        await page.goto(`${site().url}connections?state=closed&endpoint=${encodeURIComponent(written)}`);
        const connections = page.getByRole("region", { name: "Connections" }).getByRole("button");
        await connections.filter({ hasText: "←" }).first().waitFor();
        await connections.filter({ hasText: "→" }).first().waitFor();
        // What comes meanwhile moves no row.
        await page.getByRole("button", { name: "Pause" }).click();
        await connections.filter({ hasText: "→" }).first().click();
        const drawer = page.getByRole("dialog", { name: "asker → six" });
        await drawer
          .getByText(new RegExp(`connect\\(2\\) to \\[${address6}\\]:80 was led to front port 70\\d\\d of .*node-2`))
          .waitFor();
        const levels = drawer.getByRole("table").getByRole("row");
        expect(await levels.nth(1).textContent()).toMatch(/\[fd66::.*\]:\d+.*\[fd66::.*\]:80$/);
        expect(await levels.nth(2).textContent()).toMatch(/10\.200\.0\.1:\d+10\.200\.0\.2:70\d\d$/);
        await drawer.getByRole("link", { name: "by-six" }).waitFor();

        await page.goto(`${site().url}map?endpoint=${encodeURIComponent(address6)}`);
        await rowOf(page, `${network}/asker`)
          .filter({ hasText: `${network}/six` })
          .waitFor();
        await asker.stop();
      } finally {
        await six.stop();
        await cluster.cli.run(["network", "delete", network]);
      }
    });

    it("a network of IPv6 alone needs no other prefix", async () => {
      const network = site().fresh("six");
      const page = await site().pageOf("operator", "networks?form=new");
      await dialogOf(page).getByLabel("Name").fill(network);
      await dialogOf(page).getByRole("button", { name: "Create" }).click();
      await dialogOf(page).getByRole("alert").waitFor();
      await dialogOf(page).getByLabel("IPv6 prefix").fill("fd67::/64");
      await runShown(site().cluster, await shown(page));
      await dialogOf(page).getByRole("button", { name: "Cancel" }).click();
      await rowOf(page, network).getByText("fd67::/64", { exact: true }).waitFor();
      await site().cluster.cli.json("network", "delete", network);
    });
  });
}
