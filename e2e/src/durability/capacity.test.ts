/**
 * More connections between two nodes at a time than one process, one port or the agents' reports have room for: each of them
 * works, the agents go on, and nothing of them is left.
 */
import { kernelBytes, residentBytes } from "@slimfast/cli";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Box } from "../apps/box.js";
import { appProgram } from "../apps/programs.js";
import { IS_FULL } from "../apps/stage.js";
import { Cluster } from "../fixture/cluster.js";
import { ticksOver } from "../fixture/cpu.js";
import { holdingsLike, type NodeProcesses, steadyHoldings } from "../fixture/holdings.js";
import { pidsOf } from "./agent-process.js";

const CONNECTIONS = IS_FULL ? 200_000 : 3_000;
const FRONT_PORTS = 64;
const PORT = 7_000;
const TIMEOUT_MS = IS_FULL ? 1_800_000 : 240_000;
const INTERVAL_MS = 2_000;
/** Of one node, in one answer: what is asked for by default, and what there is room for. */
const LISTED = { default: 1_000, max: 16_000 };

let cluster: Cluster;
let nodes: readonly NodeProcesses[];
let server: Box;

beforeAll(async () => {
  cluster = await Cluster.start({ frontPorts: `20000:${FRONT_PORTS}` });
  nodes = [pidsOf(cluster, "node-1"), pidsOf(cluster, "node-2")];
  // What a node keeps open from its first endpoint on.
  await (await Box.endpoint(cluster, "node-2", "first", "auto")).close();
  server = await Box.endpoint(cluster, "node-1", "server", "auto");
  await server.start([...appProgram("connections.py"), "serve", String(PORT), String(CONNECTIONS)], {
    prints: /ready/,
  });
});

afterAll(async () => {
  await server?.close();
  await cluster?.stop();
});

it(`${CONNECTIONS} connections over ${FRONT_PORTS} front ports, each of which works`, {
  timeout: TIMEOUT_MS,
}, async () => {
  const pids = nodes.flatMap(({ agent, keeper }) => [agent, keeper]);
  const before = await steadyHoldings(nodes);
  const memory = { kernel: kernelBytes(), resident: residentBytes(pids) };
  const client = await Box.endpoint(cluster, "node-2", "client", "auto");
  const started = performance.now();
  const hold = [...appProgram("connections.py"), "hold", server.address, String(PORT), String(CONNECTIONS)];
  const program = await client.start(hold, { prints: /begun/ });
  await program.prints(/open/, TIMEOUT_MS);
  const opened = performance.now();

  // All of them are the endpoint's, and the agents go on telling of as many as somebody wants and an answer has room for.
  const { nodes: reports } = await cluster.status();
  const usage = reports.flatMap(({ attached }) => attached ?? []).find(({ endpoint }) => endpoint.name === "client");
  expect(usage?.usage.sockets).toBeGreaterThanOrEqual(CONNECTIONS);
  const asked = performance.now();
  const { stdout, stderr } = await cluster.cli.run(["connections", "--json"]);
  const answered = performance.now();
  expect(JSON.parse(stdout)).toHaveLength(2 * Math.min(CONNECTIONS, LISTED.default));
  expect(stderr).toContain(`node-2 has more than these ${LISTED.default} connections`);
  const listed = await cluster.cli.json<unknown[]>("connections", "--limit", String(LISTED.max));
  const answeredMost = performance.now();
  expect(listed).toHaveLength(2 * Math.min(CONNECTIONS, LISTED.max));
  const [kernel, resident] = [kernelBytes() - memory.kernel, residentBytes(pids) - memory.resident];
  const figures = {
    seconds: (opened - started) / 1_000,
    kernelBytesEach: kernel / CONNECTIONS,
    residentBytesEach: resident / CONNECTIONS,
    agentsCpuPercent: ((await ticksOver(pids, INTERVAL_MS)) * 1_000) / INTERVAL_MS,
    listed: listed.length,
    secondsToListSome: (answered - asked) / 1_000,
    secondsToListMost: (answeredMost - answered) / 1_000,
  };
  process.stdout.write(`${CONNECTIONS} connections: ${JSON.stringify(figures)}\n`);

  program.closeInput();
  expect(await program.ended).toMatchObject({ exitCode: 0, stdout: "begun\nopen\ndone\n" });
  await client.close();
  expect(await holdingsLike(before, nodes)).toEqual(before);
});
