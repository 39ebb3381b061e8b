/** Where containers may leave the overlay to: nowhere, unless their network says so. */

import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import { type ClientReport, peerClient, peerServer, readReports } from "./testing/peer-programs.js";
import { runIn } from "./testing/surroundings.js";

const PORT = 9_321;
/** No node's: behind node-2, as a router would have it. */
const OUTSIDE = "198.51.100.1";
const NODE_1 = "10.200.0.1";
const NODE_2 = "10.200.0.2";
const METADATA = "169.254.169.254";

let cluster: Cluster;
let server: ChildProcess;

async function ip(node: string, ...args: string[]): Promise<void> {
  const result = await runIn([], ["ip", "-n", cluster.netnsOf(node), ...args]);
  expect(result, result.stderr).toMatchObject({ exitCode: 0 });
}

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", "open", "--prefix", "10.40.0.0/16", "--egress", `${OUTSIDE}/32`);
  await ip("node-2", "address", "add", `${OUTSIDE}/32`, "dev", "lo");
  await ip("node-1", "route", "add", `${OUTSIDE}/32`, "via", NODE_2);
  const [program = "", ...args] = ["ip", "netns", "exec", cluster.netnsOf("node-2"), ...peerServer(PORT, "outside")];
  server = spawn(program, args, { stdio: "ignore" });
  const answers = async () => {
    const probe = await runIn(["ip", "netns", "exec", cluster.netnsOf("node-1")], peerClient([`${OUTSIDE}:${PORT}`]));
    return readReports(probe.stdout)[0]?.answer;
  };
  await until(answers, "the server outside answers");
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await cluster?.stop();
});

async function ask(network: string, tier: "notify" | "preload", ...addresses: string[]): Promise<ClientReport[]> {
  const targets = addresses.map((address) => `${address}:${PORT}`);
  return readReports(await cluster.output({ network, tier }, peerClient(targets)));
}

describe.each(["notify", "preload"] as const)("a container (%s)", (tier) => {
  it("leaves for what its network allows, from the node's address", async () => {
    const [report] = await ask("open", tier, OUTSIDE);
    expect(report).toMatchObject({ error: null, peer: `${OUTSIDE}:${PORT}`, answer: { label: "outside" } });
    expect(report?.answer?.peer).toMatch(new RegExp(`^${NODE_1}:`));
  });

  it("reaches nothing else, and in a network without ranges nothing at all", async () => {
    const others = [NODE_1, NODE_2, METADATA, "198.51.100.2"];
    const errors = (reports: ClientReport[]) => reports.map(({ error }) => error);
    const closed = ["EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH", "ENETUNREACH"];
    expect(errors(await ask("open", tier, ...others))).toEqual(closed);
    // Without a range to keep from it, the node need not know what is at the address of another.
    const unknown = closed.toSpliced(1, 1, expect.stringMatching(/^E(NET|HOST)UNREACH$/));
    expect(errors(await ask("default", tier, OUTSIDE, ...others))).toEqual(["ENETUNREACH", ...unknown]);
  });
});

it("datagrams do not leave the overlay", async () => {
  // From the wildcard address, the server answers as the address that is nearest to the client.
  const ask = peerClient([`udp/${NODE_2}:${PORT}`], { PATIENCE: "2" });
  const fromNode = await runIn(["ip", "netns", "exec", cluster.netnsOf("node-1")], ask);
  expect(readReports(fromNode.stdout)[0]).toMatchObject({ answer: { label: "outside" } });
  // Linux tells a datagram's sender of an unreachable host only where it asks for that (IP_RECVERR).
  const [report] = readReports(await cluster.output({ network: "open" }, ask));
  expect(report?.error).toBe("no answer");
});

describe("ranges that change", () => {
  it("open what is special by name only, and cut what they withdraw", async () => {
    await cluster.cli.json("network", "update", "open", "--egress", "0.0.0.0/0");
    const wide = async () => (await ask("open", "notify", OUTSIDE, NODE_1, NODE_2, METADATA)).map(({ error }) => error);
    expect(await wide()).toEqual([null, "EHOSTUNREACH", "EHOSTUNREACH", "EHOSTUNREACH"]);
    await cluster.cli.json("network", "update", "open", "--egress", `${NODE_2}/32`, "--egress", `${OUTSIDE}/32`);
    expect((await ask("open", "notify", NODE_2)).map(({ error }) => error)).toEqual([null]);
    const held = await cluster.start({ network: "open", name: "held", ready: { prints: /"answer"/ } }, [
      "python3",
      "-c",
      HOLD,
      OUTSIDE,
      String(PORT),
    ]);
    await cluster.cli.json("network", "update", "open", "--egress", "none");
    expect((await held.ended).stdout).toContain("reset");
  });

  it("are refused when they make no sense", async () => {
    const refused = await cluster.cli.run(["network", "update", "open", "--egress", "127.0.0.0/8"]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain("loopback");
  });

  it("are in the cluster's file", async () => {
    await cluster.cli.json("network", "update", "open", "--egress", `${OUTSIDE}/32`);
    const exported = await cluster.cli.run(["export", "--network", "open"]);
    expect(exported.stdout).toMatch(/egress:\n\s+- 198\.51\.100\.1\/32/);
  });
});

/** Connects, and says how the connection ended. */
const HOLD = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print('"answer"', s.recv(4096), flush=True)
try: print("end", s.recv(1))
except OSError as failure: print("reset", failure)`;
