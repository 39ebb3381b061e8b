/**
 * Front ports: connections are spread over the block, nothing but the overlay's own connections gets through it, it is
 * out of the way of everybody else on the node, and the node gets it back.
 */
import { execFileSync, spawn } from "node:child_process";
import { existsSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Output } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { Cli, type StatusReport } from "./testing/cli.js";
import { machineState } from "./testing/machine.js";
import { peerClient, peerServer, readReports } from "./testing/peer-programs.js";
import { ROOT, runIn } from "./testing/surroundings.js";

const PORT = 80;
const RESERVED_PORTS = "/proc/sys/net/ipv4/ip_local_reserved_ports";

interface ConnectionJson {
  readonly direction: string;
  readonly underlayPeer: { readonly port: number };
}

describe("a block of one's own choice", () => {
  const first = 20_000;
  const count = 4;
  const ports = Array.from({ length: count }, (_, index) => first + index);
  const runDir = `/run/slimfast-e2e-front-${process.pid}`;
  const cli = new Cli(runDir);
  const before = machineState(runDir, runDir);
  let netns: string[] = [];
  let tag = "";

  beforeAll(async () => {
    const up = await cli.json<{ nodes: { name: string; netns: string }[] }>(
      ...["up", "--detach", "--front-ports", `${first}:${count}`],
    );
    netns = up.nodes.map((node) => node.netns);
    tag = up.nodes[0]?.name.replace(/node-1$/, "") ?? "";
  });

  afterAll(async () => {
    await cli.run(["down"]);
    expect(machineState(runDir, tag)).toEqual(before);
  });

  const onNode = (index: number, command: readonly string[]) =>
    runIn(["ip", "netns", "exec", netns[index] ?? ""], command);

  it("is reserved on every node, and nobody else can have a port of it", async () => {
    for (const index of [0, 1]) {
      expect((await onNode(index, ["cat", RESERVED_PORTS])).stdout.trim()).toBe(`${first}-${first + count - 1}`);
      for (const port of ports) {
        const bind = `import socket; socket.create_server(("", ${port}))`;
        expect((await onNode(index, ["python3", "-c", bind])).stderr).toContain("Address already in use");
      }
    }
  });

  it("carries connections on all of its ports, and nothing else on any", async () => {
    const server = cli.start(["run", "--node", "node-2", "--", ...peerServer(PORT, "server")]);
    const output = new Output(server);
    await output.untilMatch(/^ready$/m, "the server");
    const { address } = (await cli.json<StatusReport>("status")).controller.endpoints[0] ?? { address: "" };
    const targets = Array.from({ length: 64 }, () => `${address}:${PORT}`);
    const client = cli.start(["run", "--node", "node-1", "--", ...peerClient(targets, { HOLD: "yes" })]);
    const clientOutput = new Output(client);
    await until(() => readReports(clientOutput.stdout).length === targets.length, "all connections are made");
    const connections = await cli.json<ConnectionJson[]>("connections");
    const outbound = connections.filter(({ direction }) => direction === "outbound");
    expect(outbound).toHaveLength(targets.length);
    expect([...new Set(outbound.map(({ underlayPeer }) => underlayPeer.port))].sort()).toEqual(ports);
    // From the other host and from the node itself, without the option that says what is wanted.
    for (const index of [0, 1]) {
      const plain = await onNode(index, peerClient([...ports, PORT].map((port) => `10.200.0.2:${port}`)));
      expect(readReports(plain.stdout).map(({ error }) => error)).toEqual([...ports, PORT].map(() => "ECONNREFUSED"));
    }
    client.stdin?.end();
    await clientOutput.ended;
    server.kill("SIGTERM");
    await output.ended;
  });
});

describe("a host that has reserved ports before", () => {
  let cluster: Cluster;
  let netns: string;
  let runDir: string;
  /** Not `ip netns exec`, which hides the cgroups. */
  const nsenter = (...command: string[]) => [`--net=/run/netns/${netns}`, "--", ...command];
  const reserved = () => execFileSync("nsenter", nsenter("cat", RESERVED_PORTS), { encoding: "utf8" }).trim();
  const reserve = (ranges: string) =>
    execFileSync("nsenter", nsenter("sysctl", "-q", "-w", `net.ipv4.ip_local_reserved_ports=${ranges}`));

  beforeAll(async () => {
    cluster = await Cluster.start({ nodes: 1 });
    netns = `sf-${cluster.tag}host`;
    runDir = `${cluster.runDir}/host`;
    execFileSync("ip", ["netns", "add", netns]);
    execFileSync("ip", ["-n", netns, "addr", "add", "10.201.0.1/32", "dev", "lo"]);
    execFileSync("ip", ["-n", netns, "link", "set", "lo", "up"]);
    reserve("6999,7010-7020,9000");
  });

  afterAll(async () => {
    execFileSync("ip", ["netns", "delete", netns]);
    // An agent keeps a directory that it has found there: the crashed one's.
    rmSync(runDir, { recursive: true, force: true });
    await cluster?.stop();
  });

  async function startAgent() {
    const child = spawn(
      "nsenter",
      nsenter(
        ...[process.execPath, `${ROOT}/apps/agent/bundle/main.js`, "--node", `${cluster.tag}host`],
        ...["--underlay", "10.201.0.1", "--controller", `unix:${cluster.runDir}/controller.sock`, "--run-dir", runDir],
      ),
      { stdio: ["ignore", "pipe", "pipe"] },
    );
    const output = new Output(child);
    await output.untilMatch(/"ready":true/, "the agent");
    return { child, ended: output.ended };
  }

  it("has them again when the agent has ended", async () => {
    const { child, ended } = await startAgent();
    expect(reserved()).toBe("6999-7020,9000");
    child.kill("SIGTERM");
    expect((await ended).exitCode).toBe(0);
    expect(reserved()).toBe("6999,7010-7020,9000");
    expect(existsSync(runDir)).toBe(false);
  });

  it("has them again after a crash, when the next agent has ended", async () => {
    const crashed = await startAgent();
    crashed.child.kill("SIGKILL");
    await crashed.ended;
    expect(reserved()).toBe("6999-7020,9000");
    // Whoever looks after the host may add to them meanwhile.
    reserve("6999-7020,9000,9500");
    const { child, ended } = await startAgent();
    child.kill("SIGTERM");
    expect((await ended).exitCode).toBe(0);
    expect(reserved()).toBe("6999,7010-7020,9000,9500");
  });
});
