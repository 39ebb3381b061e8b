/** `slimfast demo`: prints exactly the object that scripts rely on, and leaves nothing, however it ends. */
import { createHash } from "node:crypto";
import { afterEach, beforeEach, expect, it } from "vitest";
import { Output } from "./fixture/background.js";
import { until } from "./fixture/until.js";
import { Cli } from "./testing/cli.js";
import { machineState } from "./testing/machine.js";

const CONFIGURATIONS = ["host", "vxlan", "notify", "preload"];
const DEMO_TIMEOUT_MS = 180_000;

const runDir = `/run/slimfast-e2e-demo-${process.pid}`;
const tag = `${createHash("sha256").update(runDir).digest("hex").slice(0, 4)}-`;
const cli = new Cli(runDir);
let before: unknown;

beforeEach(() => {
  before = machineState(runDir, tag);
});

afterEach(async () => {
  expect(machineState(runDir, tag)).toEqual(before);
});

it("--once --json prints one object and ends with 0 when everything worked", { timeout: DEMO_TIMEOUT_MS }, async () => {
  const { stdout, exitCode } = await cli.run(["demo", "--once", "--json"]);
  const report = JSON.parse(stdout) as {
    ok: unknown;
    checks: Record<string, unknown>[];
    setup: Record<string, Record<string, unknown>>;
  };
  expect(Object.keys(report)).toEqual(["ok", "checks", "setup"]);
  expect(report.checks.filter(({ ok }) => ok !== true)).toEqual([]);
  expect(report.ok).toBe(true);
  expect(exitCode).toBe(0);
  expect(report.checks.length).toBeGreaterThanOrEqual(8);
  for (const check of report.checks) {
    expect(Object.keys(check)).toEqual(["name", "ok", "detail"]);
    expect(check).toMatchObject({ name: expect.any(String), detail: expect.any(String) });
  }
  expect(Object.keys(report.setup).sort()).toEqual([...CONFIGURATIONS].sort());
  for (const times of Object.values(report.setup)) {
    expect(Object.keys(times).sort()).toEqual(["p50Us", "p99Us", "perSecond"]);
    for (const value of Object.values(times)) expect(value).toBeGreaterThan(0);
  }
});

it("Ctrl-C in the middle removes every trace", { timeout: DEMO_TIMEOUT_MS }, async () => {
  const child = cli.start(["demo"]);
  const output = new Output(child);
  await output.untilMatch(/checking from/, "demo");
  // A container and programs run by now.
  expect(machineState(runDir, tag)).not.toEqual(before);
  child.kill("SIGINT");
  expect((await output.ended).exitCode).toBe(130);
});

it("stays until Ctrl-C with the next commands to try, which work", { timeout: DEMO_TIMEOUT_MS }, async () => {
  const child = cli.start(["demo"]);
  const output = new Output(child);
  await until(
    () => {
      output.assertRunning("demo");
      return output.stdout.includes("Ctrl-C ends the demo");
    },
    "the demo stays",
    DEMO_TIMEOUT_MS,
  );
  expect(output.stdout).toContain("Everything worked.");
  const command = /slimfast (run --node \S+ -- curl \S+)/.exec(output.stdout)?.[1] ?? "";
  const { stdout, exitCode } = await cli.run(command.split(" "));
  expect(exitCode).toBe(0);
  expect(stdout).toContain("server 10.32.");
  expect((await cli.run(["up", "--detach"])).exitCode).toBe(4);
  child.kill("SIGINT");
  expect((await output.ended).exitCode).toBe(0);
});
