/**
 * What the demo shows, as checks: each does one thing that a user would do and says what came of it. A check fails by
 * throwing; the others run all the same.
 */
import { readFileSync } from "node:fs";
import type { AgentClient } from "@slimfast/client";
import { DEFAULT_NETWORK, type NodePlan } from "../cluster/plan.js";
import { messageOf } from "../exit-codes.js";
import { exec } from "../process/exec.js";
import { processesInNetns } from "../process/identity.js";
import { type Captured, capture } from "../run/capture.js";
import type { TierChoice } from "../run/launch.js";
import { FAILING_CLIENT, MEMCACHED_CLIENT, UDP_CLIENT } from "./programs.js";
import { CACHE_PORT, UDP_PORT, WEB_PORT, type Workloads } from "./workloads.js";

export interface CheckResult {
  readonly name: string;
  readonly ok: boolean;
  readonly detail: string;
}

export interface CheckContext {
  /** Agent of the node on which clients run. */
  readonly clientAgent: AgentClient;
  /** The node on which the servers run. */
  readonly serverNode: NodePlan;
  readonly workloads: Workloads;
  readonly signal: AbortSignal;
}

interface DemoCheck {
  readonly name: string;
  /** @returns the detail */
  run(context: CheckContext): Promise<string>;
}

const CLIENT_TIMEOUT_MS = 20_000;

export async function runChecks(context: CheckContext, note: (text: string) => void): Promise<CheckResult[]> {
  const results: CheckResult[] = [];
  for (const { name, run } of CHECKS) {
    context.signal.throwIfAborted();
    note(name);
    try {
      results.push({ name, ok: true, detail: await run(context) });
    } catch (error) {
      results.push({ name, ok: false, detail: messageOf(error) });
    }
  }
  return results;
}

const CHECKS: readonly DemoCheck[] = [
  {
    name: "nginx in a runc container answers curl on the other node",
    run: async (context) => {
      const { address } = context.workloads.web;
      const { stdout } = await client(context, ["curl", "-sS", "--max-time", "5", `http://${address}/`]);
      expectThat(stdout.includes("hello from nginx"), `unexpected answer: ${stdout}`);
      return `http://${address}/: ${stdout.trim()}`;
    },
  },
  {
    name: "memcached answers a client on the other node",
    run: async (context) => {
      const { address } = context.workloads.cache;
      const { stdout } = await python(context, MEMCACHED_CLIENT, address, CACHE_PORT);
      expectThat(stdout.startsWith("slimfast "), `unexpected answer: ${stdout}`);
      return `set and get at ${address}:${CACHE_PORT}`;
    },
  },
  {
    name: "client and server see only overlay addresses",
    run: async (context) => {
      const { address } = context.workloads.web;
      const format = "local %{local_ip} remote %{remote_ip}";
      const result = await client(context, [
        "curl",
        "-sS",
        "--max-time",
        "5",
        "-w",
        format,
        `http://${address}/whoami`,
      ]);
      const expected = `client ${result.address} server ${address}\nlocal ${result.address} remote ${address}`;
      expectThat(result.stdout === expected, `expected "${expected}", got "${result.stdout}"`);
      return `server sees ${result.address}, client sees ${address}; both of ${DEFAULT_NETWORK.prefix}`;
    },
  },
  {
    name: "memcached and its client see only overlay addresses",
    run: async (context) => {
      const { address } = context.workloads.cache;
      const result = await python(context, MEMCACHED_CLIENT, address, CACHE_PORT);
      const expected = `slimfast ${result.address} ${address}`;
      expectThat(result.stdout.trim() === expected, `expected "${expected}", got "${result.stdout}"`);
      return `getsockname ${result.address}, getpeername ${address}`;
    },
  },
  {
    name: "the container's sockets are host sockets",
    run: async ({ serverNode, workloads: { web } }) => {
      const inside = processesInNetns(web.netnsPath);
      const [nginx] = inside;
      if (!nginx) throw new Error("no process in the container");
      const own = listeningCount(readFileSync(`/proc/${nginx.pid}/net/tcp`, "utf8"));
      expectThat(own === 0, `the container's own namespace has ${own} listening sockets`);
      const pids = inside.map(({ pid }) => pid);
      const held = (await exec("ss", ["-H", "-t", "-l", "-n", "-p"], { netns: serverNode.netns }))
        .split("\n")
        .filter((line) => pids.some((pid) => line.includes(`pid=${pid},`)));
      expectThat(held.length > 0, `no listening socket of ${serverNode.netns} belongs to the container`);
      return `${held.length} listening sockets of nginx in the node's namespace, none in the container's own`;
    },
  },
  {
    name: "a statically linked client works too",
    run: async (context) => {
      const { address } = context.workloads.web;
      const { stdout } = await client(context, ["busybox", "wget", "-q", "-O", "-", `http://${address}/`], "notify");
      expectThat(stdout.includes("hello from nginx"), `unexpected answer: ${stdout}`);
      return "busybox wget, notify tier";
    },
  },
  {
    name: "a port on which nobody listens is refused at once",
    run: (context) => expectFailure(context, context.workloads.cache.address, CACHE_PORT + 1, "ECONNREFUSED"),
  },
  {
    name: "an address that does not exist is unreachable",
    run: (context) => expectFailure(context, "10.32.255.250", WEB_PORT, "EHOSTUNREACH"),
  },
  {
    name: "UDP works over the VXLAN overlay",
    run: async (context) => {
      const { address } = context.workloads.udpEcho;
      const result = await python(context, UDP_CLIENT, address, UDP_PORT);
      expectThat(result.stdout.trim() === `datagram from ${result.address}`, `unexpected answer: ${result.stdout}`);
      return `${address}:${UDP_PORT} answered ${result.address}`;
    },
  },
  {
    name: "ICMP works over the VXLAN overlay",
    run: async (context) => {
      const { address } = context.workloads.web;
      const { stdout } = await client(context, ["ping", "-c", "2", "-i", "0.2", "-W", "2", address]);
      const loss = /(\d+)% packet loss/.exec(stdout)?.[1];
      return `${address}: ${loss}% loss`;
    },
  },
];

/** Runs a program in an endpoint of the client's node; it must succeed. */
async function client(context: CheckContext, command: readonly string[], tier: TierChoice = "auto"): Promise<Captured> {
  const options = { network: DEFAULT_NETWORK.name, name: "", tier, publishedPorts: [], command };
  const result = await capture(context.clientAgent, options, CLIENT_TIMEOUT_MS, context.signal);
  if (result.exitCode !== 0) {
    const said = (result.stderr.trim() || result.stdout.trim()).slice(-500);
    throw new Error(`${command[0]} ended with ${result.exitCode}: ${said}`);
  }
  return result;
}

function python(context: CheckContext, program: string, address: string, port: number): Promise<Captured> {
  return client(context, ["python3", "-c", program, address, String(port)]);
}

async function expectFailure(context: CheckContext, address: string, port: number, errno: string): Promise<string> {
  const { stdout } = await python(context, FAILING_CLIENT, address, port);
  expectThat(stdout.trim() === errno, `expected ${errno}, got ${stdout.trim()}`);
  return `${address}:${port}: ${errno}`;
}

function expectThat(condition: boolean, message: string): asserts condition {
  if (!condition) throw new Error(message);
}

/** Lines of /proc/net/tcp in state LISTEN (0A). */
export function listeningCount(table: string): number {
  return table.split("\n").filter((line) => line.trim().split(/\s+/)[3] === "0A").length;
}
