/**
 * The web console in Debian's chromium, against the real controller and agents of a two-node cluster: logging in, every
 * page in both themes and both widths without an accessibility violation, reserving ports, and a connection's life.
 */
import { AxeBuilder } from "@axe-core/playwright";
import { type Browser, type BrowserContext, chromium, type Page } from "@playwright/test";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Background } from "../fixture/background.js";
import { Cluster } from "../fixture/cluster.js";

const PAGES = ["", "ports", "connections", "map", "nodes", "networks", "endpoints", "policies", "audit", "tokens"];
const PORT = 8080;
const HOSTILE = "<script>alert(1)</script>";

let cluster: Cluster;
let browser: Browser;
let context: BrowserContext;
let page: Page;
let server: Background;
let login: { url: string; token: string };
/** What the pages asked for beyond their own origin, and errors that they did not expect. */
let strange: string[];

beforeAll(async () => {
  cluster = await Cluster.start();
  server = await cluster.start({ node: "node-2", name: "server", ready: { ports: [PORT] } }, [
    "python3",
    "-m",
    "http.server",
    String(PORT),
  ]);
  login = await cluster.cli.json("console");
  browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: ["--no-sandbox"] });
});

afterAll(async () => {
  await browser?.close();
  await cluster?.stop();
});

beforeEach(async () => {
  context = await browser.newContext({ viewport: { width: 1280, height: 800 } });
  page = await context.newPage();
  strange = [];
  page.on("pageerror", (error) => strange.push(error.message));
  page.on("console", (message) => {
    if (/Content Security Policy/i.test(message.text())) strange.push(message.text());
  });
  page.on("request", (request) => {
    const { origin, protocol } = new URL(request.url());
    if (protocol !== "data:" && origin !== new URL(login.url).origin) strange.push(request.url());
  });
});

afterEach(async () => {
  await context.close();
  expect(strange).toEqual([]);
});

async function logIn(): Promise<void> {
  await page.goto(login.url);
  await page.getByLabel("Token").fill(login.token);
  await page.getByRole("button", { name: "Log in" }).click();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
}

describe("logging in", () => {
  it("is refused with a wrong token, and shows nothing", async () => {
    await page.goto(`${login.url}ports`);
    await page.getByLabel("Token").fill("sf_wrong");
    await page.getByRole("button", { name: "Log in" }).click();
    await page.getByRole("alert").waitFor();
    expect(await page.getByRole("heading", { name: "Port reservations" }).count()).toBe(0);
  });

  it("leaves no token where a script could read it", async () => {
    await logIn();
    const readable = await page.evaluate("JSON.stringify([document.cookie, { ...localStorage }, location.href])");
    expect(readable).not.toContain(login.token);
    expect(readable).not.toContain("session");
    const cookies = await context.cookies();
    expect(cookies.map(({ httpOnly, sameSite }) => ({ httpOnly, sameSite }))).toEqual([
      { httpOnly: true, sameSite: "Strict" },
    ]);
  });
});

it.each(["light", "dark"] as const)("every page is accessible, wide and narrow: %s", async (colorScheme) => {
  await page.emulateMedia({ colorScheme });
  await logIn();
  for (const width of [1280, 400]) {
    await page.setViewportSize({ width, height: 800 });
    for (const path of PAGES) {
      await page.goto(`${login.url}${path}`);
      await page.getByRole("heading", { level: 1 }).waitFor();
      const { violations } = await new AxeBuilder({ page })
        .withTags(["wcag2a", "wcag2aa", "wcag21aa", "wcag22aa"])
        .analyze();
      const found = violations.map(({ id, nodes }) => `${id}: ${nodes.map(({ html }) => html).join(" ")}`);
      expect(found, `/${path} at ${width} px`).toEqual([]);
    }
  }
});

it("reserves ports, explains a conflict, proposes what is free, releases", async () => {
  await logIn();
  await page.goto(`${login.url}ports`);
  const dialog = page.getByRole("dialog");
  const reserve = async (name: string, ports: string) => {
    await page.getByRole("button", { name: "Reserve ports" }).click();
    await dialog.getByLabel("Name").fill(name);
    await dialog.getByLabel(/^Ports/).fill(ports);
    await dialog.getByLabel("What for").fill(HOSTILE);
    await dialog.getByRole("button", { name: "Reserve", exact: true }).click();
  };
  await reserve("backup", "9000-9003");
  await page.getByRole("row").filter({ hasText: "9000–9003" }).filter({ hasText: HOSTILE }).waitFor();
  await dialog.waitFor({ state: "detached" });

  await reserve("other", "9002+2");
  await dialog.getByText("Taken by reservation/backup").waitFor();
  await dialog.getByRole("button", { name: /which is free/ }).click();
  await dialog.getByRole("button", { name: "Reserve", exact: true }).click();
  await page.getByRole("row").filter({ hasText: "reservation/other" }).waitFor();

  await cluster.cli.json("port", "release", "other");
  // By the stream, without a reload.
  await page.getByRole("row").filter({ hasText: "reservation/other" }).waitFor({ state: "detached" });
});

it("shows connections as they come, and cuts one", async () => {
  await logIn();
  await page.goto(`${login.url}connections`);
  const client = cluster.run({ name: "client" }, [
    "python3",
    "-c",
    `import socket; s = socket.create_connection(("${server.address}", ${PORT})); s.recv(1)`,
  ]);
  const row = page.getByRole("button").filter({ hasText: "→ client" });
  await row.click();
  await page.getByRole("button", { name: "Cut", exact: true }).click();
  await page.getByRole("button", { name: "Cut it" }).click();
  expect((await client).stderr).toMatch(/ConnectionAbortedError|ConnectionResetError/);
  await row.filter({ hasText: "closed" }).waitFor();
});
