/**
 * The keeper of a node is killed, as the kernel does when it is short of memory: connections and listeners go on, and the
 * agent starts another one, which serves whatever starts from then on.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../apps/box.js";
import { nginx } from "../apps/nginx.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { kill, pidsOf } from "./agent-process.js";

const PORT = 80;
const SLOW_BYTES = 400_000;

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
  const { agent } = await pidsOf(cluster, "node-1");

  for (const node of ["node-1", "node-2"]) {
    const before = await pidsOf(cluster, node);
    await kill(before.keeper);
    await until(async () => {
      const now = await pidsOf(cluster, node).catch(() => undefined);
      return now !== undefined && now.keeper !== before.keeper;
    }, `${node} has another keeper`);
  }
  expect((await pidsOf(cluster, "node-1")).agent).toBe(agent);
  // A connection that there was, a listener that there was, and programs that start now, in endpoints old and new.
  expect(await download).toBe(String(SLOW_BYTES));
  expect(await client.output(["curl", "-sS", "-m", "10", `${base}/`])).toBe("here\n");
  for (const tier of ["notify", "preload"] as const) {
    expect(await cluster.output({ node: "node-1", tier }, ["curl", "-sS", "-m", "10", `${base}/`])).toBe("here\n");
  }
});
