/**
 * Nodes that nobody hears of for longer than the controller takes them for connected, while addresses get new owners: nothing goes to an
 * owner that it was not meant for, and when the wire is whole again both sides come to terms without touching what is still true.
 *
 * node-1 is only cut off, while the owner of an address on node-2 changes; node-3 is given up (`node delete`), and its endpoint's
 * address goes to node-2.
 */
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../apps/box.js";
import { appProgram } from "../apps/programs.js";
import { IS_FULL } from "../apps/stage.js";
import type { Background } from "../fixture/background.js";
import { Cluster } from "../fixture/cluster.js";
import { until } from "../fixture/until.js";
import { kill, pidsOf, startAgain } from "./agent-process.js";
import { ask, connect, finish, keep, own, use } from "./durable-program.js";
import { Wire } from "./partition.js";

/** Each takes the 10 to 25 seconds after which the controller gives a silent agent up. */
const ROUNDS = IS_FULL ? 10 : 1;
const CONNECTIONS = IS_FULL ? 1_000 : 100;
const TIMEOUT_MS = IS_FULL ? 1_800_000 : 240_000;
const [PORT, KEPT_PORT, LOOP_PORT] = [7_000, 7_001, 7_002];
const NODES = ["node-1", "node-2", "node-3"] as const;
/** Of which only the owner on node-2 changes, and of which it changes from node-3 to node-2. */
const [HERE, THERE] = ["10.32.9.8", "10.32.9.9"];
/** What is pending is cut off or refused, and never let in. */
const REFUSED = ["ECONNREFUSED", "ECONNRESET", "ECONNABORTED", "EHOSTUNREACH", "ENETDOWN", "cut off"];

let cluster: Cluster;
let wire: Wire;
const boxes: Box[] = [];

beforeAll(async () => {
  cluster = await Cluster.start({ nodes: NODES.length, tls: true });
});

afterAll(async () => {
  for (const box of boxes) await box.close();
  await cluster?.stop();
});

async function endpoint(node: string, name: string): Promise<Box> {
  const box = await Box.endpoint(cluster, node, name, "auto");
  boxes.push(box);
  return box;
}

interface Owner {
  readonly box: Box;
  readonly program: Background;
}

async function owner(node: string, name: string, address: string): Promise<Owner> {
  const box = await Box.endpoint(cluster, node, name, "notify", "default", address);
  return { box, program: await box.start(own(PORT, name), { prints: /ready/ }) };
}

async function answer(client: Box, address: string): Promise<string> {
  return outcome(await client.output(ask(address, PORT)));
}

/** Whose last line is what became of it. */
function outcome(stdout: string): string {
  return stdout.trim().split("\n").at(-1) ?? "";
}

function pending(client: Box, address: string): Promise<Background> {
  return client.start(ask(address, PORT), { prints: /asks/ });
}

function met({ program }: Owner): string[] {
  return program.stdout.split("\n").filter((line) => line.startsWith("met "));
}

async function isConnected(node: string): Promise<boolean> {
  const nodes = await cluster.cli.json<{ name: string; connected?: boolean }[]>("node", "list");
  return nodes.some(({ name, connected }) => name.endsWith(node) && connected === true);
}

/** What must be as it was: endpoints with their revisions, and what the kernels have of what is kept. */
async function valid(names: readonly string[]) {
  const endpoints = await cluster.cli.json<{ name: string }[]>("endpoint", "list");
  const nodes = await Promise.all(
    ["node-1", "node-2"].map(async (node) => {
      const { local } = cluster.agent(node);
      const { connections } = await local.listConnections({});
      const { listeners } = await local.listListeners({});
      const attached = (await local.listAttachedEndpoints({})).endpoints;
      const isKept = (port: number | undefined) => port === KEPT_PORT;
      return {
        pids: pidsOf(cluster, node),
        kept: connections
          .filter(({ local, peer }) => isKept(local?.port) || isKept(peer?.port))
          .map((one) => one.cookie)
          .sort(),
        listeners: listeners
          .filter((one) => names.includes(one.endpoint))
          .map(({ cookie }) => cookie)
          .sort(),
        attached: attached
          .filter(({ endpoint: one }) => names.includes(one?.name ?? ""))
          .map(({ endpoint: one, netnsPath }) => [one?.name, one?.id, netnsPath].join(" "))
          .sort(),
      };
    }),
  );
  return { endpoints: endpoints.filter(({ name }) => names.includes(name)), nodes };
}

