/** Networks are apart even where their addresses are the same; within one, every pair of nodes and tiers works. */
import { readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster, type EndpointOptions } from "./fixture/cluster.js";
import { type ClientReport, peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";

const PORT = 80;
const TIERS = ["notify", "preload"] as const;
const NODES = ["node-1", "node-2"] as const;

let cluster: Cluster;

beforeAll(async () => {
  cluster = await Cluster.start();
});

afterAll(async () => {
  await cluster?.stop();
});

function serve(options: EndpointOptions, label: string): Promise<Background> {
  return cluster.start({ ...options, name: label, ready: SERVER_READY }, peerServer(PORT, label));
}

async function ask(options: EndpointOptions, ...targets: string[]): Promise<ClientReport[]> {
  return readReports(await cluster.output(options, peerClient(targets)));
}

describe("networks with the same prefix", () => {
  const servers: Record<string, Background> = {};
  let onlyInDefault: Background;

  beforeAll(async () => {
    await cluster.cli.json("network", "create", "blue", "--prefix", "10.32.0.0/16");
    // Addresses are given out in turn: the next ones are the same in both networks, and the first one stays free in blue.
    onlyInDefault = await serve({ node: "node-2" }, "only-in-default");
    await cluster.output({ network: "blue" }, ["true"]);
    for (const network of ["default", "blue"]) {
      for (const node of NODES) servers[`${network} ${node}`] = await serve({ network, node }, `${network}-${node}`);
    }
  });

  afterAll(async () => {
    await Promise.all([...Object.values(servers), onlyInDefault].map((server) => server?.stop()));
    // Fails if an endpoint is still in it.
    await cluster.cli.json("network", "delete", "blue");
  });

  it("give out the same addresses", () => {
    for (const node of NODES) expect(servers[`blue ${node}`]?.address).toBe(servers[`default ${node}`]?.address);
  });

  it.each(["default", "blue"])("lead to the servers of %s only", async (network) => {
    for (const node of NODES) {
      const addresses = NODES.map((name) => servers[`${network} ${name}`]?.address);
      const targets = addresses.flatMap((address) => [`${address}:${PORT}`, `udp/${address}:${PORT}`]);
      const reports = await ask({ network, node }, ...targets);
      const labels = reports.map(({ answer, error }) => answer?.label ?? error);
      expect(labels).toEqual(NODES.flatMap((name) => [`${network}-${name}`, `${network}-${name}`]));
    }
  });

  it.each(NODES)("do not lead to an address of the other one (%s)", async (node) => {
    const targets = [`${onlyInDefault.address}:${PORT}`, `udp/${onlyInDefault.address}:${PORT}`];
    const inDefault = await ask({ node }, ...targets);
    expect(inDefault.map(({ answer }) => answer?.label)).toEqual(["only-in-default", "only-in-default"]);
    const [connection, datagram] = readReports(
      await cluster.output({ network: "blue", node }, peerClient(targets, { PATIENCE: "0.5" })),
    );
    expect(connection?.error).toBe("EHOSTUNREACH");
    expect(datagram?.answer).toBeNull();
  });
});

describe("two endpoints of one node", () => {
  it("listen on the same port and are told apart from both nodes", async () => {
    const first = await serve({}, "first");
    const second = await serve({}, "second");
    expect(first.address).not.toBe(second.address);
    for (const node of NODES) {
      const reports = await ask({ node }, `${first.address}:${PORT}`, `${second.address}:${PORT}`);
      expect(reports.map(({ answer }) => answer?.label)).toEqual(["first", "second"]);
    }
    await first.stop();
    const [refused, answered] = await ask({ node: "node-2" }, `${first.address}:${PORT}`, `${second.address}:${PORT}`);
    expect(refused?.error).toBe("EHOSTUNREACH");
    expect(answered?.answer?.label).toBe("second");
    await second.stop();
  });
});

describe("every pair of tiers and nodes", () => {
  const servers: Background[] = [];

  beforeAll(async () => {
    for (const tier of TIERS) servers.push(await serve({ tier }, `server-${tier}`));
  });

  afterAll(async () => {
    await Promise.all(servers.map((server) => server.stop()));
  });

  it.each(NODES.flatMap((node) => TIERS.map((tier) => [tier, node] as const)))(
    "sees overlay addresses on both ends (client %s on %s)",
    async (tier, node) => {
      const client = await cluster.start(
        { node, tier, ready: { prints: /server-preload/ } },
        peerClient(
          servers.map(({ address }) => `${address}:${PORT}`),
          { HOLD: "yes" },
        ),
      );
      const reports = readReports(client.stdout);
      expect(reports.map(({ answer }) => answer?.label)).toEqual(["server-notify", "server-preload"]);
      for (const { target, local, peer, answer } of reports) {
        expect(peer).toBe(target);
        expect(answer?.local).toBe(target);
        expect(answer?.peer).toBe(local);
        expect(local?.split(":")[0]).toBe(client.address);
      }
      client.closeInput();
      expect((await client.ended).exitCode).toBe(0);
    },
  );
});

/** HOST PORT: keeps one connection, and for each line of its input uses that, makes another one and sends a datagram. */
const ASKER = `
import socket, sys
server = sys.argv[1], int(sys.argv[2])
held = socket.create_connection(server)
print("held", held.recv(4096), flush=True)
for line in sys.stdin:
    held.sendall(b"still here")
    with socket.create_connection(server) as connection:
        print("tcp", connection.recv(4096), flush=True)
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect(server)
        datagrams.send(b"?")
        print("udp", datagrams.recv(4096), flush=True)
    print("asked", line, end="", flush=True)
`;

describe("a controller that says nothing any more", () => {
  it("is not missed by what runs: connections go on and are made, datagrams come", async () => {
    const server = await serve({ node: "node-2" }, "server");
    const client = await cluster.start({ node: "node-1", name: "asker", ready: { prints: /held/ } }, [
      ...["python3", "-c", ASKER, server.address, String(PORT)],
    ]);
    const { processes } = JSON.parse(readFileSync(`${cluster.runDir}/cluster.json`, "utf8")) as {
      processes: { role: string; pid: number }[];
    };
    const controller = processes.find(({ role }) => role === "controller");
    if (!controller) throw new Error("there is no controller");
    process.kill(controller.pid, "SIGSTOP");
    try {
      client.write("frozen\n");
      await client.prints(/asked frozen/);
    } finally {
      process.kill(controller.pid, "SIGCONT");
    }
    expect(client.stdout).toMatch(/tcp .*server.*udp .*server/s);
    expect((await ask({}, `${server.address}:${PORT}`))[0]?.answer?.label).toBe("server");
    client.closeInput();
    expect((await client.ended).exitCode).toBe(0);
    await server.stop();
  });
});
