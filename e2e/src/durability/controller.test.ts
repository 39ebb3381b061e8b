/**
 * The controller is gone for an hour: what the nodes know goes on, new connections and sockets included, and when it is back, nothing
 * is withdrawn for a moment, made anew or cut.
 *
 * The hour is one of the agents' clocks and timers, which run fast meanwhile; the controller that comes back has the
 * later time.
 */
import { mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box, type Tier } from "../apps/box.js";
import { appProgram } from "../apps/programs.js";
import type { Background } from "../fixture/background.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { controllerPid, kill, pidsOf, startAgain } from "./agent-process.js";
import { connect, finish, keep, SOCKETS, use } from "./durable-program.js";

const HOUR_MS = 3_600_000;
/** So many times faster than the machine's. */
const SPEED = 720;
const CONNECTIONS = 100;
/** Of connections that are kept, and of those that come and go. */
const [PORT, LOOP_PORT] = [7_000, 7_001];
const TIERS: readonly Tier[] = ["notify", "auto"];

/**
 * Runs in each process of the cluster before anything of its own. Time goes as fast as the file's first number says from the moment that
 * it is there; processes that start later begin by its second number of milliseconds later.
 */
const CLOCK = `
import { readFileSync } from "node:fs";
import { syncBuiltinESMExports } from "node:module";
import timers from "node:timers";
import promises from "node:timers/promises";
const RealDate = Date;
const realNow = performance.now.bind(performance);
const realInterval = setInterval;
const read = () => {
  try {
    return readFileSync(process.env.SLIMFAST_E2E_CLOCK, "utf8").split(" ").map(Number);
  } catch {
    return [1, 0];
  }
};
const started = RealDate.now();
let [speed, since, gone] = [1, realNow(), read()[1]];
const elapsed = () => gone + (realNow() - since) * speed;
const look = () => {
  const wanted = read()[0];
  if (wanted !== speed) [gone, since, speed] = [elapsed(), realNow(), wanted];
};
realInterval(look, 20).unref();
globalThis.Date = class extends RealDate {
  constructor(...args) {
    if (args.length === 0) super(RealDate.now());
    else super(...args);
  }
  static now() {
    return Math.round(started + elapsed());
  }
};
const origin = realNow();
performance.now = () => origin + elapsed();
const scaled = (set) => (run, ms = 0, ...more) => set(run, ms / speed, ...more);
for (const name of ["setTimeout", "setInterval"]) globalThis[name] = timers[name] = scaled(timers[name]);
const pause = promises.setTimeout;
promises.setTimeout = (ms = 0, ...more) => pause(ms / speed, ...more);
syncBuiltinESMExports();
`;

let directory: string;
let clock: string;
let cluster: Cluster;
const boxes: Box[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-hour-"));
  clock = join(directory, "speed");
  const module = join(directory, "clock.mjs");
  writeFileSync(module, CLOCK);
  process.env.SLIMFAST_E2E_CLOCK = clock;
  process.env.NODE_OPTIONS = `--import=${module}`;
  cluster = await Cluster.start();
});

afterAll(async () => {
  rmSync(clock, { force: true });
  for (const box of boxes) await box.close();
  await cluster?.stop();
  delete process.env.NODE_OPTIONS;
  rmSync(directory, { recursive: true, force: true });
});

async function endpoint(node: string, name: string, tier: Tier): Promise<Box> {
  const box = await Box.endpoint(cluster, node, name, tier);
  boxes.push(box);
  return box;
}

/** Of what runs, and of what starts from now on. */
function setClock(speed: number, offsetMs: number): void {
  // Nobody may read half of it.
  writeFileSync(`${clock}.new`, `${speed} ${offsetMs}`);
  renameSync(`${clock}.new`, clock);
}

function logOf(node: string): { time: number; msg: string }[] {
  const log = readFileSync(join(cluster.runDir, "logs", `agent-${cluster.tag}${node}.log`), "utf8");
  const lines = log.split("\n").filter((line) => line.includes('"msg"'));
  return lines.map((line) => JSON.parse(line) as { time: number; msg: string });
}

/** What must not have changed: resources with their revisions, and what the kernel has. */
async function everything() {
  const endpoints = await cluster.cli.json<object[]>("endpoint", "list");
  const networks = await cluster.cli.json<unknown>("network", "list");
  const nodes = await Promise.all(
    ["node-1", "node-2"].map(async (node) => {
      const { local } = cluster.agent(node);
      const { connections } = await local.listConnections({});
      const { listeners } = await local.listListeners({});
      const attached = (await local.listAttachedEndpoints({})).endpoints;
      return {
        kept: connections
          .filter(({ local: own, peer }) => own?.port === PORT || peer?.port === PORT)
          .map(({ cookie }) => cookie)
          .sort(),
        listeners: listeners.map(({ cookie }) => cookie).sort(),
        attached: attached
          .map(({ endpoint: it, netnsPath }) => [it?.name, it?.id, it?.address, netnsPath].join(" "))
          .sort(),
      };
    }),
  );
  return { endpoints, networks, nodes };
}

it("goes on for an hour without a controller, and nothing flaps on its return", { timeout: 300_000 }, async () => {
  const server = await endpoint("node-1", "server", "auto");
  for (const port of [PORT, LOOP_PORT]) {
    await server.start([...appProgram("connections.py"), "serve", String(port), String(CONNECTIONS)], {
      prints: /ready/,
    });
  }
  const [kept, loops]: [Background[], Background[]] = [[], []];
  for (const tier of TIERS) {
    const client = await endpoint("node-2", `client-${tier}`, tier);
    kept.push(await client.start(keep(server.address, PORT, CONNECTIONS / TIERS.length), { prints: /ready/ }));
    loops.push(await client.start(connect(server.address, LOOP_PORT), { prints: /ready/ }));
    loops.push(await client.start(SOCKETS, { prints: /ready/ }));
  }
  const unbroken = (round: string) => TIERS.map(() => `round ${round}: 0 broken`);
  expect(await use(kept, "before")).toEqual(unbroken("before"));
  const before = await everything();
  const agents = ["node-1", "node-2"].map((node) => pidsOf(cluster, node));

  await kill(controllerPid(cluster));
  setClock(SPEED, 0);
  await sleep(HOUR_MS / SPEED);
  expect(await use(kept, "alone")).toEqual(unbroken("alone"));
  expect(await server.output(["cat", "/proc/self/comm"])).toBe("cat\n");
  setClock(1, HOUR_MS);

  expect(await startAgain(cluster)).toEqual(["the controller"]);
  await until(async () => (await cluster.cli.run(["status"])).exitCode === 0, "both agents are connected again");
  expect(await use(kept, "after")).toEqual(unbroken("after"));
  for (const loop of loops) {
    const report = await finish(loop);
    expect(report.errors).toEqual({});
    expect(report.count).toBeGreaterThan(100);
  }
  expect(["node-1", "node-2"].map((node) => pidsOf(cluster, node))).toEqual(agents);
  expect(await everything()).toEqual(before);
  for (const node of ["node-1", "node-2"]) {
    const failures = logOf(node).filter(({ msg }) => msg.includes("the stream to the controller ended"));
    const times = failures.map(({ time }) => time);
    expect(Math.max(...times) - Math.min(...times), "for how long the agent has tried").toBeGreaterThan(0.9 * HOUR_MS);
  }
  expect(before.nodes.map((node) => node.kept.length)).toEqual([CONNECTIONS, CONNECTIONS]);
  expect(before.endpoints).toHaveLength(boxes.length);
});