it("nodes that were cut off reach no later owner by what they believe", { timeout: TIMEOUT_MS }, async () => {
  const [near, client, server] = [
    await endpoint("node-1", "near"),
    await endpoint("node-1", "client"),
    await endpoint("node-2", "server"),
  ];
  for (const box of [near, server]) {
    const serve = [...appProgram("connections.py"), "serve"];
    await box.start([...serve, String(LOOP_PORT), "100"], { prints: /ready/ });
    await box.start([...serve, String(KEPT_PORT), String(CONNECTIONS)], { prints: /ready/ });
  }
  const share = CONNECTIONS / 2;
  const kept = [
    await client.start(keep(server.address, KEPT_PORT, share), { prints: /ready/ }),
    await server.start(keep(near.address, KEPT_PORT, share), { prints: /ready/ }),
  ];
  const unbroken = (round: string) => kept.map(() => `round ${round}: 0 broken`);

  for (let round = 1; round <= ROUNDS; round += 1) {
    const lost = await endpoint("node-3", `lost-${round}`);
    const [here, there] = [
      await owner("node-2", `here-${round}`, HERE),
      await owner("node-3", `there-${round}`, THERE),
    ];
    for (const box of [client, server, lost]) {
      expect([await answer(box, HERE), await answer(box, THERE)]).toEqual([`here-${round}`, `there-${round}`]);
    }
    expect(await use(kept, `${round}-whole`)).toEqual(unbroken(`${round}-whole`));
    wire ??= new Wire(cluster, NODES);
    const before = await valid(["near", "client", "server"]);

    const { agent } = pidsOf(cluster, "node-3");

    wire.cut("node-1");
    wire.cut("node-3");
    // Within each side all goes on: new sockets and connections too, by what is known.
    const inside = [
      await client.start(connect(near.address, LOOP_PORT), { prints: /ready/ }),
      await server.start(connect(server.address, LOOP_PORT), { prints: /ready/ }),
    ];
    await until(async () => !(await isConnected("node-1")) && !(await isConnected("node-3")), "both are given up");
    await here.box.close();
    const toLost = await pending(server, THERE);
    await cluster.cli.json("node", "delete", `${cluster.tag}node-3`);
    const [nextHere, nextThere] = [
      await owner("node-2", `next-here-${round}`, HERE),
      await owner("node-2", `next-there-${round}`, THERE),
    ];
    expect(await answer(server, HERE)).toBe(`next-here-${round}`);
    expect(await answer(server, THERE)).toBe(`next-there-${round}`);
    expect(await answer(lost, THERE), "who is cut off with the former owner still means that one").toBe(
      `there-${round}`,
    );
    // Their SYNs have the former owners' ids, and are repeated until somebody answers.
    const toHere = [await pending(client, HERE), await pending(lost, HERE), await pending(there.box, HERE)];
    const toThere = [await pending(client, THERE), toLost];

    wire.join("node-1");
    wire.join("node-3");
    const across = await client.start(connect(server.address, LOOP_PORT), { prints: /ready/ });
    for (const program of [...toHere, ...toThere]) {
      const said = outcome((await program.ended).stdout);
      const isFormer = toThere.includes(program) && said === `there-${round}`;
      if (!isFormer) expect(REFUSED, `${program.name}: ${said}`).toContain(said);
    }
    await until(() => isConnected("node-1"), "node-1 is connected again");
    // A node that was given up is nobody's until it joins again, whatever it believes.
    expect(await isConnected("node-3")).toBe(false);
    expect([await answer(lost, HERE), await answer(lost, THERE)]).toEqual(["ECONNREFUSED", `there-${round}`]);
    await kill(agent);
    expect(await startAgain(cluster)).toEqual([`the agent of ${cluster.tag}node-3`]);
    await until(() => isConnected("node-3"), "node-3 has joined again");

    // All know the same now, and what was true all the time was never touched.
    await until(async () => (await answer(client, HERE)) === `next-here-${round}`, "node-1 knows the owner");
    expect(await answer(client, THERE)).toBe(`next-there-${round}`);
    const attached = async () => (await cluster.agent("node-3").local.listAttachedEndpoints({})).endpoints.length;
    await until(async () => (await attached()) === 0, "node-3 has detached what it was given up with");
    const found = await endpoint("node-3", `found-${round}`);
    expect([await answer(found, HERE), await answer(found, THERE)]).toEqual([
      `next-here-${round}`,
      `next-there-${round}`,
    ]);
    expect(await use(kept, `${round}-healed`)).toEqual(unbroken(`${round}-healed`));
    for (const loop of [...inside, across]) {
      const report = await finish(loop);
      expect(report.errors).toEqual({});
      expect(report.count).toBeGreaterThan(10);
    }
    const who = [server, client, found].map(({ address }) => `met ${address}`);
    expect(met(nextHere)).toEqual(who);
    expect(met(nextThere)).toEqual(who);
    for (const { box } of [there, nextHere, nextThere]) await box.close();
    expect(await valid(["near", "client", "server"])).toEqual(before);
  }
});
