/** Where containers may leave the overlay to: nowhere, unless their network says so. */

import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "./fixture/cluster.js";
import { addNodes6, ipOn, NODES6 } from "./fixture/node-addresses.js";
import { until } from "./fixture/until.js";
import {
  type ClientReport,
  type Family,
  peerClient,
  peerServer,
  readReports,
  socketAddress,
} from "./testing/peer-programs.js";
import { runIn } from "./testing/surroundings.js";

const PORT = 9_321;
const FAMILIES = [4, 6] as const;

interface World {
  /** No node's: behind node-2, as a router would have it. */
  readonly outside: string;
  readonly nodes: readonly [string, string];
  /** What a range opens only by name: the node's own address, those of other nodes that it knows of, metadata services. */
  readonly special: readonly string[];
  /** What connect(2) says of these. */
  readonly hidden: string;
  readonly unrouted: string;
  readonly bits: number;
  readonly everything: string;
}

const WORLDS: Readonly<Record<Family, World>> = {
  4: {
    outside: "198.51.100.1",
    nodes: ["10.200.0.1", "10.200.0.2"],
    special: ["10.200.0.1", "10.200.0.2", "169.254.169.254"],
    hidden: "EHOSTUNREACH",
    unrouted: "198.51.100.2",
    bits: 32,
    everything: "0.0.0.0/0",
  },
  6: {
    outside: "2001:db8:51::1",
    nodes: [NODES6["node-1"], NODES6["node-2"]],
    special: [NODES6["node-1"], "fd00:ec2::254"],
    hidden: "ENETUNREACH",
    unrouted: "2001:db8:51::2",
    bits: 128,
    everything: "::/0",
  },
};
const EGRESS = FAMILIES.flatMap((family) => ["--egress", `${WORLDS[family].outside}/${WORLDS[family].bits}`]);

let cluster: Cluster;
let server: ChildProcess;

beforeAll(async () => {
  cluster = await Cluster.start();
  for (const [name, prefix, prefix6, egress] of [
    ["open", "10.40.0.0/16", "fd00:40::/64", EGRESS],
    ["closed", "10.41.0.0/16", "fd00:41::/64", []],
  ] as const) {
    await cluster.cli.json("network", "create", name, "--prefix", prefix, "--prefix6", prefix6, ...egress);
  }
  await addNodes6(cluster);
  for (const family of FAMILIES) {
    const { outside, nodes, bits } = WORLDS[family];
    await ipOn(cluster, "node-2", "address", "add", `${outside}/${bits}`, "dev", "lo");
    await ipOn(cluster, "node-1", "route", "add", `${outside}/${bits}`, "via", nodes[1]);
  }
  const command = ["ip", "netns", "exec", cluster.netnsOf("node-2"), ...peerServer(PORT, "outside", FAMILIES)];
  const [program = "", ...args] = command;
  server = spawn(program, args, { stdio: "ignore" });
  for (const family of FAMILIES) {
    const probe = peerClient([socketAddress(WORLDS[family].outside, PORT)]);
    const answers = async () => {
      const { stdout } = await runIn(["ip", "netns", "exec", cluster.netnsOf("node-1")], probe);
      return readReports(stdout)[0]?.answer;
    };
    await until(answers, `the server outside answers by IPv${family}`);
  }
});

afterAll(async () => {
  server?.kill("SIGKILL");
  await cluster?.stop();
});

async function ask(network: string, tier: "notify" | "preload", ...addresses: string[]): Promise<ClientReport[]> {
  const targets = addresses.map((address) => socketAddress(address, PORT));
  return readReports(await cluster.output({ network, tier }, peerClient(targets)));
}

function errorsOf(reports: readonly ClientReport[]): (string | null)[] {
  return reports.map(({ error }) => error);
}

describe.each(FAMILIES.flatMap((family) => (["notify", "preload"] as const).map((tier) => ({ family, tier }))))(
  "a container ($tier), by IPv$family",
  ({ family, tier }) => {
    const { outside, nodes, special, hidden, unrouted } = WORLDS[family];

    it("leaves for what its network allows, from the node's address", async () => {
      const [report] = await ask("open", tier, outside);
      expect(report).toMatchObject({ error: null, peer: socketAddress(outside, PORT), answer: { label: "outside" } });
      expect(report?.answer?.peer.startsWith(socketAddress(nodes[0], 0).slice(0, -1)), report?.answer?.peer).toBe(true);
    });

    it("reaches nothing else, and in a network without ranges nothing at all", async () => {
      const closed = [...special.map(() => hidden), "ENETUNREACH"];
      expect(errorsOf(await ask("open", tier, ...special, unrouted))).toEqual(closed);
      // Without a range to keep from it, the node need not know what is at the address of another.
      const unknown = [outside, ...special, unrouted].map((address) =>
        special.includes(address) && address !== nodes[1] ? hidden : expect.stringMatching(/^E(NET|HOST)UNREACH$/),
      );
      expect(errorsOf(await ask("closed", tier, outside, ...special, unrouted))).toEqual(unknown);
    });
  },
);

it.each(FAMILIES)("datagrams do not leave the overlay, by IPv%i", async (family) => {
  // From the wildcard address, the server answers as the address that is nearest to the client.
  const ask = peerClient([`udp/${socketAddress(WORLDS[family].nodes[1], PORT)}`], { PATIENCE: "2" });
  const fromNode = await runIn(["ip", "netns", "exec", cluster.netnsOf("node-1")], ask);
  expect(readReports(fromNode.stdout)[0]).toMatchObject({ answer: { label: "outside" } });
  // Linux tells a datagram's sender of an unreachable host only where it asks for that (IP_RECVERR).
  const [report] = readReports(await cluster.output({ network: "open" }, ask));
  expect(report?.error).toBe("no answer");
});

describe("ranges that change", () => {
  it.each(FAMILIES)("open what is special by name only, and cut what they withdraw, by IPv%i", async (family) => {
    const { outside, nodes, special, hidden, bits, everything } = WORLDS[family];
    const update = (...ranges: string[]) =>
      cluster.cli.json("network", "update", "open", ...ranges.flatMap((range) => ["--egress", range]));
    await update(everything);
    const wide = [null, ...special.map(() => hidden)];
    expect(errorsOf(await ask("open", "notify", outside, ...special))).toEqual(wide);
    await update(`${nodes[1]}/${bits}`, `${outside}/${bits}`);
    expect(errorsOf(await ask("open", "notify", nodes[1]))).toEqual([null]);
    const hold = ["python3", "-c", HOLD, outside, String(PORT)];
    const options = { network: "open", name: "held", ready: { prints: /"answer"/ } };
    const held = await cluster.start(options, hold);
    await update("none");
    expect((await held.ended).stdout).toContain("reset");
  });

  it("are refused when they make no sense", async () => {
    const refused = await cluster.cli.run(["network", "update", "open", "--egress", "127.0.0.0/8"]);
    expect(refused.exitCode).not.toBe(0);
    expect(refused.stderr).toContain("loopback");
  });

  it("are in the cluster's file", async () => {
    await cluster.cli.json("network", "update", "open", ...EGRESS);
    const exported = await cluster.cli.run(["export", "--network", "open"]);
    expect(exported.stdout).toMatch(/egress:\n\s+- 198\.51\.100\.1\/32\n\s+- 2001:db8:51::1\/128/);
  });
});

/** Connects, and says how the connection ended. */
const HOLD = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
print('"answer"', s.recv(4096), flush=True)
try: print("end", s.recv(1))
except OSError as failure: print("reset", failure)`;
