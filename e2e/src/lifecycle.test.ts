/** A cluster comes up, goes down, crashes and is cleaned up: after each, the machine is as it was. */
import { createHash } from "node:crypto";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { until } from "./fixture/until.js";
import { Cli, ending, type StatusReport } from "./testing/cli.js";
import { differences, type MachineState, machineState } from "./testing/machine.js";

const RUN_DIR = `/run/slimfast-e2e-${process.pid}`;
/** As the command line derives it; also checked by the names that `up` reports. */
const TAG = createHash("sha256").update(RUN_DIR).digest("hex").slice(0, 4);
const cli = new Cli(RUN_DIR);

let before: MachineState;

beforeEach(() => {
  before = machineState(RUN_DIR, `${TAG}-`);
});

afterEach(async () => {
  await cli.run(["down"]);
  expectAsBefore();
});

function expectAsBefore(): void {
  expect(differences(before, machineState(RUN_DIR, `${TAG}-`))).toEqual([]);
}

async function agentPids(): Promise<number[]> {
  const { nodes } = await cli.json<StatusReport>("status");
  return nodes.map(({ name, agent }) => {
    if (!agent) throw new Error(`no agent on ${name}`);
    return agent.pid;
  });
}

describe("up and down", () => {
  it("bring a cluster up, report it, and remove it", async () => {
    const up = await cli.json<{ nodes: { name: string; netns: string }[] }>("up", "--detach", "--nodes", "3");
    expect(up.nodes.map((node) => node.netns)).toEqual([1, 2, 3].map((number) => `sf-${TAG}-node-${number}`));
    const status = await cli.json<StatusReport>("status");
    expect(status.ok).toBe(true);
    expect(await cli.json("network", "list")).toMatchObject([{ name: "default", prefix: "10.32.0.0/16" }]);

    const again = await cli.run(["up", "--detach"]);
    expect(again.exitCode).toBe(4);
    expect(again.stderr).toContain("is up already");

    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
    expect(await cli.json("down")).toEqual({ ok: true, removed: false });
    expect((await cli.run(["status"])).exitCode).toBe(3);
    expect((await cli.run(["run", "--", "true"])).exitCode).toBe(125);
  });

  it("stays in the foreground until Ctrl-C", async () => {
    const child = cli.start(["up"]);
    const ended = ending(child);
    await isUp();
    child.kill("SIGINT");
    const { exitCode, stdout } = await ended;
    expect(exitCode).toBe(0);
    expect(stdout).toContain("Ctrl-C ends it");
    expectAsBefore();
  });

  it("in the foreground starts an agent again that dies, and ends when the controller does", async () => {
    const child = cli.start(["up"]);
    const ended = ending(child);
    await isUp();
    const [, second] = await agentPids();
    if (second === undefined) throw new Error("there is no second agent");
    process.kill(second, "SIGKILL");
    await until(() => !recorded().some(({ pid }) => pid === second), "the agent is started again");
    await isUp();
    const controller = recorded().find(({ role }) => role === "controller");
    if (!controller) throw new Error("there is no controller");
    process.kill(controller.pid, "SIGKILL");
    const { exitCode, stderr } = await ended;
    expect(exitCode).toBe(1);
    expect(stderr).toContain("the controller has ended");
    expectAsBefore();
  });

  it("refuses wrong options without touching anything", async () => {
    for (const args of [["--nodes", "0"], ["--front-ports", "7000"], ["--front-ports", "65535:16"], ["--no-such"]]) {
      expect((await cli.run(["up", ...args])).exitCode, args.join(" ")).toBe(2);
    }
    expectAsBefore();
  });
});

describe("after a crash", () => {
  it("the next up starts the agents again when all of them were killed", async () => {
    await cli.json("up", "--detach");
    for (const pid of await agentPids()) process.kill(pid, "SIGKILL");
    const up = await cli.run(["up", "--detach"]);
    expect(up.stdout).toMatch(/Started again: the agent of .*node-1, the agent of .*node-2\./);
    expect(up.exitCode).toBe(0);
    await isUp();
    await cli.json("down");
  });

  it("the next up starts afresh when the foreground command was killed", async () => {
    const child = cli.start(["up"]);
    const ended = ending(child);
    await isUp();
    child.kill("SIGKILL");
    await ended;
    expect((await cli.run(["up", "--detach"])).exitCode).toBe(0);
  });

  it("down removes what an up has left that was killed before it had recorded anything", async () => {
    mkdirSync(`${RUN_DIR}/logs`, { recursive: true });
    writeFileSync(`${RUN_DIR}/cluster.lock`, JSON.stringify({ pid: process.pid, startTime: "0" }));
    writeFileSync(`${STATE}.new`, "{");
    expect(await cli.json("down")).toEqual({ ok: true, removed: false });
    expectAsBefore();
  });

  it("down ends processes that an up had started, but not recorded, when it was killed", async () => {
    await cli.json("up", "--detach");
    const state = JSON.parse(readFileSync(STATE, "utf8")) as Record<string, unknown>;
    writeFileSync(STATE, JSON.stringify({ ...state, phase: "starting", processes: [] }));
    await cli.json("down");
    expectAsBefore();
  });

  it("down removes what an agent has left whose journal nobody can read", async () => {
    const { nodes } = await cli.json<{ nodes: { name: string }[] }>("up", "--detach", "--nodes", "1");
    for (const pid of await agentPids()) process.kill(pid, "SIGKILL");
    writeFileSync(`${RUN_DIR}/${nodes[0]?.name}/journal.json`, "{");
    const down = await cli.run(["down"]);
    expect(down, down.stderr).toMatchObject({ exitCode: 0 });
  });

  it.each([150, 300, 450, 700, 1_000])(
    "down removes what an up has left that was killed after %i ms",
    async (delayMs) => {
      const child = cli.start(["up", "--detach"]);
      const ended = ending(child);
      await sleep(delayMs);
      child.kill("SIGKILL");
      await ended;
      expect((await cli.run(["down"])).exitCode).toBe(0);
      expectAsBefore();
    },
  );
});

/** The file that says what the cluster consists of. */
const STATE = `${RUN_DIR}/cluster.json`;

/** Processes of the cluster, as its state file names them. */
function recorded(): readonly { role: string; pid: number }[] {
  const { processes } = JSON.parse(readFileSync(STATE, "utf8")) as {
    processes: { role: string; pid: number }[];
  };
  return processes;
}

async function isUp(): Promise<void> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    if ((await cli.run(["status"])).exitCode === 0) return;
    await sleep(100);
  }
  throw new Error("the cluster did not come up");
}
