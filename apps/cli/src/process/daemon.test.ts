import { existsSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { isReadyLine, plainLogLine, startDaemon, waitUntilReady } from "./daemon.js";
import { isAlive, terminate } from "./identity.js";

let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-daemon-"));
});

afterEach(() => {
  rmSync(directory, { recursive: true });
});

it("waits for the line that says ready, and leaves the process running", async () => {
  const options = {
    name: "a daemon",
    command: "sh",
    args: ["-c", `echo starting; sleep 0.1; echo '{"ready":true}'; exec sleep 60`],
    logPath: join(directory, "log"),
  };
  const daemon = startDaemon(options);
  await waitUntilReady(daemon, options);
  expect(isAlive(daemon)).toBe(true);
  await terminate([daemon], 1_000);
});

it("shows the end of the log of one that ends before it is ready", async () => {
  const options = {
    name: "a daemon",
    command: "sh",
    args: ["-c", "echo the port is taken >&2; exit 1"],
    logPath: join(directory, "log"),
  };
  // It may end before it has been looked at for the first time.
  const started = async () => waitUntilReady(startDaemon(options), options);
  await expect(started()).rejects.toThrow(/a daemon ended at once:\n {2}the port is taken/);
  expect(existsSync(options.logPath)).toBe(true);
});

it("knows a ready line from others", () => {
  expect(isReadyLine('{"ready":true,"pid":1}')).toBe(true);
  expect(isReadyLine('{"ready":false}')).toBe(false);
  expect(isReadyLine('{"msg":"\\"ready\\":true"}')).toBe(false);
  expect(isReadyLine('{"ready":tr')).toBe(false);
});

it("reduces log records to their messages", () => {
  expect(plainLogLine('{"level":50,"msg":"cannot start","err":{"message":"no such file"}}')).toBe(
    "cannot start: no such file",
  );
  expect(plainLogLine("plain")).toBe("plain");
});
