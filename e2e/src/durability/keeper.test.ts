/**
 * The keeper of a node is killed, as the kernel does when it is short of memory: connections and listeners go on, the agent starts
 * another one, and that goes on with what the former one has served. socket(2) waits meanwhile, and does not fail.
 */
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box, type Tier } from "../apps/box.js";
import { nginx } from "../apps/nginx.js";
import { IS_FULL } from "../apps/stage.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { keepersOf, kill, pidsOf } from "./agent-process.js";
import { finish, GOAL, SOCKETS } from "./durable-program.js";

const PORT = 80;
const SLOW_BYTES = 400_000;
const KILLS = IS_FULL ? 100 : 4;
const TIMEOUT_MS = IS_FULL ? 1_800_000 : 240_000;
const TIERS: readonly Tier[] = ["notify", "auto"];

let cluster: Cluster;
let directory: string;
let server: Box;
let client: Box;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-keeper-"));
  cluster = await Cluster.start();
  server = await Box.endpoint(cluster, "node-1", "server", "auto");
  client = await Box.endpoint(cluster, "node-2", "client", "notify");
});

afterAll(async () => {
  await client?.close();
  await server?.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function killKeeper(node: string): Promise<void> {
  const before = pidsOf(cluster, node);
  await kill(before.keeper);
  await until(() => {
    const [keeper] = keepersOf(cluster, node);
    return keeper !== undefined && keeper !== before.keeper;
  }, `${node} has another keeper`);
}

it("runs before other sessions, whatever its threads' own priority", () => {
  const { keeper } = pidsOf(cluster, "node-1");
  const file = `/proc/${keeper}/autogroup`;
  // Kernels without groups of sessions have no such file, and then a thread's own priority is all there is.
  const nice = existsSync(file) ? /nice (-?\d+)/.exec(readFileSync(file, "utf8"))?.[1] : "-15";
  expect(nice).toBe("-15");
});

it("goes on with another keeper", async () => {
  const answers = `server {
    listen ${PORT}; location / { return 200 "here\\n"; }
    location = /slow { root ${directory}; limit_rate 100k; }
  }`;
  const slow = join(directory, "slow");
  await server.run(["dd", "if=/dev/zero", `of=${slow}`, "bs=1000", `count=${SLOW_BYTES / 1_000}`]);
  await server.start(nginx(directory, "server", answers), { port: PORT });
  const base = `http://${server.host}:${PORT}`;
  const sizes = ["-o", "/dev/null", "-w", "%{size_download}"];
  const download = client.output(["curl", "-sS", "-f", "-m", "60", ...sizes, `${base}/slow`]);
  const { agent } = pidsOf(cluster, "node-1");

  for (const node of ["node-1", "node-2"]) await killKeeper(node);
  expect(pidsOf(cluster, "node-1").agent).toBe(agent);
  // A connection that there was, a listener that there was, and programs that start now, in endpoints old and new.
  expect(await download).toBe(String(SLOW_BYTES));
  expect(await client.output(["curl", "-sS", "-m", "10", `${base}/`])).toBe("here\n");
  for (const tier of ["notify", "preload"] as const) {
    expect(await cluster.output({ node: "node-1", tier }, ["curl", "-sS", "-m", "10", `${base}/`])).toBe("here\n");
  }
});

it(`${KILLS} times, while programs make sockets: none of their calls fails`, { timeout: TIMEOUT_MS }, async () => {
  const boxes: Box[] = [];
  try {
    const loops = [];
    for (const tier of TIERS) {
      const box = await Box.endpoint(cluster, "node-1", `loop-${tier}`, tier);
      boxes.push(box);
      loops.push(await box.start(SOCKETS, { prints: /ready/ }));
    }
    for (let round = 0; round < KILLS; round += 1) {
      await killKeeper("node-1");
      // The next keeper is killed as well, and with it what has started meanwhile.
      const late = await cluster.output({ node: "node-1", tier: "notify" }, [
        "curl",
        "-sS",
        "-m",
        "10",
        `http://${server.host}:${PORT}/`,
      ]);
      expect(late).toBe("here\n");
    }
    for (const [index, loop] of loops.entries()) {
      const report = await finish(loop);
      process.stdout.write(
        `socket(2), ${TIERS[index]}, ${KILLS} keepers killed: ${JSON.stringify(report)} (${GOAL})\n`,
      );
      expect(report.errors).toEqual({});
      expect(report.count).toBeGreaterThan(1_000);
    }
  } finally {
    for (const box of boxes) await box.close();
  }
});
