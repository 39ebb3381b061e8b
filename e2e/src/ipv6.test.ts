/**
 * IPv6 overlay addresses, in a dual-stack network and in one of IPv6 alone that has the same prefix: in both tiers, from
 * the same node and from another one.
 */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { built } from "./fixture/programs.js";

const PREFIX6 = "fd00:60::/64";
const PORT = 7_600;
const NODES = ["node-2", "node-1"] as const;

interface Line {
  readonly state: string;
  readonly local: string;
  readonly peer: string;
}

function linesOf(output: string): Line[] {
  const lines = output.split("\n").filter((line) => line.startsWith("{"));
  return lines.map((line) => JSON.parse(line) as Line);
}

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", "dual", "--prefix", "10.60.0.0/24", "--prefix6", PREFIX6);
  await cluster.cli.json("network", "create", "six", "--prefix6", PREFIX6);
});
afterAll(() => cluster?.stop());

/** Packets that were dropped because they were not from their endpoint's own address. */
async function forgedOn(node: string): Promise<bigint> {
  const { counters } = await cluster.agent(node).local.getStatus({});
  return counters.sources_forged ?? 0n;
}

describe.each(["dual", "six"])("in network %s", (network) => {
  let server: Background;
  let address: string;

  beforeAll(async () => {
    const command = [built("names"), "server", "6", "epoll", "::", String(PORT)];
    const ready = { prints: /listening.*\n/ };
    server = await cluster.start({ node: "node-2", network, name: `server-${network}`, ready }, command);
    address = server.address6;
    expect(address).toMatch(/^fd00:60::/);
  });
  afterAll(() => server?.stop());

  const client = (node: string, tier: TierChoice, ...rest: string[]) =>
    cluster.run({ node, network, tier }, [built("names"), "client", ...rest]);

  describe.each(NODES)("from %s", (node) => {
    it.each(["notify", "preload"] as const)("every name is an IPv6 one (%s)", async (tier) => {
      const { stdout, stderr, exitCode } = await client(node, tier, "6", "blocking", address, String(PORT));
      expect({ stderr, exitCode }).toEqual({ stderr: "", exitCode: 0 });
      const connected = linesOf(stdout).find(({ state }) => state === "connected");
      expect(connected?.peer).toBe(`[${address}]:${PORT}`);
      expect(connected?.local).toMatch(/^\[fd00:60::[0-9a-f:]+\]:[1-9]\d*$/);
      await server.prints(new RegExp(connected?.local.replaceAll(/[[\]]/g, "\\$&") ?? "nothing"));
    });

    it("what is not there is refused as Linux does it", async () => {
      const refused = async (family: string, target: string, port = PORT) =>
        (await client(node, "notify", family, "blocking", target, String(port))).stderr;
      expect(await refused("6", address, 81)).toBe("names: connect: ECONNREFUSED\n");
      expect(await refused("6", "fd00:60::ffff:1")).toBe("names: connect: EHOSTUNREACH\n");
      expect(await refused("6", "2001:db8::1")).toBe("names: connect: errno 101\n");
      if (network === "six") expect(await refused("4", "10.60.0.2")).toBe("names: connect: errno 101\n");
    });

    it("ping is answered, and a forged source is not", async () => {
      const ping = `ping -6 -c 1 -W 2 ${address}`;
      const script = `${ping} >/dev/null && echo answered
        ip -6 address add fd00:60::bad/128 dev eth0 nodad && ! ping -6 -c 1 -W 1 -I fd00:60::bad ${address} >/dev/null && echo dropped`;
      const before = await forgedOn(node);
      expect(await cluster.output({ node, network }, ["sh", "-c", script])).toBe("answered\ndropped\n");
      expect(await forgedOn(node)).toBeGreaterThan(before);
    });
  });
});
