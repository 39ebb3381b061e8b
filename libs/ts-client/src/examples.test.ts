/** The examples, run as programs against a real controller. */
import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type ControllerClient, connectController } from "./index.js";

const START_MS = 30_000;
const CONTROLLER = fileURLToPath(new URL("../../../apps/controller/bundle/main.js", import.meta.url));
const EXAMPLES = fileURLToPath(new URL("../dist/examples/", import.meta.url));

let directory: string;
let address: string;
let controller: ChildProcess;
let client: ControllerClient;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-examples-"));
  address = `unix:${directory}/controller.sock`;
  const args = [CONTROLLER, "--listen", address, "--state-dir", join(directory, "state"), "--log-level", "silent"];
  controller = spawn(process.execPath, args, { stdio: ["ignore", "ignore", "inherit"] });
  client = connectController({ address });
  await client.ready(START_MS);
  await client.cluster.createNetwork({ network: { name: "default", prefix: "10.32.0.0/16", prefix6: "fd00:32::/64" } });
  await client.agent.registerNode({
    node: { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_000, count: 16 } },
    protocolVersion: 2,
  });
}, START_MS);

afterAll(async () => {
  client?.close();
  if (controller?.exitCode === null) {
    const ended = once(controller, "exit");
    controller.kill("SIGTERM");
    await ended;
  }
  rmSync(directory, { recursive: true, force: true });
});

async function run(name: string, ...args: string[]): Promise<string[]> {
  const { stdout } = await promisify(execFile)(process.execPath, [join(EXAMPLES, `${name}.js`), address, ...args]);
  return stdout.trimEnd().split("\n");
}

/** Runs one until it has printed the line, and then lets the caller go on. */
async function start(name: string, firstLine: string, ...args: string[]) {
  const child = spawn(process.execPath, [join(EXAMPLES, `${name}.js`), address, ...args], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  const ended = once(child, "exit");
  await new Promise<void>((resolve) => {
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (output.includes(firstLine)) resolve();
    });
    void ended.then(() => resolve());
  });
  return { child, ended, lines: () => output.trimEnd().split("\n") };
}

it(
  "list",
  async () => {
    expect(await run("list")).toEqual(["node node-1 10.200.0.1 gone", "network default 10.32.0.0/16 fd00:32::/64"]);
  },
  START_MS,
);

it(
  "watch",
  async () => {
    const watch = await start("watch", "is reported", "2");
    await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.33.0.0/16" } });
    await watch.ended;
    expect(watch.lines().filter((line) => !line.startsWith("everything"))).toEqual(["added default", "added blue"]);
    await client.cluster.deleteNetwork({ name: "blue" });
  },
  START_MS,
);

it(
  "policy",
  async () => {
    expect(await run("policy", "default")).toEqual([
      "0 of 0 connections would be denied",
      "changed: changed",
      expect.stringMatching(/^refused: aborted: it was changed meanwhile/),
      "deleted",
    ]);
  },
  START_MS,
);

it(
  "reservation",
  async () => {
    expect(await run("reservation", "node-1")).toEqual([
      "reserved 10 ports until its lease ends",
      "conflict: already_exists, held by reservation/example",
      "released",
    ]);
  },
  START_MS,
);

it(
  "tail",
  async () => {
    const tail = await start("tail", "following");
    tail.child.kill("SIGINT");
    await tail.ended;
    expect(tail.lines()).toEqual(["following", "ended"]);
  },
  START_MS,
);
