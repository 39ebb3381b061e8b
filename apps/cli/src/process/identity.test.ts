import { spawn } from "node:child_process";
import { once } from "node:events";
import { expect, it } from "vitest";
import { identityOf, isAlive, processesInNetns, signal, terminate } from "./identity.js";

it("knows a process as long as it runs", async () => {
  const child = spawn("sleep", ["60"]);
  const identity = identityOf(child.pid ?? 0);
  if (!identity) throw new Error("no identity");
  expect(isAlive(identity)).toBe(true);
  expect(await terminate([identity], 1_000)).toEqual([]);
  if (child.exitCode === null && child.signalCode === null) await once(child, "exit");
  expect(isAlive(identity)).toBe(false);
});

it("kills what does not heed SIGTERM", async () => {
  const child = spawn("sh", ["-c", "trap '' TERM; echo set; while :; do sleep 1; done"]);
  await once(child.stdout, "data");
  const identity = identityOf(child.pid ?? 0);
  if (!identity) throw new Error("no identity");
  expect(await terminate([identity], 50)).toEqual([identity]);
  expect(isAlive(identity)).toBe(false);
});

it("does not touch a process that has another one's pid", () => {
  // Would end the test run.
  signal({ pid: process.pid, startTime: "1" }, "SIGKILL");
});

it("finds nothing in a namespace that does not exist", () => {
  expect(processesInNetns("/run/netns/there-is-no-such-namespace")).toEqual([]);
});
