/**
 * The agent of a node is killed while programs use their sockets: no connection breaks, no listener is lost, socket(2) neither
 * fails nor waits, and the next agent sees what the kernel has.
 */
import { mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Box, type Tier } from "../apps/box.js";
import { nginx } from "../apps/nginx.js";
import { appProgram } from "../apps/programs.js";
import { IS_FULL } from "../apps/stage.js";
import type { Background } from "../fixture/background.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { descriptorsOf, holdingsOf, kill, pidsOf, revive, startAgain } from "./agent-process.js";
import { finish, GOAL, keep, SOCKETS, SOME_SOCKETS, use } from "./durable-program.js";

/** Established connections, over both tiers. */
const CONNECTIONS = IS_FULL ? 10_000 : 600;
/** Of agents, those of both nodes at a time. */
const KILLS = IS_FULL ? 1_000 : 4;
const TIMEOUT_MS = IS_FULL ? 7_200_000 : 300_000;
const TIERS: readonly Tier[] = ["notify", "auto"];
const NODES = ["node-1", "node-2"] as const;
const ECHO_PORT = 7_000;
const unbroken = (round: string) => TIERS.map(() => `round ${round}: 0 broken`);

let cluster: Cluster;
let directory: string;
const boxes: Box[] = [];

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-durability-"));
  cluster = await Cluster.start();
});

afterAll(async () => {
  for (const box of boxes) await box.close();
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

async function endpoint(node: string, name: string, tier: Tier): Promise<Box> {
  const box = await Box.endpoint(cluster, node, name, tier);
  boxes.push(box);
  return box;
}

async function listing(node: string) {
  const { local } = cluster.agent(node);
  const { endpoints } = await local.listAttachedEndpoints({});
  const { connections } = await local.listConnections({});
  const { listeners } = await local.listListeners({});
  const shown = endpoints.map(({ endpoint, netnsPath, seccompListeners, dispensers }) => ({
    ...{ name: endpoint?.name ?? "", id: endpoint?.id, address: endpoint?.address },
    ...{ netnsPath, seccompListeners, dispensers },
  }));
  return {
    endpoints: shown.sort((left, right) => left.name.localeCompare(right.name)),
    connections: connections.map(({ cookie }) => cookie).sort(),
    listeners: listeners.map(({ cookie }) => cookie).sort(),
  };
}

describe("the agents of both nodes, killed and started again", () => {
  it(`break none of ${CONNECTIONS} connections, lose no listener, and delay no socket(2)`, {
    timeout: TIMEOUT_MS,
  }, async () => {
    const server = await endpoint("node-1", "server", "auto");
    const serve = [...appProgram("connections.py"), "serve", String(ECHO_PORT), String(CONNECTIONS)];
    await server.start(serve, { prints: /ready/ });
    await server.start(nginx(directory, "server", 'server { listen 80; return 200 "$remote_addr"; }'), { port: 80 });
    const kept: Background[] = [];
    const loops: Background[] = [];
    for (const tier of TIERS) {
      const client = await endpoint("node-2", `client-${tier}`, tier);
      const keeping = keep(server.address, ECHO_PORT, CONNECTIONS / TIERS.length);
      kept.push(await client.start(keeping, { prints: /ready/ }));
      loops.push(await client.start(SOCKETS, { prints: /ready/ }));
    }
    const [client] = boxes.slice(1);
    if (!client) throw new Error("there is a client");
    const get = () => client.output(["curl", "-sS", "-f", "-m", "10", `http://${server.address}/`]);
    expect(await get()).toBe(client.address);

    const before = new Map([
      ["node-1", await listing("node-1")],
      ["node-2", await listing("node-2")],
    ]);
    const pids = { "node-1": pidsOf(cluster, "node-1"), "node-2": pidsOf(cluster, "node-2") };
    expect(before.get("node-1")?.connections).toHaveLength(CONNECTIONS);
    await kill(pids["node-1"].agent);
    await kill(pids["node-2"].agent);

    // Without agents: what there is goes on, and new sockets and connections are made.
    expect(await use(kept, "without agents")).toEqual(unbroken("without agents"));
    expect(await get()).toBe(client.address);
    const dead = await cluster.cli.run(["status"]);
    expect(dead.exitCode).toBe(1);
    expect(dead.stdout).toContain("Start it again with: ./slimfast up --detach");

    expect([...(await startAgain(cluster))].sort()).toEqual(NODES.map((node) => `the agent of ${cluster.tag}${node}`));
    expect(await use(kept, "with new agents")).toEqual(unbroken("with new agents"));
    expect(await get()).toBe(client.address);

    for (const node of NODES) {
      const now = pidsOf(cluster, node);
      expect(now.keeper, "the keeper is the same").toBe(pids[node].keeper);
      expect(now.agent).not.toBe(pids[node].agent);
      // A connection of curl may be about to end; those of the loops are never made.
      expect(await listing(node)).toEqual(before.get(node));
    }
    for (const [index, loop] of loops.entries()) {
      const report = await finish(loop);
      process.stdout.write(`socket(2), ${TIERS[index]}: ${JSON.stringify(report)} (${GOAL})\n`);
      expect(report.errors).toEqual({});
      expect(report.count).toBeGreaterThan(1_000);
    }
  });

  it(`${KILLS} times in a row leave nothing behind`, { timeout: TIMEOUT_MS }, async () => {
    const boxes = await Promise.all(NODES.map((node) => endpoint(node, `loop-${node}`, "notify")));
    const loops = await Promise.all(boxes.map((box) => box.start(SOME_SOCKETS, { prints: /ready/ })));
    const look = (node: string) => {
      const { agent, keeper } = pidsOf(cluster, node);
      return { node, agent, keeper, holdings: holdingsOf(keeper), files: filesOf(node).join() };
    };
    const killAll = async () => {
      await Promise.all(NODES.map((node) => kill(pidsOf(cluster, node).agent)));
      await revive(cluster);
    };
    await killAll();
    const before = NODES.map(look);
    for (let killed = 0; killed < KILLS; killed += NODES.length) await killAll();
    for (const { node, keeper, files, holdings } of before) {
      // The pool of prepared sockets breathes.
      const settled = () => {
        const now = look(node);
        const more = now.holdings.descriptors - holdings.descriptors;
        return Math.abs(more) <= 8 && now.files === files && now.holdings.threads <= holdings.threads && now;
      };
      const now = await until(settled, `the keeper holds no more: ${descriptorsOf(keeper).sort().join(" ")}`);
      expect(now.keeper).toBe(keeper);
    }
    for (const loop of loops) expect((await finish(loop)).errors).toEqual({});
  });
});

/** What keeps programs and maps alive without a process; files of the run directory. */
function filesOf(node: string): string[] {
  const directory = join(cluster.runDir, `${cluster.tag}${node}`);
  return readdirSync(directory, { recursive: true, encoding: "utf8" }).sort();
}
