/**
 * Pictures of each page in both themes, of a cluster with real traffic, into docs/console/. Not a test of the suite:
 * `npx nx run e2e:screenshots` (e2e/vitest.console-tools.config.ts).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { afterAll, beforeAll, it } from "vitest";
import { PAGES, Site } from "./site.js";

const OUT = process.env.SCREENSHOTS_DIR ?? fileURLToPath(new URL("../../../docs/console/", import.meta.url));
const THEMES = ["light", "dark"] as const;
const QUALITY = 82;
/** The charts of the overview want some history. */
const HISTORY_MS = 25_000;

/** Connects again and again, keeps some connections, and tries what is refused. Arguments: address, pause in seconds. */
const CLIENT = `
import socket, sys, time
address, pause = sys.argv[1], float(sys.argv[2])
kept = []
count = 0
while True:
    s = socket.create_connection((address, 80))
    s.sendall(b"GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n")
    s.recv(4096)
    count += 1
    if count % 40 == 0: kept.append(s)
    else: s.close()
    while len(kept) > 6: kept.pop(0).close()
    for other in kept:
        other.sendall(b"GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n")
        other.recv(4096)
    if count % 60 == 0:
        for port in (81, 22):
            try: socket.create_connection((address, port)).close()
            except OSError: pass
    time.sleep(pause)
`;

let site: Site;

beforeAll(async () => {
  site = await Site.open();
  const { cluster, web } = site;
  const { cli } = cluster;
  const client = (name: string, node: string, tier: "notify" | "preload", pause: string) =>
    cluster.start({ name, node, tier }, ["python3", "-c", CLIENT, web.address, pause]);
  await cluster.start({ node: "node-2", name: "cache", publish: ["11211:80"], ready: { ports: [80] } }, [
    "python3",
    "-m",
    "http.server",
    "80",
  ]);
  const nodes = (await cluster.status()).nodes.map(({ name }) => name);
  const [one = "", two = ""] = nodes;
  await cli.json("network", "create", "payments", "--prefix", "10.40.0.0/16", "--default-deny", "--label", "team=pay");
  await cli.json(
    "port",
    "reserve",
    "prometheus",
    "--node",
    one,
    "--ports",
    "9090",
    "--description",
    "metrics of the node",
  );
  await cli.json(
    "port",
    "reserve",
    "backup",
    "--node",
    one,
    "--ports",
    "30000-30099",
    "--lease",
    "2h",
    "--description",
    "nightly copy",
  );
  await cli.json(
    "port",
    "reserve",
    "migration",
    "--node",
    two,
    "--ports",
    "52000-52999",
    "--lease",
    "9m",
    "--description",
    "moves disks",
  );
  await cli.json(
    "policy",
    "create",
    "no-ssh",
    "--action",
    "deny",
    "--port",
    "22",
    "--description",
    "nobody logs in over the overlay",
  );
  await cli.json(
    "policy",
    "create",
    "front-to-web",
    "--action",
    "allow",
    "--from",
    "app=front",
    "--to",
    "app=web",
    "--port",
    "80,8000-8010",
  );
  await client("shop", "node-1", "preload", "0.01");
  await client("search", "node-1", "notify", "0.02");
  await client("report", "node-2", "preload", "0.05");
  // Asks the server of Python, which ends each connection itself.
  await client("worker", "node-1", "preload", "0.04");
  for (const [name, app] of [
    ["web", "web"],
    ["cache", "data"],
    ["shop", "front"],
    ["search", "front"],
    ["report", "batch"],
    ["worker", "batch"],
  ] as const) {
    await cli.json("endpoint", "label", name, `app=${app}`);
  }
});

afterAll(() => site?.close());

async function picture(page: Page, name: string): Promise<void> {
  mkdirSync(OUT, { recursive: true });
  const devtools = await page.context().newCDPSession(page);
  const { data } = await devtools.send("Page.captureScreenshot", { format: "webp", quality: QUALITY });
  writeFileSync(`${OUT}/${name}.webp`, Buffer.from(data, "base64"));
  await devtools.detach();
  if (process.env.SCREENSHOTS_PNG) await page.screenshot({ path: `${OUT}/${name}.png` });
}

it("of each page, of a connection, of a reservation, in both themes; and narrow", async () => {
  const page = await site.pageOf("admin");
  await page.waitForTimeout(HISTORY_MS);
  const inBothThemes = async (name: string): Promise<void> => {
    for (const colorScheme of THEMES) {
      await page.emulateMedia({ colorScheme });
      await page.waitForTimeout(400);
      await picture(page, `${name}-${colorScheme}`);
    }
  };
  for (const [path, title] of PAGES) {
    if (path !== "") await page.goto(`${site.url}${path}`);
    await page.getByRole("heading", { level: 1, name: title }).waitFor();
    // Streams and lists have come.
    await page.waitForTimeout(path === "map" || path === "connections" ? 5_000 : 1_500);
    await inBothThemes(path === "" ? "overview" : path);
    if (path === "connections") {
      await page
        .getByRole("region", { name: "Connections" })
        .getByRole("button")
        .filter({ hasText: "live" })
        .first()
        .click();
      await page.getByRole("dialog").waitFor();
      await inBothThemes("connection");
    }
  }
  await page.goto(`${site.url}ports?form=new`);
  await page.getByLabel("Name").fill("logs");
  await page.getByLabel("Ports", { exact: true }).fill("30050-30059");
  await page.getByRole("alert").waitFor();
  await inBothThemes("reserve");
  await page.setViewportSize({ width: 400, height: 800 });
  for (const path of ["", "ports", "connections"]) {
    await page.goto(`${site.url}${path}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.waitForTimeout(2_500);
    await inBothThemes(`narrow-${path === "" ? "overview" : path}`);
  }
});
