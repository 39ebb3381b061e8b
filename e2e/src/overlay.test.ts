/** What is not TCP between endpoints: UDP and ICMP go through the container's own network and the VXLAN overlay. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster } from "./fixture/cluster.js";
import { script } from "./fixture/programs.js";

interface Answer {
  readonly local: string;
  readonly peer: string;
  readonly seen: string;
  readonly received: number;
}

const PORT = 5_353;
/** Has the prefix of the default network. */
const OTHER_NETWORK = "other";

let cluster: Cluster;
let server: Background;

beforeAll(async () => {
  cluster = await Cluster.start();
  const command = [...script("udp.py"), "serve", String(PORT)];
  server = await cluster.start({ node: "node-2", name: "server", ready: { prints: /ready/ } }, command);
});
afterAll(() => cluster?.stop());

describe.each([
  ["another node", "node-1"],
  ["the same node", "node-2"],
])("from %s", (_where, node) => {
  // The last ones do not fit into a packet of the overlay (MTU 1450), or of the wire.
  it.each([1, 1_400, 1_473, 20_000])("a datagram of %i bytes arrives and is answered", async (length) => {
    const command = [...script("udp.py"), "ask", server.address, String(PORT), String(length)];
    const answer = JSON.parse(await cluster.output({ node }, command)) as Answer;
    expect(answer).toEqual({
      local: expect.stringMatching(/^10\.32\.\d+\.\d+:\d+$/),
      peer: `${server.address}:${PORT}`,
      seen: answer.local,
      received: length,
    });
  });

  it("ping is answered, with packets of every size", async () => {
    for (const size of ["56", "1422", "4000"]) {
      const output = await cluster.output({ node }, [
        "ping",
        "-n",
        "-c",
        "3",
        "-i",
        "0.05",
        "-s",
        size,
        server.address,
      ]);
      expect(output).toContain("3 packets transmitted, 3 received, 0% packet loss");
    }
  });

  it("a datagram to a port where nobody listens is answered by ICMP", async () => {
    const code = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(10)
s.connect((sys.argv[1], 9))
s.send(b"x")
try:
    s.recv(1)
except OSError as e:
    print(type(e).__name__)
`;
    expect(await cluster.output({ node }, ["python3", "-c", code, server.address])).toBe("ConnectionRefusedError\n");
  });
});

it("a container has its overlay address and a loopback of its own, and nothing else", async () => {
  const output = await cluster.output({}, ["ip", "-j", "address", "show"]);
  const interfaces = JSON.parse(output) as {
    ifname: string;
    mtu: number;
    addr_info: { family: string; scope: string; local: string }[];
  }[];
  const addresses = interfaces.flatMap(({ ifname, addr_info }) =>
    addr_info.filter(({ scope }) => scope !== "link").map(({ local }) => `${ifname} ${local}`),
  );
  expect(addresses.sort()).toEqual([expect.stringMatching(/^eth0 10\.32\.\d+\.\d+$/), "lo 127.0.0.1", "lo ::1"]);
  expect(interfaces.find(({ ifname }) => ifname === "eth0")?.mtu).toBe(1_450);
});

describe("a network with the same prefix", () => {
  beforeAll(async () => {
    const created = await cluster.cli.run(["network", "create", OTHER_NETWORK, "--prefix", "10.32.0.0/16"]);
    expect(created, created.stderr).toMatchObject({ exitCode: 0 });
  });

  it("is apart: the same address leads to another container", async () => {
    const command = [...script("udp.py"), "serve", String(PORT)];
    const twin = await cluster.start(
      { node: "node-2", network: OTHER_NETWORK, name: "twin", ready: { prints: /ready/ } },
      command,
    );
    expect(twin.address).toBe(server.address);
    const clients = { node: "node-1", network: OTHER_NETWORK };
    const ask = [...script("udp.py"), "ask", twin.address, String(PORT), "10"];
    expect(JSON.parse(await cluster.output(clients, ask))).toMatchObject({ received: 10 });
    await twin.stop();
    const ping = ["ping", "-n", "-c", "1", "-W", "1", server.address];
    expect(await cluster.run(clients, ping)).toMatchObject({ exitCode: 1 });
    expect(await cluster.run({ node: "node-1" }, ping)).toMatchObject({ exitCode: 0 });
  });
});
