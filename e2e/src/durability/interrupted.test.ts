/**
 * Targets that are killed, stopped, frozen or showered with signals in the middle of socket(2): nothing stays behind, nobody
 * spins, and neighbours are served meanwhile.
 */
import { mkdirSync, readdirSync, readFileSync, rmdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { cgroupMounts } from "@slimfast/cli";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Box, type Tier } from "../apps/box.js";
import { IS_FULL } from "../apps/stage.js";
import { Cluster } from "../fixture/cluster.js";
import { ticksOver } from "../fixture/cpu.js";
import { holdingsLike, type NodeProcesses, steadyHoldings } from "../fixture/holdings.js";
import { built } from "../fixture/programs.js";
import { until } from "../fixture/until.js";
import { pidsOf } from "./agent-process.js";

/** Of all ways to be interrupted, in each tier. */
const CALLS = IS_FULL ? 1_000_000 : 20_000;
const WAYS = ["kill", "stop", "freeze", "signal"] as const;
const TIMEOUT_MS = IS_FULL ? 1_800_000 : 240_000;
const TIERS: readonly Tier[] = ["notify", "auto"];
/** Of a neighbour. */
const NEIGHBOURS_CALLS = 500;
/** In which a thread that spins takes all, or half of it when the machine is busy. */
const INTERVAL_MS = 1_000;
/** What else a keeper may find to do in that time. */
const FEW_TICKS = 10;

/** What e2e/programs/interrupted.c prints. */
interface CallReport {
  readonly calls: number;
  readonly rounds: number;
  readonly inside: number;
  readonly interrupted: number;
  readonly errors: number;
  readonly errno: number;
  readonly strays: number;
}

/** What its loop begins with. */
interface Loop {
  readonly pid: number;
  /** Of the system calls by which a socket is made: socket(2), and what the preloaded library reads its socket by. */
  readonly numbers: readonly number[];
}

let cluster: Cluster;
let node: NodeProcesses;
/** What the keeper takes in an interval when it has nothing to do. */
let idle: number;

beforeAll(async () => {
  cluster = await Cluster.start({ nodes: 1 });
  node = pidsOf(cluster, "node-1");
  // What a node keeps open from its first endpoints on.
  for (const tier of TIERS) {
    const first = await Box.endpoint(cluster, "node-1", "first", tier);
    await calls(first, "kill", NEIGHBOURS_CALLS);
    await first.close();
  }
  idle = await ticksOver([node.keeper], INTERVAL_MS);
});

afterAll(async () => {
  await cluster?.stop();
});

function interrupted(...args: (string | number)[]): string[] {
  return [built("interrupted"), ...args.map(String)];
}

async function calls(box: Box, ...args: (string | number)[]): Promise<CallReport> {
  return JSON.parse(await box.output(interrupted(...args))) as CallReport;
}

