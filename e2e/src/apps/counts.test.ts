/**
 * Many connections between two nodes: at the same time, until there are no ports left, and in a row over ports that are
 * in TIME_WAIT.
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
const SHORT = IS_FULL ? 40_000 : 6_000;
const TIMEOUT_MS = 300_000;
const PORT = 7_000;
const HTTP_PORT = 80;
const RANGE = "net.ipv4.ip_local_port_range";

let cluster: Cluster;
let directory: string;
let server: Box;
let usual: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-counts-"));
  cluster = await Cluster.start();
  usual = onClientsNode("sysctl", "-n", RANGE).trim();
  server = await Box.endpoint(cluster, "node-1", "server", "auto");
  await server.start([...appProgram("connections.py"), "serve", String(PORT)], { prints: /ready/ });
  // It closes each connection itself: TIME_WAIT is on its side.
  const http = `server { listen ${HTTP_PORT} backlog=4096; return 200 "hello"; }`;
  await server.start(nginx(directory, "server", http, 1), { port: HTTP_PORT });
});

afterEach(() => setPorts(usual));

afterAll(async () => {
  await server?.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function onClientsNode(...command: string[]): string {
  return execFileSync("nsenter", [`--net=/run/netns/${cluster.netnsOf("node-2")}`, "--", ...command], {
    encoding: "utf8",
  });
}

/** Which ports connections of the client's node may have. */
function setPorts(range: string): void {
  onClientsNode("sysctl", "-q", "-w", `${RANGE}=${range}`);
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

const TIERS = ["notify", "auto"] as const;

describe.each(TIERS)("from another node, %s", (tier) => {
  it(`${HELD} connections at the same time, each of which works`, { timeout: TIMEOUT_MS }, async () => {
    expect(await client(tier, "hold", PORT, HELD)).toBe("done\n");
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

  it(`${SHORT} requests in a row, over connections in TIME_WAIT`, { timeout: TIMEOUT_MS }, async () => {
    // Fewer combinations of ports than requests.
    setPorts("40000 40099");
    expect(await client(tier, "http", HTTP_PORT, SHORT)).toBe("done\n");
    const waiting = execFileSync(
      "nsenter",
      [`--net=/run/netns/${cluster.netnsOf("node-1")}`, "--", "ss", "-tanH", "state", "time-wait"],
      { encoding: "utf8", maxBuffer: 1 << 26 },
    );
    expect(waiting.split("\n").length).toBeGreaterThan(500);
  });
});
