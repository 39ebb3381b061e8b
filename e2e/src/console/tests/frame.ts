/** What is around every page: keyboard, command palette, links into views, themes, the sign of the streams, access for all. */
import { AxeBuilder } from "@axe-core/playwright";
import type { Page } from "@playwright/test";
import { describe, expect, it } from "vitest";
import { PAGES, type Site } from "../site.js";
import { Path } from "./path.js";

const STANDARD = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"];
const RULES_OF_COLOUR = ["color-contrast", "link-in-text-block"];

export function frameTests(site: () => Site): void {
  const heading = (page: Page, name: string) => page.getByRole("heading", { level: 1, name });

  describe("the keyboard", () => {
    it("leads to each page, to the filter, to the list of keys", async () => {
      const page = await site().pageOf("admin");
      const keys = ["o", "p", "c", "m", "n", "w", "e", "l", "a", "t"];
      for (const [index, [, title]] of PAGES.entries()) {
        await page.keyboard.press("g");
        await page.keyboard.press(keys[index] ?? "");
        await heading(page, title).waitFor();
      }
      await page.keyboard.press("/");
      // What is typed is the filter's, and no command.
      await page.keyboard.type("gp?");
      expect(await page.getByLabel("Filter").inputValue()).toBe("gp?");
      await page.keyboard.press("Escape");
      await page.goto(`${site().url}nodes`);
      // Times are relative, and exact to the pointer.
      const joined = page.getByRole("row").filter({ hasText: "node-1" }).locator("time").last();
      expect(await joined.textContent()).toMatch(/ ago$/);
      expect(await joined.getAttribute("title")).toMatch(/^\d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC$/);
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keyboard" }).getByText("Port reservations").waitFor();
      await page.keyboard.press("Escape");
      await page.getByRole("dialog").waitFor({ state: "detached" });
    });

    it("finds pages, actions and things by name in the command palette", async () => {
      const page = await site().pageOf("admin");
      await page.keyboard.press("Control+k");
      await page.getByRole("combobox", { name: "What to do" }).fill("reserve");
      await page.keyboard.press("Enter");
      await page.getByRole("dialog", { name: "Reserve ports" }).waitFor();
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+k");
      await page.getByRole("combobox", { name: "What to do" }).fill("endpoint web");
      await page.getByRole("option", { name: /^web / }).waitFor();
      await page.keyboard.press("ArrowDown");
      await page.keyboard.press("ArrowUp");
      await page.keyboard.press("Enter");
      await heading(page, "Endpoints").waitFor();
      expect(new URL(page.url()).search).toBe("?q=web");
      await page.getByRole("row").filter({ hasText: site().web.address }).waitFor();
    });
  });

  describe("a link", () => {
    it("leads into a view with its filter, order and form, and whatever is in it stays text", async () => {
      const hostile = "<script>globalThis.stolen = 1</script>";
      const page = await site().pageOf(
        "viewer",
        `endpoints?order=-Name&network=default&q=${encodeURIComponent(hostile)}`,
      );
      await page.getByText("No endpoint fits this filter").waitFor();
      expect(await page.getByLabel("Filter").inputValue()).toBe(hostile);
      expect(await page.evaluate("globalThis.stolen")).toBeUndefined();
      await page.getByLabel("Filter").fill("");
      const column = page.getByRole("columnheader", { name: "Name" });
      await column.waitFor();
      expect(await column.getAttribute("aria-sort")).toBe("descending");
      expect(await page.getByLabel("Network").inputValue()).toBe("default");
      await page.goto(`${site().url}nowhere`);
      await page.getByText("There is no such page").waitFor();
      await page.goto(`${site().url}connections?id=node-1%2F1`);
      await page.getByRole("dialog").getByText("The controller does not know it any more").waitFor();
    });

    it("keeps the theme that was chosen, and follows the system's until then", async () => {
      const page = await site().pageOf("viewer", "nodes");
      const theme = () => page.evaluate("document.documentElement.dataset.theme");
      await page.emulateMedia({ colorScheme: "dark" });
      await expect.poll(theme).toBe("dark");
      await page.emulateMedia({ colorScheme: "light" });
      await expect.poll(theme).toBe("light");
      await page.getByRole("button", { name: "Dark theme" }).click();
      await page.reload();
      await heading(page, "Nodes").waitFor();
      expect(await theme()).toBe("dark");
    });
  });

  describe("the streams", () => {
    it("are seen to be lost when the way to the controller is cut, and come back with what happened meanwhile", async () => {
      const path = await Path.to(site().url);
      try {
        const page = await site().pageOf("operator", "connections", { url: path.url });
        const sign = page.getByTestId("stream-state");
        await sign.getByText("live").waitFor();
        await path.cut();
        await sign.getByText("lost").waitFor();
        await page
          .getByRole("alert")
          .getByText(/What you see may be old/)
          .waitFor();
        await site().curl("meanwhile", `http://${site().web.address}/`);
        await site().cluster.cli.json(
          "port",
          "reserve",
          "meanwhile",
          "--node",
          `${site().cluster.tag}node-1`,
          "--ports",
          "9500",
        );
        await path.restore();
        // The streams may come back by themselves before the button is pressed, which goes then.
        const tried = page
          .getByRole("button", { name: "Try now" })
          .click()
          .catch(() => undefined);
        await Promise.race([tried, sign.getByText("live").waitFor()]);
        await sign.getByText("live").waitFor();
        await page.getByRole("region", { name: "Connections" }).getByText("meanwhile").first().waitFor();
        await page.getByRole("navigation").getByRole("link", { name: "Port reservations" }).click();
        await page.getByRole("row").filter({ hasText: "meanwhile" }).waitFor();
        expect(await page.getByRole("alert").count()).toBe(0);
      } finally {
        await path.close();
        await site().cluster.cli.run(["port", "release", "meanwhile"]);
      }
    });

    it("are seen to be lost when the controller only falls silent", async () => {
      const path = await Path.to(site().url);
      try {
        const page = await site().pageOf("viewer", "", { url: path.url });
        await page.getByRole("link", { name: /^Nodes connected/ }).waitFor();
        await page.getByTestId("stream-state").getByText("live").waitFor();
        const asked: string[] = [];
        page.on("request", (request) => asked.push(new URL(request.url()).pathname));
        path.freeze();
        await page
          .getByRole("alert")
          .getByText(/overview is lost.*silent for too long/)
          .waitFor();
        // Nothing was asked for again and again meanwhile: what is new comes by streams, which are opened anew now.
        expect(asked.filter((each) => !/\/(Watch|Tail)/.test(each))).toEqual([]);
        path.thaw();
        await page.getByTestId("stream-state").getByText("live").waitFor();
      } finally {
        await path.close();
      }
    });
  });

  describe("access for all", () => {
    const check = async (page: Page, what: string, rules?: readonly string[]): Promise<void> => {
      // In one go: what is looked at comes from nowhere else, and has no frames. Other results than violations cost time.
      const axe = new AxeBuilder({ page }).setLegacyMode().options({
        runOnly: rules ? { type: "rule", values: [...rules] } : { type: "tag", values: STANDARD },
        resultTypes: ["violations"],
      });
      const { violations } = await axe.analyze();
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
      expect(found, what).toEqual([]);
    };
    const inEveryForm = async (page: Page, what: string): Promise<void> => {
      for (const width of [1280, 400]) {
        await page.setViewportSize({ width, height: 800 });
        await page.emulateMedia({ colorScheme: "light" });
        await check(page, `${what}, light, ${width} px`);
        // The themes differ in colours alone.
        await page.emulateMedia({ colorScheme: "dark" });
        await check(page, `${what}, dark, ${width} px`, RULES_OF_COLOUR);
        const wider = await page.evaluate(
          "document.documentElement.scrollWidth - document.documentElement.clientWidth",
        );
        expect(wider, `${what} is as wide as ${width} px`).toBeLessThanOrEqual(0);
      }
      await page.setViewportSize({ width: 1280, height: 800 });
    };

    it.each(PAGES)(
      "/%s (%s) has no violation of WCAG 2.2 AA, in either theme, wide or narrow, and is not wider than the screen",
      async (path, title) => {
        const page = await site().pageOf("admin", path);
        await heading(page, title).waitFor();
        await page.getByTestId("stream-state").getByText("live").waitFor();
        await inEveryForm(page, `/${path}`);
      },
    );

    it("no form has one, nor a drawer, the palette, the list of keys, or the login", async () => {
      await site().curl("reader", `http://${site().web.address}/`);
      const page = await site().pageOf("operator", "ports?form=new");
      await page.getByRole("dialog").getByLabel("Ports", { exact: true }).fill("7000");
      await page.getByRole("dialog").getByRole("alert").waitFor();
      await inEveryForm(page, "reserving ports");
      await page.goto(`${site().url}connections?endpoint=reader`);
      await page.getByRole("region", { name: "Connections" }).getByRole("button").first().click();
      await page.getByRole("dialog").waitFor();
      await inEveryForm(page, "the life of a connection");
      await page.keyboard.press("Escape");
      await page.keyboard.press("Control+k");
      await page.getByRole("listbox").getByRole("option").first().waitFor();
      await check(page, "the palette");
      await page.keyboard.press("Escape");
      await page.keyboard.press("?");
      await page.getByRole("dialog", { name: "Keyboard" }).waitFor();
      await check(page, "the list of keys");
      const visitor = await site().visitor();
      await visitor.goto(site().url);
      await visitor.getByLabel("Token").waitFor();
      await inEveryForm(visitor, "the login");
    });
  });
}
