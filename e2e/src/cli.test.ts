/** The everyday commands: terminals, many endpoints at once, what scripts read, and crashes in the middle of work. */
import { spawn } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Background, Output } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { Cli, type CliResult, ending, type StatusReport } from "./testing/cli.js";
import { type MachineState, machineState } from "./testing/machine.js";
import { peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";
import { ROOT, runIn } from "./testing/surroundings.js";

const PORT = 80;
const ADDRESS = expect.stringMatching(/^10\.32\.\d+\.\d+$/);

interface ConnectionJson {
  readonly endpoint: string;
  readonly peerEndpoint: string;
  readonly direction: string;
  readonly tier: string;
  readonly state: string;
  readonly local: { readonly address: string; readonly port: number };
  readonly peer: { readonly address: string; readonly port: number };
  readonly underlayLocal: { readonly address: string; readonly port: number };
  readonly underlayPeer: { readonly address: string; readonly port: number };
  readonly bytesSent: number;
  readonly bytesReceived: number;
  readonly rttUs: number;
  readonly durationUs: number;
  readonly setupUs: number;
}

interface EventJson {
  readonly kind: string;
  readonly error: string;
  readonly connection: ConnectionJson;
}

describe("a cluster", () => {
  let cluster: Cluster;
  let server: Background;

  beforeAll(async () => {
    cluster = await Cluster.start();
    server = await cluster.start({ node: "node-2", name: "server", ready: SERVER_READY }, peerServer(PORT, "server"));
  });

  afterAll(async () => {
    await cluster?.stop();
  });

  /** `slimfast` on a terminal of its own; `input` is what somebody types once `ready` can be seen. */
  async function onTerminal(command: string, input = "", ready = /^/): Promise<CliResult> {
    const main = `${process.execPath} ${ROOT}/apps/cli/bundle/main.js`;
    // exec: a shell that stayed in between would be ended by Ctrl-C itself, and its end taken for the command's.
    const child = spawn("script", ["-qec", `exec ${main} ${command}`, "/dev/null"], {
      stdio: ["pipe", "pipe", "pipe"],
      env: { ...process.env, SHELL: "/bin/sh", SLIMFAST_RUN_DIR: cluster.runDir },
    });
    const output = new Output(child);
    await output.untilMatch(ready, "the terminal");
    if (input !== "") child.stdin.write(input);
    return output.ended;
  }

  function runOnTerminal(command: string, ...typing: [input?: string, ready?: RegExp]): Promise<CliResult> {
    return onTerminal(`run -- ${command}`, ...typing);
  }

  it("top on a terminal is drawn again and again on a screen of its own, until q", async () => {
    const drawnTwice = /nodes 2 of 2 connected.*nodes 2 of 2 connected/s;
    const { stdout, exitCode } = await onTerminal("top", "q", drawnTwice);
    expect(exitCode).toBe(0);
    // The alternate screen is taken and left again, with the cursor back.
    expect(stdout.startsWith("\u001b[?1049h")).toBe(true);
    expect(stdout.trimEnd().endsWith("\u001b[?25h\u001b[?1049l")).toBe(true);
  });

  describe("run on a terminal", () => {
    it("gives it to the command", async () => {
      const { stdout, exitCode } = await runOnTerminal(`sh -c "test -t 0 && test -t 1 && test -t 2 && tty && exit 5"`);
      expect(stdout).toContain("/dev/pts/");
      expect(exitCode).toBe(5);
    });

    it("lets a shell with job control work", async () => {
      const { stdout, exitCode } = await runOnTerminal("bash --norc -i", "sleep 60 &\rjobs\rkill %1\rexit 6\r", /\$|#/);
      expect(stdout).not.toContain("no job control");
      expect(stdout).toMatch(/\[1\]\+? +Running +sleep 60/);
      expect(exitCode).toBe(6);
    });

    it("leaves Ctrl-C to the command, once", async () => {
      const trap = "trap 'count=x$count; echo got-$count' INT; echo set; sleep 1; sleep 1; exit 7";
      const { stdout, exitCode } = await runOnTerminal(`sh -c "${trap.replaceAll("$", "\\$")}"`, "\x03", /set/);
      expect(stdout).toContain("got-x");
      expect(stdout).not.toContain("got-xx");
      expect(exitCode).toBe(7);
    });

    it("ends as a command does that Ctrl-C ends", async () => {
      const { exitCode } = await runOnTerminal(`sh -c "echo set; sleep 60"`, "\x03", /set/);
      expect(exitCode).toBe(130);
    });
  });

  describe("run in the background", () => {
    it("goes on without a terminal and without input", async () => {
      const run = `${process.execPath} ${ROOT}/apps/cli/bundle/main.js run -- sh -c "read line; echo end of input"`;
      const result = await runIn([], ["sh", "-c", `${run} </dev/null & wait $!`], { SLIMFAST_RUN_DIR: cluster.runDir });
      expect(result).toMatchObject({ stdout: "end of input\n", exitCode: 0 });
    });

    it("runs many endpoints at once, which all reach each other", { timeout: 120_000 }, async () => {
      const count = 12;
      const servers = await Promise.all(
        Array.from({ length: count }, (_, index) =>
          cluster.start(
            { node: index % 2 === 0 ? "node-1" : "node-2", name: `many-${index}`, ready: SERVER_READY },
            peerServer(PORT, `many-${index}`),
          ),
        ),
      );
      expect(new Set(servers.map(({ address }) => address)).size).toBe(count);
      const targets = servers.map(({ address }) => `${address}:${PORT}`);
      const outputs = await Promise.all(
        ["node-1", "node-2", "node-1", "node-2"].map((node) => cluster.output({ node }, peerClient(targets))),
      );
      for (const output of outputs) {
        expect(readReports(output).map(({ answer }) => answer?.label)).toEqual(servers.map(({ name }) => name));
      }
      await Promise.all(servers.map((background) => background.stop()));
      expect((await cluster.status()).controller.endpoints.map(({ name }) => name)).toEqual(["server"]);
    });

    it("makes up names that do not clash", async () => {
      const runs = Array.from({ length: 4 }, () => cluster.cli.start(["run", "--", "cat"]));
      const ends = runs.map(ending);
      const names = await until(async () => {
        const { endpoints } = (await cluster.status()).controller;
        return endpoints.length === 5 ? endpoints.map(({ name }) => name) : null;
      }, "four endpoints beside the server");
      expect(new Set(names).size).toBe(5);
      for (const run of runs) run.stdin?.end();
      for (const { exitCode } of await Promise.all(ends)) expect(exitCode).toBe(0);
    });
  });

  describe("what scripts read", () => {
    it("status --json", async () => {
      const status = await cluster.cli.json<Record<string, unknown>>("status");
      expect(status).toMatchObject({
        ok: true,
        runDir: cluster.runDir,
        frontPorts: { first: 7000, count: 16 },
        controller: {
          ok: true,
          error: null,
          networks: [{ name: "default", vni: 1, prefix: "10.32.0.0/16" }],
          endpoints: [
            { name: "server", network: "default", node: `${cluster.tag}node-2`, address: ADDRESS, publishedPorts: [] },
          ],
        },
        nodes: [1, 2].map((number) => ({
          name: `${cluster.tag}node-${number}`,
          netns: cluster.netnsOf(`node-${number}`),
          underlayAddress: `10.200.0.${number}`,
          ok: true,
          error: null,
          agent: {
            pid: expect.any(Number),
            controllerConnected: true,
            attachedEndpoints: number - 1,
            counters: { opened: expect.any(Number), events_lost: 0 },
          },
        })),
      });
    });

    it("doctor --json", async () => {
      const { ok, checks } = await cluster.cli.json<{ ok: boolean; checks: Record<string, unknown>[] }>("doctor");
      expect(ok).toBe(true);
      for (const check of checks) {
        expect(Object.keys(check).sort()).toEqual(["detail", "name", "ok", "remedy", "required"]);
        expect(check.ok === false || check.remedy === null).toBe(true);
      }
      const names = checks.map(({ name }) => name);
      for (const name of ["host.root", "host.run_dir", "host.front_ports", "host.cgroup2", "kernel.seccomp_notify"]) {
        expect(names).toContain(name);
      }
      expect(new Set(names).size).toBe(names.length);
    });

    it.each(["notify", "preload"] as const)("connections --json (%s)", async (tier) => {
      const held = await hold(tier);
      const connections = await cluster.cli.json<ConnectionJson[]>("connections");
      const [local, remote] = held.ends;
      const outbound = connections.find(({ direction }) => direction === "outbound");
      const inbound = connections.find(({ direction }) => direction === "inbound");
      expect(connections).toHaveLength(2);
      expect(outbound).toMatchObject({
        endpoint: held.client.name,
        peerEndpoint: "server",
        tier,
        state: "ESTABLISHED",
        local,
        peer: remote,
        underlayLocal: { address: "10.200.0.1" },
        underlayPeer: { address: "10.200.0.2" },
      });
      expect(inbound).toMatchObject({
        endpoint: "server",
        peerEndpoint: held.client.name,
        state: "ESTABLISHED",
        local: remote,
        peer: local,
        underlayLocal: outbound?.underlayPeer,
        underlayPeer: outbound?.underlayLocal,
      });
      expect(outbound?.underlayPeer.port).toBeGreaterThanOrEqual(7000);
      expect(outbound?.underlayPeer.port).toBeLessThan(7016);
      expect(outbound?.bytesReceived).toBe(inbound?.bytesSent);
      expect(outbound?.bytesReceived).toBeGreaterThan(0);
      expect(outbound?.rttUs).toBeGreaterThan(0);
      expect(outbound?.setupUs).toBeGreaterThan(0);
      held.client.closeInput();
      await held.client.ended;
      expect(await cluster.cli.json("connections")).toEqual([]);
    });

    it("connections --follow --json", async () => {
      const child = cluster.cli.start(["connections", "--follow", "--json"]);
      const output = new Output(child);
      const events = () =>
        output.stdout
          .split("\n")
          .slice(0, -1)
          .map((line) => JSON.parse(line) as EventJson);
      // Whether it watches yet shows only in what it prints.
      await until(async () => {
        await cluster.output({}, peerClient([`${server.address}:${PORT}`]));
        return events().some(({ kind }) => kind === "closed");
      }, "a first event");
      const seen = events().length;
      await cluster.output({ name: "followed" }, peerClient([`${server.address}:${PORT}`, `${server.address}:81`]));
      const isOver = () =>
        events()
          .slice(seen)
          .filter(({ connection }) => concernsFollowed(connection)).length >= 5;
      await until(isOver, "all events of the two connections");
      child.kill("SIGINT");
      const { exitCode, stderr } = await output.ended;
      expect(stderr).toBe("");
      expect(exitCode).toBe(0);
      const ofFollowed = events()
        .slice(seen)
        .filter(({ connection }) => concernsFollowed(connection));
      const outbound = ofFollowed.filter(({ connection }) => connection.endpoint === "followed");
      const inbound = ofFollowed.filter(({ connection }) => connection.endpoint === "server");
      // The first connection may end after the second one was refused.
      expect(outbound.map(({ kind }) => kind).sort()).toEqual(["closed", "opened", "refused"]);
      expect(inbound.map(({ kind }) => kind)).toEqual(expect.arrayContaining(["accepted", "closed"]));
      const [opened, closed, refused] = ["opened", "closed", "refused"].map((kind) =>
        outbound.find((event) => event.kind === kind),
      );
      expect(opened?.connection).toMatchObject({
        direction: "outbound",
        local: { address: ADDRESS },
        peer: { port: PORT },
      });
      expect(closed?.connection.bytesReceived).toBeGreaterThan(0);
      expect(closed?.connection.durationUs).toBeGreaterThan(0);
      expect(closed?.connection.rttUs).toBeGreaterThan(0);
      expect(refused).toMatchObject({ error: "ECONNREFUSED", connection: { peer: { port: 81 } } });
      const closedInbound = inbound.find(({ kind }) => kind === "closed");
      expect(closedInbound?.connection.bytesSent).toBe(closed?.connection.bytesReceived);
    });

    function concernsFollowed({ endpoint, peerEndpoint }: ConnectionJson): boolean {
      return endpoint === "followed" || peerEndpoint === "followed";
    }

    /** A client that keeps its connection to the server. */
    async function hold(tier: "notify" | "preload") {
      const command = peerClient([`${server.address}:${PORT}`], { HOLD: "yes" });
      const client = await cluster.start({ tier, ready: { prints: /"label": "server"/ } }, command);
      const [report] = readReports(client.stdout);
      const ends = [report?.local, report?.peer].map((text) => {
        const [address = "", port = ""] = text?.split(":") ?? [];
        return { address, port: Number(port) };
      });
      return { client, ends };
    }
  });

  it("bench setup --json measures all four beside it", { timeout: 120_000 }, async () => {
    const options = ["--rounds", "1", "--connections", "200", "--requests", "100", "--bulk-seconds", "0.1"];
    const report = await cluster.cli.json<{ ok: boolean; setup: Record<string, object> }>("bench", "setup", ...options);
    expect(report).toMatchObject({ ok: true, rounds: 1, connections: 200, requests: 100, bulkSeconds: 0.1 });
    for (const configuration of ["host", "vxlan", "notify", "preload"]) {
      expect(report.setup[configuration]).toMatchObject({
        p50Us: expect.any(Number),
        p99Us: expect.any(Number),
        perSecond: expect.any(Number),
      });
    }
  });
});

describe("wrong usage", () => {
  const runDir = `/run/slimfast-e2e-usage-${process.pid}`;
  const cli = new Cli(runDir);

  it.each([
    [["no-such-command"]],
    [["up", "--no-such-option"]],
    [["up", "--nodes", "many"]],
    [["up", "--front-ports", "70000:16"]],
    [["connections", "--folow"]],
    [["bench", "setup", "--rounds", "0"]],
    [["bench", "no-such-bench"]],
    [["network", "create", "blue"]],
    [["test", "no-such-suite"]],
  ])("ends with 2 and says what is wrong: %j", async (args) => {
    const { exitCode, stdout, stderr } = await cli.run(args);
    expect(exitCode).toBe(2);
    expect(stdout).toBe("");
    expect(stderr).not.toBe("");
    expect(stderr).not.toContain("    at ");
  });

  it("of run ends with 125, as its own failures do", async () => {
    expect((await cli.run(["run"])).exitCode).toBe(125);
    expect((await cli.run(["run", "--tier", "fast", "true"])).exitCode).toBe(125);
  });

  it("is told by commands that need a cluster", async () => {
    for (const args of [["status"], ["connections"], ["network", "list"]]) {
      const { exitCode, stderr } = await cli.run(args);
      expect(exitCode).toBe(3);
      expect(stderr).toContain("slimfast up --detach");
    }
  });

  it("is not asking for help, the version or the suites", async () => {
    for (const args of [["--help"], ["--version"], ["run", "--help"], ["test", "--list"]]) {
      const { exitCode, stdout, stderr } = await cli.run(args);
      expect({ exitCode, stderr }).toEqual({ exitCode: 0, stderr: "" });
      expect(stdout).not.toBe("");
    }
    expect(JSON.parse((await cli.run(["test", "--list", "--json"])).stdout)).toBeTruthy();
  });
});

describe("an interruption", () => {
  const runDir = `/run/slimfast-e2e-interrupt-${process.pid}`;
  const cli = new Cli(runDir);

  it.each([
    ["up", "--detach"],
    ["bench", "setup"],
  ])("of %s leaves nothing", async (...args) => {
    const before = machineState(runDir, runDir);
    const child = cli.start(args);
    const output = new Output(child);
    const [, tag = ""] = await output.untilMatch(/starting the agents of (\w{4}-)node-1/, "the start");
    child.kill("SIGINT");
    const { exitCode, stdout } = await output.ended;
    expect(exitCode).toBe(130);
    expect(stdout).toBe("");
    expect(machineState(runDir, tag)).toEqual(before);
  });
});

describe("a crash in the middle of work", () => {
  const runDir = `/run/slimfast-e2e-crash-${process.pid}`;
  const cli = new Cli(runDir);
  let before: MachineState;
  let tag = "";

  beforeEach(async () => {
    // Nothing of a run directory that has not existed can be there.
    before = machineState(runDir, runDir);
    const up = await cli.json<{ nodes: { name: string }[] }>("up", "--detach");
    tag = up.nodes[0]?.name.replace(/node-1$/, "") ?? "";
  });

  afterEach(async () => {
    await cli.run(["down"]);
    expect(machineState(runDir, tag)).toEqual(before);
  });

  /** A server and a client with many connections between them, until somebody ends them. */
  async function traffic(): Promise<Promise<CliResult>[]> {
    const bench = `${process.env.CARGO_TARGET_DIR || `${ROOT}/target`}/release/slimfast-bench`;
    const server = cli.start(["run", "--node", "node-2", "--name", "server", "--", bench, "serve", "--port", "7100"]);
    const serverOutput = new Output(server);
    await serverOutput.untilMatch(/"ready":true/, "the server");
    const { address } = (await cli.json<StatusReport>("status")).controller.endpoints[0] ?? { address: "" };
    const forEver = ["connect", "--to", `${address}:7100`, "--count", "100000000", "--concurrency", "2"];
    const clients = ["notify", "preload"].map((tier) =>
      ending(
        cli.start([
          "run",
          "--node",
          "node-1",
          "--tier",
          tier,
          "--publish",
          `${8080 + tier.length}:80`,
          "--",
          bench,
          ...forEver,
        ]),
      ),
    );
    await until(async () => {
      // Not by its exit code: with every CPU taken by the clients, a node may answer too late for one question.
      const { nodes } = JSON.parse((await cli.run(["status", "--json"])).stdout) as StatusReport;
      return (nodes[1]?.agent?.counters.accepted ?? 0) > 1_000;
    }, "connections are made");
    return [serverOutput.ended, ...clients];
  }

  function killRecorded(): void {
    const { processes } = JSON.parse(readFileSync(`${runDir}/cluster.json`, "utf8")) as {
      processes: { pid: number }[];
    };
    expect(processes).toHaveLength(3);
    for (const { pid } of processes) process.kill(pid, "SIGKILL");
  }

  it("is cleaned up by down", async () => {
    const running = await traffic();
    killRecorded();
    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
    await Promise.all(running);
    expect(machineState(runDir, tag)).toEqual(before);
  });

  it("of all its processes is made good by the next up, and the work goes on", async () => {
    const running = await traffic();
    const { endpoints } = (await cli.json<StatusReport>("status")).controller;
    killRecorded();
    const up = await cli.run(["up", "--detach"]);
    expect(up.stdout).toMatch(/^Started again: the controller, the agent of .*node-1, the agent of .*node-2\./);
    expect(up.exitCode).toBe(0);
    const names = (list: StatusReport["controller"]["endpoints"]) => list.map(({ name }) => name).sort();
    await until(async () => {
      const { ok, controller } = JSON.parse((await cli.run(["status", "--json"])).stdout) as StatusReport;
      return ok && names(controller.endpoints).join() === names(endpoints).join();
    }, "the cluster is as it was");
    expect((await cli.run(["run", "--", "true"])).exitCode).toBe(0);
    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
    await Promise.all(running);
    expect(machineState(runDir, tag)).toEqual(before);
  });

  it("of one part is told by status, and down ends the rest", async () => {
    const running = await traffic();
    const { nodes } = await cli.json<StatusReport>("status");
    process.kill(nodes[1]?.agent?.pid ?? 0, "SIGKILL");
    const status = await cli.run(["status", "--json"]);
    expect(status.exitCode).toBe(1);
    expect(JSON.parse(status.stdout)).toMatchObject({ ok: false, nodes: [{ ok: true }, { ok: false }] });
    for (const command of [["connections"], ["run", "--node", "node-2", "--", "true"]]) {
      const result = await cli.run(command);
      expect(result.exitCode).toBe(command[0] === "run" ? 125 : 1);
      expect(result.stderr).toMatch(/node-2\/agent\.sock is unavailable: .*\n {2}slimfast status shows/);
    }
    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
    await Promise.all(running);
  });

  it("of the work itself is none: down ends what runs in endpoints", async () => {
    const running = await traffic();
    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
    await Promise.all(running);
  });
});
