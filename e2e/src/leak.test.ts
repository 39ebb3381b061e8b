/** A hundred thousand connections leave nothing behind: no descriptor, no socket, no entry of a BPF map, no memory. */
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { ROOT } from "./testing/surroundings.js";

const BENCH = `${process.env.CARGO_TARGET_DIR || `${ROOT}/target`}/release/slimfast-bench`;
const PORT = 7100;
const TIERS = ["notify", "preload"] as const;
const CONNECTIONS_PER_TIER = 50_000;
/** Pools are full and the agents' JavaScript is compiled after them. */
const WARM_UP_CONNECTIONS = 5_000;
/** The heap of Node.js grows with the work until it is collected; a leak of 1 KiB per connection would be 100 MiB. */
const RESIDENT_GROWTH_KIB = 48 * 1024;
const TIMEOUT_MS = 240_000;
const SETTLE_MS = 20_000;

interface Holdings {
  /** By agent. */
  readonly descriptors: readonly number[];
  /** Of the nodes' namespaces, in all states. */
  readonly sockets: readonly string[];
  /** Number of entries by agent and name of the map. */
  readonly maps: Readonly<Record<string, number>>;
}

let cluster: Cluster;
let server: Background;
let agents: number[];

beforeAll(async () => {
  cluster = await Cluster.start();
  server = await cluster.start({ node: "node-2", name: "bench", ready: { ports: [PORT] } }, [
    ...[BENCH, "serve", "--port", String(PORT)],
  ]);
  agents = (await cluster.status()).nodes.map(({ agent }) => agent?.pid ?? 0);
});

afterAll(async () => {
  await cluster?.stop();
});

it("leaves nothing behind, in both tiers", { timeout: TIMEOUT_MS }, async () => {
  for (const tier of TIERS) await connect(tier, WARM_UP_CONNECTIONS);
  // The client's endpoint is removed, and with it what it held.
  const before = await untilSteady();
  const residentBefore = residentKib();
  for (const tier of TIERS) await connect(tier, CONNECTIONS_PER_TIER);
  let after = holdings();
  await until(() => {
    after = holdings();
    return JSON.stringify(after) === JSON.stringify(before);
  }, "the agents hold what they held before").catch(() => undefined);
  expect(after).toEqual(before);
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

/** Some of what a client held goes a moment after it. */
async function untilSteady(): Promise<Holdings> {
  let last = "";
  let steady = 0;
  await until(
    () => {
      const now = JSON.stringify(holdings());
      steady = now === last ? steady + 1 : 0;
      last = now;
      return steady >= 5;
    },
    "the agents are at rest",
    SETTLE_MS,
  );
  return JSON.parse(last) as Holdings;
}

function holdings(): Holdings {
  const maps: Record<string, number> = {};
  for (const [index, pid] of agents.entries()) {
    for (const [name, entries] of mapEntries(pid)) maps[`${index + 1} ${name}`] = entries;
  }
  return {
    descriptors: agents.map((pid) => readdirSync(`/proc/${pid}/fd`).length),
    sockets: agents.map(
      (pid) => /^sockets: used \d+$/m.exec(readFileSync(`/proc/${pid}/net/sockstat`, "utf8"))?.[0] ?? "",
    ),
    maps,
  };
}

/** Of the maps whose entries come and go; the others are arrays and buffers. */
function mapEntries(pid: number): Map<string, number> {
  const ids = new Set(
    readdirSync(`/proc/${pid}/fdinfo`).flatMap((descriptor) => {
      const info = readFileSync(`/proc/${pid}/fdinfo/${descriptor}`, "utf8");
      return /^map_id:\s*(\d+)$/m.exec(info)?.[1] ?? [];
    }),
  );
  const entries = new Map<string, number>();
  for (const id of ids) {
    const { name, type } = bpftool<{ name: string; type: string }>("show", "id", id);
    if (type.endsWith("hash")) entries.set(name, bpftool<unknown[]>("dump", "id", id).length);
  }
  if (entries.size < 5) throw new Error(`agent ${pid} has only the maps ${[...entries.keys()].join(", ")}`);
  return entries;
}

function bpftool<Value>(...args: string[]): Value {
  return JSON.parse(
    execFileSync("bpftool", ["map", ...args, "--json"], { encoding: "utf8", maxBuffer: 1 << 28 }),
  ) as Value;
}

/** Of each agent. */
function residentKib(): number[] {
  return agents.map((pid) => Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]));
}