describe.each(TIERS)("targets in socket(2), %s", (tier) => {
  async function withBoxes(body: (target: Box, neighbour: Box) => Promise<void>): Promise<void> {
    const target = await Box.endpoint(cluster, "node-1", "target", tier);
    const neighbour = await Box.endpoint(cluster, "node-1", "neighbour", tier);
    try {
      await body(target, neighbour);
    } finally {
      await neighbour.close();
      await target.close();
    }
  }

  it.each(WAYS)(
    `that somebody %ss, ${CALLS / WAYS.length} calls: nothing is left, and neighbours are served`,
    {
      timeout: TIMEOUT_MS,
    },
    async (way) => {
      const before = await steadyHoldings([node]);
      await withBoxes(async (target, neighbour) => {
        const [report, served] = await Promise.all([
          calls(target, way, CALLS / WAYS.length),
          calls(neighbour, "calls", CALLS / WAYS.length),
        ]);
        process.stdout.write(`${tier}, ${way}: ${JSON.stringify(report)}\n`);
        expect(report).toMatchObject({ errors: 0, errno: 0, strays: 0 });
        // They were where they were to be met.
        if (way === "stop" || way === "freeze") expect(report.inside).toBeGreaterThan(0);
        // A call is the kernel's to interrupt until the keeper has taken it; the preloaded library makes it again.
        if (way !== "signal" || tier === "auto") expect(report.interrupted).toBe(0);
        expect(served).toMatchObject({ errors: 0 });
        // And it is served as ever.
        expect(await calls(target, "calls", NEIGHBOURS_CALLS)).toMatchObject({ errors: 0 });
      });
      expect(await holdingsLike(before, [node])).toEqual(before);
    },
  );

  it.each([
    ["stopped", stopped],
    ["frozen", frozen],
  ] as const)("that stay %s: the keeper does nothing for them, and serves others", async (_, hold) => {
    const before = await steadyHoldings([node]);
    await withBoxes(async (target, neighbour) => {
      const program = await target.start(interrupted("loop"), { prints: /^\{.*\}$/m });
      const resume = await hold(JSON.parse(program.stdout) as Loop);
      try {
        expect((await ticksOver([node.keeper], INTERVAL_MS)) - idle, "CPU time in a second").toBeLessThan(FEW_TICKS);
        expect(await calls(neighbour, "calls", NEIGHBOURS_CALLS)).toMatchObject({ errors: 0 });
      } finally {
        resume();
      }
      program.closeInput();
      const { stdout } = await program.ended;
      expect(JSON.parse(stdout.split("\n").at(1) ?? "")).toMatchObject({ errors: 0, strays: 0 });
    });
    expect(await holdingsLike(before, [node])).toEqual(before);
  });
});

/** Whether a thread of it, which does not run, is in the call. */
function isInside({ pid, numbers }: Loop): boolean {
  return readdirSync(`/proc/${pid}/task`).some((tid) =>
    numbers.includes(Number.parseInt(readFileSync(`/proc/${pid}/task/${tid}/syscall`, "utf8"), 10)),
  );
}

/** Stops it until it is in the call, and returns what lets it go on. */
function stopped(loop: Loop): Promise<() => void> {
  const { pid } = loop;
  const isStopped = () => /^\d+ \(.*\) T/s.test(readFileSync(`/proc/${pid}/stat`, "utf8"));
  return caught(loop, {
    hold: () => process.kill(pid, "SIGSTOP"),
    isHeld: isStopped,
    letGo: () => process.kill(pid, "SIGCONT"),
    remove: () => undefined,
  });
}

function frozen(loop: Loop): Promise<() => void> {
  const { pid } = loop;
  const mount = cgroupMounts(["cgroup2"])[0];
  if (mount === undefined) throw new Error("no cgroup2 is mounted");
  const group = join(mount, `interrupted-${pid}`);
  const home = join(mount, /^0::(.*)$/m.exec(readFileSync(`/proc/${pid}/cgroup`, "utf8"))?.[1] ?? "");
  mkdirSync(group);
  writeFileSync(join(group, "cgroup.procs"), String(pid));
  return caught(loop, {
    hold: () => writeFileSync(join(group, "cgroup.freeze"), "1"),
    isHeld: () => /^frozen 1$/m.test(readFileSync(join(group, "cgroup.events"), "utf8")),
    letGo: () => writeFileSync(join(group, "cgroup.freeze"), "0"),
    remove: () => {
      writeFileSync(join(home, "cgroup.procs"), String(pid));
      rmdirSync(group);
    },
  });
}

interface Holding {
  hold(): void;
  isHeld(): boolean;
  letGo(): void;
  remove(): void;
}

async function caught(loop: Loop, { hold, isHeld, letGo, remove }: Holding): Promise<() => void> {
  await until(async () => {
    hold();
    await until(isHeld, `${loop.pid} is held`);
    if (isInside(loop)) return true;
    letGo();
    return false;
  }, `${loop.pid} is in socket(2)`);
  return () => {
    letGo();
    remove();
  };
}
