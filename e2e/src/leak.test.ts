/** A hundred thousand connections leave nothing behind: no descriptor, no socket, no entry of a BPF map, no memory. */
import { readFileSync } from "node:fs";
import { rustProduct } from "@slimfast/cli";
import { afterAll, beforeAll, expect, it } from "vitest";
import { pidsOf } from "./durability/agent-process.js";
import type { Background } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { holdingsLike, type NodeProcesses, steadyHoldings } from "./fixture/holdings.js";

const BENCH = rustProduct("slimfast-bench");
const PORT = 7100;
const TIERS = ["notify", "preload"] as const;
const CONNECTIONS_PER_TIER = 50_000;
/** Pools are full and the agents' JavaScript is compiled after them. */
const WARM_UP_CONNECTIONS = 5_000;
/** The heap of Node.js grows with the work until it is collected; a leak of 1 KiB per connection would be 100 MiB. */
const RESIDENT_GROWTH_KIB = 48 * 1024;
const TIMEOUT_MS = 240_000;

let cluster: Cluster;
let server: Background;
let nodes: readonly NodeProcesses[];

beforeAll(async () => {
  cluster = await Cluster.start();
  server = await cluster.start({ node: "node-2", name: "bench", ready: { ports: [PORT] } }, [
    ...[BENCH, "serve", "--port", String(PORT)],
  ]);
  nodes = [pidsOf(cluster, "node-1"), pidsOf(cluster, "node-2")];
});

afterAll(async () => {
  await cluster?.stop();
});

it("leaves nothing behind, in both tiers", { timeout: TIMEOUT_MS }, async () => {
  for (const tier of TIERS) await connect(tier, WARM_UP_CONNECTIONS);
  // The client's endpoint is removed, and with it what it held.
  const before = await steadyHoldings(nodes);
  const residentBefore = residentKib();
  for (const tier of TIERS) await connect(tier, CONNECTIONS_PER_TIER);
  expect(await holdingsLike(before, nodes)).toEqual(before);
  const residentAfter = residentKib();
  for (const [index, resident] of residentAfter.entries()) {
    expect(resident - (residentBefore[index] ?? 0)).toBeLessThan(RESIDENT_GROWTH_KIB);
  }
  // All of them went through the data path, and nothing about them was lost or refused.
  const all = TIERS.length * (WARM_UP_CONNECTIONS + CONNECTIONS_PER_TIER);
  const [client, other] = (await cluster.status()).nodes.map((node) => node.agent?.counters ?? {});
  expect(client).toMatchObject({ opened: all, closed: all, failed: 0, connects_denied: 0 });
  expect(other).toMatchObject({ accepted: all, dispatched: all, refused_no_flow: 0, refused_assign: 0 });
});

async function connect(tier: TierChoice, count: number): Promise<void> {
  const target = ["--to", `${server.address}:${PORT}`];
  const load = ["--count", String(count), "--concurrency", "4", "--warmup", "0"];
  const report = JSON.parse(await cluster.output({ tier }, [BENCH, "connect", ...target, ...load])) as {
    count: number;
  };
  expect(report.count).toBe(count);
}

/** Of each agent. */
function residentKib(): number[] {
  return nodes.map(({ agent }) =>
    Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${agent}/status`, "utf8"))?.[1]),
  );
}
