/**
 * Whatever goes wrong for a connection is the errno of plain TCP; whatever is wrong with an input or with the machine is
 * said, with the way out of it, and leaves nothing behind.
 */
import { execFileSync, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { connectController } from "@slimfast/client";
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { Cli, type CliResult, type StatusReport } from "./testing/cli.js";
import { machineState } from "./testing/machine.js";
import { peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";
import { cliIn, NO_BTF, NO_CGROUP2, NOBODY, ROOT, runIn, withoutSystemCall } from "./testing/surroundings.js";

const PORT = 80;
const TIERS = ["notify", "preload"] as const;
const NODES = ["node-1", "node-2"] as const;

interface Check {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
  readonly remedy: string | null;
}

function checksOf(doctor: CliResult): Map<string, Check> {
  const { checks } = JSON.parse(doctor.stdout) as { checks: Check[] };
  return new Map(checks.map((check) => [check.name, check]));
}

describe("with a cluster", () => {
  let cluster: Cluster;
  let server: Background;

  beforeAll(async () => {
    cluster = await Cluster.start();
    server = await cluster.start({ node: "node-2", name: "server", ready: SERVER_READY }, peerServer(PORT, "server"));
  });

  afterAll(async () => {
    await cluster?.stop();
  });

  describe("a connection", () => {
    it.each(NODES.flatMap((node) => TIERS.map((tier) => [tier, node] as const)))(
      "is refused where nobody listens, and has no route to nobody (%s on %s)",
      async (tier, node) => {
        const targets = [`${server.address}:${PORT + 1}`, "10.32.255.250:80"];
        const reports = readReports(await cluster.output({ node, tier }, peerClient(targets)));
        expect(reports.map(({ error }) => error)).toEqual(["ECONNREFUSED", "EHOSTUNREACH"]);
        // "At once": far from the second after which TCP tries again.
        for (const { elapsedMs } of reports) expect(elapsedMs).toBeLessThan(900);
      },
    );

    describe("to a node that is gone", () => {
      const wire = (state: "up" | "down") =>
        execFileSync("ip", ["-n", cluster.netnsOf("node-2"), "link", "set", "eth0", state]);

      afterEach(() => {
        wire("up");
      });

      it.each(TIERS)("times out while it is set up (%s)", async (tier) => {
        // Also makes the nodes known to each other's link layer, which otherwise reports the loss before TCP does.
        expect(readReports(await cluster.output({ tier }, peerClient([`${server.address}:${PORT}`])))).toMatchObject([
          { error: null },
        ]);
        wire("down");
        const target = `${server.address}:${PORT}`;
        const [report] = readReports(await cluster.output({ tier }, peerClient([target], { SYN_RETRIES: "1" })));
        expect(report?.error).toBe("ETIMEDOUT");
      });

      it.each(TIERS)("times out after it was set up (%s)", async (tier) => {
        const client = await cluster.start({ tier, ready: { prints: /connected/ } }, [
          ...["python3", "-c", LOSES_ITS_PEER, server.address, String(PORT)],
        ]);
        wire("down");
        client.write("go on\n");
        expect((await client.ended).stdout).toContain("ETIMEDOUT");
      });
    });
  });

  describe("a wrong input", () => {
    let before: unknown;

    beforeEach(async () => {
      before = await everything();
    });

    afterEach(async () => {
      expect(await everything()).toEqual(before);
    });

    /** What the controller and the machine have; names only, which is what an input could have added. */
    async function everything(): Promise<unknown> {
      const controller = connectController({ address: `unix:${cluster.runDir}/controller.sock` });
      try {
        const { endpoints } = await controller.cluster.listEndpoints({});
        const { networks } = await controller.cluster.listNetworks({});
        const { nodes } = await controller.cluster.listNodes({});
        const resources = [...endpoints, ...networks, ...nodes].map(({ name }) => name);
        return { resources, machine: machineState(cluster.runDir, cluster.tag) };
      } finally {
        controller.close();
      }
    }

    it.each([
      [["--node", "nowhere"], "there is no node nowhere", "the nodes are: "],
      [["--network", "nowhere"], 'no network "nowhere"', "slimfast network create"],
      [["--name", "server", "--node", "node-2"], "default/server", "choose another name"],
      [["--name", "Not_A_Label"], '"Not_A_Label"', "a-z, 0-9 and -"],
      [["--publish", "80"], "--publish 80", "for example 8080:80"],
      [["--publish", "7003:80"], "7000-7015 as front ports", "choose another port"],
      [["--tier", "fast"], "fast", "auto, notify, preload"],
      [["--address", "10.99.0.1"], "10.99.0.1 is not one of network default's addresses", "10.32.0.1 to 10.32.255.254"],
      [["--address6", "fd00::1%lo"], '"fd00::1%lo" must be an IPv6 address', "for example fd00:32::5"],
    ])("of run is refused: %j", async (options, what, remedy) => {
      const result = await cluster.cli.run(["run", ...options, "--", "true"]);
      expect(result).toMatchObject({ exitCode: 125, stdout: "" });
      expect(result.stderr).toContain(what);
      expect(result.stderr).toContain(remedy);
    });

    it.each([
      ["10.1.2.3/16", "did you mean 10.1.0.0/16?"],
      ["10.0.0.0/30", "between /8 and /29"],
      ["10.0.0.0/7", "/8"],
      ["10.0.0.0", "for example 10.32.0.0/16"],
      ["10.0.0.0/33", "for example 10.32.0.0/16"],
      ["300.1.1.0/24", "for example 10.32.0.0/16"],
      ["fd00::/64", "for example 10.32.0.0/16"],
      ["", "for example 10.32.0.0/16"],
    ])("of a network's prefix is refused: %j", async (prefix, remedy) => {
      const result = await cluster.cli.run(["network", "create", "wrong", "--prefix", prefix, "--json"]);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(remedy);
      expect(JSON.parse(result.stdout)).toMatchObject({ ok: false, error: { code: "failed" } });
    });

    it.each([
      ["10.0.0.0/16", "for example fd00:32::/64"],
      ["fd00::1/64", "did you mean fd00::/64?"],
      ["fd00::/8", "between /48 and /120"],
      ["fe80::/64", "link-local"],
      ["::ffff:10.0.0.0/112", "IPv4 addresses in IPv6 form"],
    ])("of a network's IPv6 prefix is refused: %j", async (prefix6, remedy) => {
      const result = await cluster.cli.run(["network", "create", "wrong", "--prefix6", prefix6, "--json"]);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(remedy);
    });

    it("is a network with more endpoints than addresses", async () => {
      await cluster.cli.json("network", "create", "tiny", "--prefix", "10.99.0.0/29");
      const full = await Promise.all(
        Array.from({ length: 6 }, (_, index) =>
          cluster.start({ network: "tiny", node: NODES[index % 2] ?? "node-1" }, ["sleep", "60"]),
        ),
      );
      expect(full.map(({ address }) => address).sort()).toEqual([1, 2, 3, 4, 5, 6].map((host) => `10.99.0.${host}`));
      const result = await cluster.run({ network: "tiny" }, ["true"]);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toContain("10.99.0.0/29");
      expect(result.stderr).toContain("create a network with a larger prefix");
      await full[0]?.stop();
      expect((await cluster.run({ network: "tiny" }, ["true"])).exitCode).toBe(0);
      const refused = await cluster.cli.run(["network", "delete", "tiny"]);
      expect(refused.exitCode).toBe(1);
      expect(refused.stderr).toContain("endpoint");
      await Promise.all(full.map((background) => background.stop()));
      await cluster.cli.json("network", "delete", "tiny");
    });

    it("is a program under another seccomp listener", async () => {
      const nested = [process.execPath, `${ROOT}/apps/cli/bundle/main.js`, "run", "--", "true"];
      const result = await cluster.run({}, ["env", `SLIMFAST_RUN_DIR=${cluster.runDir}`, ...nested]);
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toContain("another seccomp listener already watches this process");
      expect(result.stderr).toContain("start the command outside of it");
    });

    it("is a kernel without seccomp notification", async () => {
      const result = await cliIn(withoutSystemCall("seccomp"), cluster.runDir, "run", "--", "true");
      expect(result.exitCode).toBe(125);
      expect(result.stderr).toContain("no seccomp user notification");
      expect(result.stderr).toContain("Linux 5.14");
    });

    it.each([["status"], ["down"], ["connections"], ["network", "list"], ["run", "--", "true"]])(
      "is a user without privileges: %s",
      async (...args) => {
        const result = await cliIn(NOBODY, cluster.runDir, ...args);
        expect(result.exitCode).toBe(args[0] === "run" ? 125 : 1);
        expect(result.stderr).toContain("run this as root");
      },
    );

    it("is a front port that another process has, on a node of its own", async () => {
      const netns = `sf-${cluster.tag}taken`;
      // Not `ip netns exec`: it mounts /sys anew, without the control groups that an agent needs.
      const inNetns = ["nsenter", `--net=/run/netns/${netns}`];
      const runDir = `${cluster.runDir}/taken`;
      const before = machineState(cluster.runDir, cluster.tag);
      execFileSync("ip", ["netns", "add", netns]);
      try {
        execFileSync("ip", ["-n", netns, "addr", "add", "10.201.0.1/32", "dev", "lo"]);
        execFileSync("ip", ["-n", netns, "link", "set", "lo", "up"]);
        const reserved = [...inNetns, "cat", "/proc/sys/net/ipv4/ip_local_reserved_ports"];
        const listener = spawn("nsenter", [...inNetns.slice(1), "python3", "-m", "http.server", "7003"], {
          stdio: "ignore",
        });
        try {
          const isListening = () => execFileSync("ip", ["netns", "exec", netns, "ss", "-Hlt"]).length > 0;
          await until(isListening, "Python listens");
          const agent = await runIn(inNetns, [
            ...[process.execPath, `${ROOT}/apps/agent/bundle/main.js`, "--node", `${cluster.tag}taken`],
            ...["--underlay", "10.201.0.1", "--controller", `unix:${cluster.runDir}/controller.sock`],
            ...["--run-dir", runDir],
          ]);
          expect(agent.exitCode).toBe(1);
          expect(agent.stderr).toMatch(new RegExp(`TCP port 7003 is taken by python3 \\(pid ${listener.pid}\\)`));
          expect(agent.stderr).toContain("--front-ports");
          expect((await runIn([], reserved)).stdout.trim()).toBe("");
          const { stdout } = await cliIn(inNetns, runDir, "doctor", "--json");
          const check = (JSON.parse(stdout) as { checks: Check[] }).checks.find(
            ({ name }) => name === "host.front_ports",
          );
          expect(check).toMatchObject({ ok: false, detail: expect.stringContaining(`pid=${listener.pid}`) });
        } finally {
          listener.kill("SIGKILL");
        }
      } finally {
        execFileSync("ip", ["netns", "delete", netns]);
      }
      expect(machineState(cluster.runDir, cluster.tag)).toEqual(before);
      expect(existsSync(runDir)).toBe(false);
    });
  });
});

describe("without a cluster", () => {
  const runDir = `/run/slimfast-e2e-errors-${process.pid}`;
  const tag = `${createHash("sha256").update(runDir).digest("hex").slice(0, 4)}-`;
  let before: unknown;

  beforeEach(() => {
    before = machineState(runDir, tag);
  });

  afterEach(async () => {
    expect(machineState(runDir, tag)).toEqual(before);
    rmSync(runDir, { recursive: true, force: true });
  });

  it.each([
    ["without privileges", NOBODY, "run this as root", "host.root"],
    ["without cgroup version 2", NO_CGROUP2, "mount -t cgroup2", "host.cgroup2"],
    ["without the kernel's types", NO_BTF, "CONFIG_DEBUG_INFO_BTF", "kernel.btf"],
    ["without BPF", withoutSystemCall("bpf"), "CONFIG_BPF_SYSCALL", "kernel.bpf_maps"],
  ] as const)(
    "up fails %s, says why, and leaves nothing; doctor has said so",
    async (_, surroundings, remedy, name) => {
      const up = await cliIn(surroundings, runDir, "up", "--detach");
      expect(up.exitCode).toBe(1);
      expect(up.stderr).toContain(remedy);
      expect(machineState(runDir, tag)).toEqual(before);
      const doctor = await cliIn(surroundings, runDir, "doctor", "--json");
      expect(doctor.exitCode).toBe(1);
      const check = checksOf(doctor).get(name);
      expect(check).toMatchObject({ ok: false });
      expect(check?.remedy).toBeTruthy();
    },
  );

  it("doctor reports a kernel without seccomp notification", async () => {
    const doctor = await cliIn(withoutSystemCall("seccomp"), runDir, "doctor", "--json");
    expect(doctor.exitCode).toBe(1);
    expect(checksOf(doctor).get("kernel.seccomp_notify")).toMatchObject({ ok: false });
  });

  it.each([
    ["demo", "--once"],
    ["bench", "setup"],
  ])("%s needs root", async (...args) => {
    const result = await cliIn(NOBODY, runDir, ...args);
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain("run this as root");
  });

  it("up leaves alone what is not its own, and says how to remove it", async () => {
    const cli = new Cli(runDir);
    const netns = `sf-${tag}node-2`;
    execFileSync("ip", ["netns", "add", netns]);
    try {
      const up = await cli.run(["up", "--detach"]);
      expect(up.exitCode).toBe(1);
      expect(up.stderr).toContain(`ip netns delete ${netns}`);
      expect(existsSync(`/run/netns/${netns}`)).toBe(true);
      expect(existsSync(runDir)).toBe(false);
      const check = checksOf(await cli.run(["doctor", "--json"])).get("host.run_dir");
      expect(check).toMatchObject({ ok: false, detail: expect.stringContaining(netns) });
    } finally {
      execFileSync("ip", ["netns", "delete", netns]);
    }
  });

  it("up and down name a state file that cannot be read, and touch nothing", async () => {
    const cli = new Cli(runDir);
    mkdirSync(runDir);
    writeFileSync(`${runDir}/cluster.json`, "{");
    for (const command of [["up", "--detach"], ["down"], ["status"]]) {
      const result = await cli.run(command);
      expect(result.exitCode).toBe(1);
      expect(result.stderr).toContain(`${runDir}/cluster.json is damaged`);
    }
    const check = checksOf(await cli.run(["doctor", "--json"])).get("host.run_dir");
    expect(check).toMatchObject({ ok: false, remedy: expect.stringContaining("by hand") });
    rmSync(runDir, { recursive: true });
  });

  it("doctor reports what a crashed run has left, and down removes it", async () => {
    const cli = new Cli(runDir);
    expect(checksOf(await cli.run(["doctor", "--json"])).get("host.run_dir")).toMatchObject({ ok: true });
    await cli.json("up", "--detach");
    expect(checksOf(await cli.run(["doctor", "--json"])).get("host.run_dir")).toMatchObject({ ok: true });
    for (const pid of await clusterPids(cli)) process.kill(pid, "SIGKILL");
    const stale = checksOf(await cli.run(["doctor", "--json"])).get("host.run_dir");
    expect(stale).toMatchObject({ ok: false, detail: "a crashed run has left its state" });
    expect(stale?.remedy).toContain("slimfast down");
    const run = await cli.run(["run", "--", "true"]);
    expect(run.exitCode).toBe(125);
    expect(run.stderr).toContain("slimfast up --detach");
    expect(await cli.json("down")).toEqual({ ok: true, removed: true });
  });
});

/** Agents and controller, as the state file names them. */
async function clusterPids(cli: Cli): Promise<number[]> {
  const { nodes } = await cli.json<StatusReport>("status");
  const { processes } = JSON.parse(readFileSync(`${cli.runDir}/cluster.json`, "utf8")) as {
    processes: { pid: number }[];
  };
  const pids = processes.map(({ pid }) => pid);
  for (const { agent } of nodes) expect(pids).toContain(agent?.pid);
  return pids;
}

/** ADDRESS PORT: sends when it is told to, to a peer that does not answer any more, and says what came of it. */
const LOSES_ITS_PEER = `
import errno, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.recv(4096)
s.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 1000)
print("connected", flush=True)
sys.stdin.readline()
s.sendall(b"anybody there?")
try: print(s.recv(1))
except OSError as failure: print(errno.errorcode[failure.errno])
`;
