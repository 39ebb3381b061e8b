/**
 * Many connections between two nodes: at the same time, until there are no ports left, in a row over ports that are in
 * TIME_WAIT, and by SYN cookies.
 */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DEFAULT_FRONT_PORTS } from "@slimfast/cli";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "../fixture/cluster.js";
import { Box, type Tier } from "./box.js";
import { nginx } from "./nginx.js";
import { appProgram } from "./programs.js";
import { IS_FULL } from "./stage.js";

const HELD = IS_FULL ? 30_000 : 3_000;
const SHORT = IS_FULL ? 200_000 : 6_000;
const TIMEOUT_MS = IS_FULL ? 900_000 : 300_000;
const PORT = 7_000;
const HTTP_PORT = 80;
const COOKIES = "net.ipv4.tcp_syncookies";
const RANGE = "net.ipv4.ip_local_port_range";

let cluster: Cluster;
let directory: string;
let server: Box;
let usual: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-counts-"));
  cluster = await Cluster.start();
  usual = onNode("node-2", "sysctl", "-n", RANGE).trim();
  server = await Box.endpoint(cluster, "node-1", "server", "auto");
  await server.start([...appProgram("connections.py"), "serve", String(PORT), String(HELD)], { prints: /ready/ });
  // It closes each connection itself: TIME_WAIT is on its side.
  const http = `server { listen ${HTTP_PORT} backlog=4096; return 200 "$remote_addr:$remote_port\\n"; }`;
  await server.start(nginx(directory, "server", http, 1), { port: HTTP_PORT });
});

afterEach(() => {
  setPorts(usual);
  onNode("node-1", "sysctl", "-q", "-w", `${COOKIES}=1`);
});

afterAll(async () => {
  await server?.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function onNode(node: string, ...command: string[]): string {
  const netns = `--net=/run/netns/${cluster.netnsOf(node)}`;
  return execFileSync("nsenter", [netns, "--", ...command], { encoding: "utf8", maxBuffer: 1 << 26 });
}

/** Which ports connections of the client's node may have. */
function setPorts(range: string): void {
  onNode("node-2", "sysctl", "-q", "-w", `${RANGE}=${range}`);
}

/** What a client on the other node prints. */
async function client(tier: Tier, mode: "hold" | "exhaust" | "http", port: number, count: number): Promise<string> {
  const box = await Box.endpoint(cluster, "node-2", `client-${tier}`, tier);
  try {
    return await box.output([...appProgram("connections.py"), mode, server.address, String(port), String(count)]);
  } finally {
    await box.close();
  }
}

/** With ports that nobody else uses: a SYN to a connection in TIME_WAIT continues its numbers, and gets no cookie. */
const TIERS = [
  { tier: "notify", cookiePorts: "50000 50999" },
  { tier: "auto", cookiePorts: "51000 51999" },
] as const;

describe.each(TIERS)("from another node, $tier", ({ tier, cookiePorts }) => {
  it(`${HELD} connections at the same time, each of which works`, { timeout: TIMEOUT_MS }, async () => {
    expect(await client(tier, "hold", PORT, HELD)).toBe("begun\nopen\ndone\n");
  });

  it("EADDRNOTAVAIL when there is no port left, and connections again once there is", async () => {
    const portsEach = 20;
    setPorts(`40000 ${40_000 + portsEach - 1}`);
    const capacity = portsEach * DEFAULT_FRONT_PORTS.count;
    const report = JSON.parse(await client(tier, "exhaust", PORT, capacity + 1)) as {
      opened: number;
      error: string;
      after: string | null;
    };
    expect(report).toMatchObject({ error: "EADDRNOTAVAIL", after: null });
    // More than one front port gives.
    expect(report.opened).toBeGreaterThan(portsEach);
    expect(report.opened).toBeLessThanOrEqual(capacity);
  });

  it(`${SHORT} requests as fast as can be, over connections in TIME_WAIT`, { timeout: TIMEOUT_MS }, async () => {
    // Fewer combinations of ports than requests.
    setPorts("40000 40099");
    expect(await client(tier, "http", HTTP_PORT, SHORT)).toBe("done\n");
    const waiting = onNode("node-1", "ss", "-tanH", "state", "time-wait");
    expect(waiting.split("\n").length).toBeGreaterThan(500);
  });

  it("SYN cookies, under which no end forgets who the other is", async () => {
    // For every connection, as if the queue was always full.
    onNode("node-1", "sysctl", "-q", "-w", `${COOKIES}=2`);
    setPorts(cookiePorts);
    const before = cookiesSent();
    const box = await Box.endpoint(cluster, "node-2", `curl-${tier}`, tier);
    try {
      const url = `http://${server.address}:${HTTP_PORT}/?[1-20]`;
      const options = ["-sS", "-f", "-H", "Connection: close", "-w", "%{local_ip}:%{local_port}\n"];
      const lines = (await box.output(["curl", ...options, url])).trim().split("\n");
      expect(lines).toHaveLength(40);
      const seen = lines.filter((_, index) => index % 2 === 0);
      expect(seen).toEqual(lines.filter((_, index) => index % 2 === 1));
      for (const name of seen) expect(name.split(":")[0]).toBe(box.address);
    } finally {
      await box.close();
    }
    expect(cookiesSent() - before).toBeGreaterThanOrEqual(20);
  });
});

/** By the server's node, ever. */
function cookiesSent(): number {
  const [names = [], values = []] = onNode("node-1", "cat", "/proc/net/netstat")
    .split("\n")
    .map((line) => line.split(" "));
  return Number(values[names.indexOf("SyncookiesSent")]);
}
