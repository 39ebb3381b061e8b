/**
 * Pictures of each page in both themes, of a cluster with real traffic, into docs/console/. Not a test of the suite:
 * `npx nx run e2e:screenshots` (e2e/vitest.console-tools.config.ts).
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import type { Page } from "@playwright/test";
import { afterAll, beforeAll, it } from "vitest";
import { PAGES, Site } from "./site.js";
import { runShown } from "./tests/shown-command.js";

const OUT = process.env.SCREENSHOTS_DIR ?? fileURLToPath(new URL("../../../docs/console/", import.meta.url));
const THEMES = ["light", "dark"] as const;
const QUALITY = 82;
/** The charts of the overview want some history. */
const HISTORY_MS = 25_000;

/** Connects again and again, keeps some connections, and tries what is refused. Arguments: address, pause in seconds. */
const CLIENT = `
import socket, sys, time
address, pause = sys.argv[1], float(sys.argv[2])
ASK = b"GET / HTTP/1.1\\r\\nHost: web\\r\\n\\r\\n"
kept = []
count = 0
while True:
    count += 1
    try:
        s = socket.create_connection((address, 80))
        s.sendall(ASK)
        s.recv(4096)
        if count % 40 == 0: kept.append(s)
        else: s.close()
        while len(kept) > 6: kept.pop(0).close()
        for other in kept:
            other.sendall(ASK)
            other.recv(4096)
        if count % 60 == 0:
            for port in (81, 22): socket.create_connection((address, port)).close()
    except OSError:
        kept.clear()
    time.sleep(pause)
`;

let site: Site;

/** What an operator would have set up, by the command line. */
async function furnish({ cluster }: Site): Promise<void> {
  const run = (command: string) => runShown(cluster, command);
  const [one = "", two = "", three = ""] = (await cluster.status()).nodes.map(({ name }) => name);
  for (const [node, zone] of [
    [one, "a"],
    [two, "b"],
    [three, "b"],
  ] as const) {
    await run(`slimfast node label ${node} zone=${zone}`);
  }
  await run(
    "slimfast network create payments --prefix 10.40.0.0/16 --default-deny --label team=pay --description 'cards and refunds'",
  );
  await run(
    "slimfast network create edge --prefix 10.50.0.0/16 --prefix6 fd50::/64 --egress 192.0.2.0/24 --label team=web",
  );
  await run(`slimfast port reserve prometheus --node ${one} --ports 9090 --description 'metrics of the node'`);
  await run(`slimfast port reserve backup --node ${one} --ports 30000-30099 --lease 2h --description 'nightly copy'`);
  await run(`slimfast port reserve migration --node ${two} --ports 52000-52999 --lease 9m --description 'moves disks'`);
  await run(`slimfast port reserve games --node ${three} --ports 27015-27030 --lease 7d --description 'tournament'`);
  await run(
    "slimfast policy create no-ssh --network default --action deny --port 22 --description 'nobody logs in over the overlay'",
  );
  await run(
    "slimfast policy create front-to-web --network default --action allow --from app=front --to app=web --port 80,8000-8010",
  );
  await run(
    "slimfast policy create till-to-ledger --network payments --action allow --from app=till --to app=ledger --port 80",
  );
  await run("slimfast policy create clients --network edge --action allow --from fd50::/64 --port 80,443");
  await run("slimfast token create grafana --role viewer --expires 90d --description 'dashboards'");
  await run(
    "slimfast token create deploy --role operator --network default --network edge --expires 30d --description 'rollouts from CI'",
  );
  await run("slimfast token revoke e2e-viewer");
  await run("slimfast token revoke e2e-operator");
}

beforeAll(async () => {
  site = await Site.open({ nodes: 3 });
  const { cluster, web } = site;
  await furnish(site);
  const serve = (name: string, node: string, options: object = {}, bind = "0.0.0.0") =>
    cluster.start({ node, name, ready: { ports: [80] }, ...options }, [
      "python3",
      ...["-m", "http.server", "--bind", bind, "80"],
    ]);
  const cache = await serve("cache", "node-2", { publish: ["11211:80"] });
  const ledger = await serve("ledger", "node-3", { network: "payments" });
  const gateway = await serve("gateway", "node-3", { network: "edge", publish: ["8443:80"] }, "::");
  const { endpoints } = await cluster.agent("node-3").local.listAttachedEndpoints({});
  const gateway6 = endpoints.find(({ endpoint }) => endpoint?.name === gateway.name)?.endpoint?.address6 ?? "";
  const client = (
    name: string,
    node: string,
    tier: "notify" | "preload",
    to: string,
    pause: string,
    network = "default",
  ) => cluster.start({ name, node, tier, network }, ["python3", "-c", CLIENT, to, pause]);
  for (const [name, app, network = "default"] of [
    ["web", "web"],
    ["cache", "data"],
    ["ledger", "ledger", "payments"],
    ["gateway", "edge", "edge"],
  ] as const) {
    await runShown(cluster, `slimfast endpoint label ${name} app=${app} --network ${network}`);
  }
  for (const [name, node, tier, to, pause, app, network = "default"] of [
    ["shop", "node-1", "preload", web.address, "0.02", "front"],
    ["search", "node-1", "notify", web.address, "0.04", "front"],
    ["report", "node-2", "preload", web.address, "0.1", "batch"],
    ["worker", "node-3", "preload", cache.address, "0.08", "batch"],
    ["till", "node-1", "notify", ledger.address, "0.1", "till", "payments"],
    ["mobile", "node-2", "preload", gateway6, "0.06", "edge", "edge"],
  ] as const) {
    await client(name, node, tier, to, pause, network);
    await runShown(cluster, `slimfast endpoint label ${name} app=${app} --network ${network}`);
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
      // One that is kept, and still there when the second picture is made.
      await page.goto(`${site.url}connections?state=live&minAge=3`);
      await page.getByRole("region", { name: "Connections" }).getByRole("button").first().click();
      await page.getByRole("dialog").waitFor();
      await inBothThemes("connection");
    }
  }
  await page.goto(`${site.url}ports?form=new`);
  await page.getByLabel("Name").fill("logs");
  await page.getByLabel("Ports", { exact: true }).fill("30050-30059");
  await page.getByRole("alert").waitFor();
  await inBothThemes("reserve");
  await page.goto(`${site.url}policies?form=new`);
  await page.getByLabel("Name").fill("no-batch");
  await page.getByLabel("Such connections are").selectOption("deny");
  await page.getByLabel("From").fill("app=batch");
  await page.getByRole("button", { name: "Try against the last connections" }).click();
  await page.getByTestId("cli-trial").scrollIntoViewIfNeeded();
  await inBothThemes("trial");
  await page.setViewportSize({ width: 400, height: 800 });
  for (const path of ["", "ports", "connections"]) {
    await page.goto(`${site.url}${path}`);
    await page.getByRole("heading", { level: 1 }).waitFor();
    await page.waitForTimeout(2_500);
    await inBothThemes(`narrow-${path === "" ? "overview" : path}`);
  }
});
