/** `slimfast run`: the command's exit code, signals, input and output are its own, and it reaches other endpoints. */
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Output } from "./fixture/background.js";
import { Cli, ending, type StatusReport } from "./testing/cli.js";

const cli = new Cli(`/run/slimfast-e2e-run-${process.pid}`);

beforeAll(async () => {
  await cli.json("up", "--detach");
});

afterAll(async () => {
  await cli.run(["down"]);
});

async function endpoints(): Promise<StatusReport["controller"]["endpoints"]> {
  return (await cli.json<StatusReport>("status")).controller.endpoints;
}

/** The address of an endpoint that is being started. */
async function addressOf(name: string): Promise<string> {
  for (let attempt = 0; attempt < 100; attempt += 1) {
    const found = (await endpoints()).find((endpoint) => endpoint.name === name);
    if (found) return found.address;
    await sleep(50);
  }
  throw new Error(`no endpoint ${name}`);
}

describe("the command", () => {
  it.each(["auto", "notify", "preload"])("keeps its exit code (%s)", async (tier) => {
    expect((await cli.run(["run", "--tier", tier, "--", "sh", "-c", "exit 7"])).exitCode).toBe(7);
  });

  it("keeps its input and output", async () => {
    const result = await cli.run(["run", "--", "sh", "-c", "cat; echo oops >&2"], "typed\n");
    expect(result).toEqual({ stdout: "typed\n", stderr: "oops\n", exitCode: 0, signal: null });
  });

  it("gets the options that stand behind its name", async () => {
    expect((await cli.run(["run", "--", "echo", "--node", "--json", "--"])).stdout).toBe("--node --json --\n");
    expect((await cli.run(["run", "echo", "--json"])).stdout).toBe("--json\n");
  });

  it("makes the launcher end by the signal that it ended by", async () => {
    expect((await cli.run(["run", "--", "sh", "-c", "kill -USR1 $$"])).signal).toBe("SIGUSR1");
  });

  it("gets the signals that are sent to slimfast", async () => {
    const child = cli.start([
      "run",
      "--name",
      "patient",
      "--",
      "sh",
      "-c",
      "trap 'exit 9' TERM; echo set; while :; do sleep 0.1; done",
    ]);
    const ended = ending(child);
    await new Promise((ready) => child.stdout?.once("data", ready));
    child.kill("SIGTERM");
    expect(await ended).toMatchObject({ exitCode: 9, signal: null });
  });

  it("leaves no endpoint behind, however it ended", async () => {
    await cli.run(["run", "--", "true"]);
    await cli.run(["run", "--", "sh", "-c", "kill -KILL $$"]);
    await cli.run(["run", "--", "/there/is/no/such/program"]);
    expect(await endpoints()).toEqual([]);
  });
});

describe("a failure of run itself", () => {
  it.each([
    [["--node", "nowhere"], "there is no node nowhere"],
    [["--network", "nowhere"], "nowhere"],
    [["--publish", "80"], "--publish 80"],
    [["--tier", "fast"], "--tier"],
    [["--name", "Not_A_Label"], "name"],
  ])("%j ends with 125 and says why", async (options, text) => {
    const result = await cli.run(["run", ...options, "--", "true"]);
    expect(result.exitCode).toBe(125);
    expect(result.stderr).toContain(text);
  });

  it("names who holds a name that is taken", async () => {
    const child = cli.start(["run", "--name", "taken", "--", "sleep", "60"]);
    const ended = ending(child);
    await addressOf("taken");
    const result = await cli.run(["run", "--name", "taken", "--", "true"]);
    expect(result.exitCode).toBe(125);
    expect(result.stderr).toContain("taken");
    child.kill("SIGTERM");
    await ended;
  });
});

describe("between endpoints", () => {
  it.each([
    ["node-1", "node-1"],
    ["node-1", "node-2"],
  ])("curl on %s reaches a server on %s by its overlay address", async (clientNode, serverNode) => {
    const name = `web-${clientNode}-${serverNode}`;
    const server = cli.start([
      "run",
      "--node",
      serverNode,
      "--name",
      name,
      "--",
      "python3",
      "-u",
      "-m",
      "http.server",
      "80",
    ]);
    const output = new Output(server);
    const address = await addressOf(name);
    await output.untilMatch(/Serving HTTP/, name);
    const format = "%{http_code} %{remote_ip}";
    const curl = ["curl", "-sS", "-m", "10", "-o", "/dev/null", "-w", format, `http://${address}/`];
    for (const tier of ["notify", "preload"]) {
      const result = await cli.run(["run", "--node", clientNode, "--tier", tier, "--", ...curl]);
      expect(result.stdout, result.stderr).toBe(`200 ${address}`);
    }
    server.kill("SIGTERM");
    await output.ended;
  });
});
