/**
 * getsockname, getpeername and accept show overlay addresses: in every state of a socket, for every family, in both
 * tiers, from the same node and from another one. `names` prints what the calls say; here is what they should say.
 */
import { execFile, spawn } from "node:child_process";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type Background, Output } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { type BuiltProgram, built } from "./fixture/programs.js";
import { until } from "./fixture/until.js";

interface Line {
  readonly state: string;
  readonly local: string;
  readonly peer: string;
  readonly acceptedFrom?: string;
}

type Family = "4" | "6";

const PORT = 7_100;
const BOUND_PORT = 20_001;

/** As a socket of that family shows it: IPv4 addresses as v4-mapped ones, if it is an IPv6 socket. */
function nameOf(family: Family, address: string, port: number | string): string {
  return family === "4" ? `${address}:${port}` : `[::ffff:${address}]:${port}`;
}

function portOf(name: string): number {
  return Number(name.slice(name.lastIndexOf(":") + 1));
}

function linesOf(output: string): Line[] {
  return output
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line) as Line);
}

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster?.stop());

interface Server {
  readonly process: Background;
  /** Family of the listener that clients reach. */
  readonly family: Family;
  readonly port: number;
}

async function startServer(
  tier: TierChoice,
  family: string,
  mode: string,
  address: string,
  program: BuiltProgram = "names",
): Promise<Background> {
  const label = `${family}-${mode}-${tier}-${address === "-" ? "unbound" : ""}${program}`.replaceAll(/-+/g, "-");
  const command = [built(program), "server", family, mode, address, String(PORT)];
  const server = await cluster.start({ node: "node-2", tier, name: label }, command);
  await server.prints(family === "both" ? /(.*listening.*\n.*){2}/s : /listening.*\n/);
  return server;
}

/** What the server says about the connection that a client's name belongs to. */
function acceptedLine(server: Server, clientAddress: string, clientPort: number): Promise<Line> {
  const wanted = nameOf(server.family, clientAddress, clientPort);
  return until(
    () => linesOf(server.process.stdout).find(({ acceptedFrom }) => acceptedFrom === wanted),
    `${server.process.name} accepts a connection of ${wanted}; it has printed:\n${server.process.stdout}`,
    5_000,
  );
}

describe.each<TierChoice>(["notify", "preload"])("%s", (tier) => {
  let servers: Server[];

  beforeAll(async () => {
    const start = async (listener: string, mode: string, address: string, family: Family): Promise<Server> => {
      const process = await startServer(tier, listener, mode, address);
      const listening = linesOf(process.stdout).find(({ state }) => state === "listening");
      return { process, family, port: portOf(listening?.local ?? "") };
    };
    servers = await Promise.all([
      start("4", "blocking", "0.0.0.0", "4"),
      start("6", "epoll", "::", "6"),
      start("both", "epoll", "0.0.0.0", "4"),
      start("4", "epoll", "-", "4"),
    ]);
  });

  afterAll(() => Promise.all(servers.map((server) => server.process.stop())));

  it("shows the names of listeners before and after listen", () => {
    const [four, six, both, unbound] = servers.map((server) => linesOf(server.process.stdout).slice(0, 6));
    const states = (any: string) => [
      { state: "unbound", local: `${any}:0`, peer: "ENOTCONN" },
      { state: "bound", local: `${any}:${PORT}`, peer: "ENOTCONN" },
      { state: "listening", local: `${any}:${PORT}`, peer: "ENOTCONN" },
    ];
    expect(four).toEqual(states("0.0.0.0"));
    expect(six).toEqual(states("[::]"));
    expect(both).toEqual([...states("0.0.0.0"), ...states("[::]")]);
    expect(unbound).toEqual([
      { state: "unbound", local: "0.0.0.0:0", peer: "ENOTCONN" },
      { state: "listening", local: expect.stringMatching(/^0\.0\.0\.0:[1-9]\d*$/), peer: "ENOTCONN" },
    ]);
  });

  describe.each([
    ["the same node", "node-2"],
    ["another node", "node-1"],
  ])("clients on %s", (_where, node) => {
    it.each<[Family, string]>([
      ["4", "blocking"],
      ["4", "epoll"],
      ["6", "blocking"],
      ["6", "epoll"],
    ])("show overlay addresses in every state (family %s, %s)", async (family, mode) => {
      const client = (server: Server, bindPort: number, farewell: string) =>
        `${built("names")} client ${family} ${mode} ${server.process.address} ${server.port} ${bindPort} ${farewell}`;
      const cases = servers.flatMap((server, index) => [
        { server, bindPort: 0, farewell: "close" },
        { server, bindPort: 0, farewell: "reset" },
        { server, bindPort: BOUND_PORT + index, farewell: "close" },
        { server, bindPort: 0, farewell: "again" },
      ]);
      const commands = cases.map((one) => `echo; ${client(one.server, one.bindPort, one.farewell)}`);
      const output = await cluster.output({ node, tier }, ["sh", "-ec", ["hostname -I", ...commands].join("; ")]);
      const [own = "", ...reports] = output.split("\n\n");
      const address = own.trim();
      expect(address).toMatch(/^10\.32\.\d+\.\d+$/);

      for (const [index, { server, bindPort, farewell }] of cases.entries()) {
        const lines = linesOf(reports[index] ?? "");
        const any = family === "4" ? "0.0.0.0" : "[::]";
        const connected = lines.filter(({ state }) => state === "connected");
        const local = connected[0]?.local ?? "";
        const peer = nameOf(family, server.process.address, server.port);
        const port = bindPort || portOf(local);
        const name = nameOf(family, address, port);
        const what = `${server.process.name}, ${farewell}, bound to ${bindPort}`;
        expect(lines, what).toEqual([
          { state: "unbound", local: `${any}:0`, peer: "ENOTCONN" },
          ...(bindPort ? [{ state: "bound", local: `${any}:${bindPort}`, peer: "ENOTCONN" }] : []),
          { state: "connected", local: name, peer },
          farewell === "reset"
            ? { state: "reset", local: name, peer: "ENOTCONN" }
            : { state: "half-closed", local: name, peer },
          ...(farewell === "again"
            ? [
                { state: "disconnected", local: `${any}:${port}`, peer: "ENOTCONN" },
                { state: "connected", local: connected[1]?.local, peer },
              ]
            : []),
        ]);
        for (const line of connected) {
          expect(line.local).toBe(nameOf(family, address, portOf(line.local)));
          const accepted = await acceptedLine(server, address, portOf(line.local));
          expect(accepted.local).toBe(nameOf(server.family, server.process.address, server.port));
          expect(accepted.peer).toBe(accepted.acceptedFrom);
        }
      }
    });
  });
});

describe.each<[TierChoice, BuiltProgram, Family, string]>([
  ["notify", "names", "4", "notify"],
  ["preload", "names", "4", "preload"],
  ["preload", "names-musl", "4", "preload"],
  // The preloaded library leaves IPv6 sockets, and programs without a dynamic loader, to the tier beneath.
  ["preload", "names", "6", "notify"],
  ["auto", "names-static", "4", "notify"],
])("in tier %s, %s, family %s", (tier, program, family, used) => {
  it(`has host sockets of tier ${used} at both ends, and none in the container's namespace`, async () => {
    const server = await startServer(tier, family, "epoll", family === "4" ? "0.0.0.0" : "::", program);
    const command = [built(program), "client", family, "epoll", server.address, String(PORT), "0", "hold"];
    const client = await cluster.start({ node: "node-1", tier }, command);
    await client.prints(/connected/);
    await server.prints(/accepted/);
    const connections = await cluster.cli.json<Connection[]>("connections");
    const sideOf = ({ name }: Background) => connections.filter(({ endpoint }) => endpoint === name);
    const clientPort = portOf(linesOf(client.stdout).at(-1)?.local ?? "");
    const clientSide = { address: client.address, port: clientPort };
    const serverSide = { address: server.address, port: PORT };
    expect(sideOf(server)).toMatchObject([{ direction: "inbound", tier: used, local: serverSide, peer: clientSide }]);
    expect(sideOf(client)).toMatchObject([{ direction: "outbound", tier: used, local: clientSide, peer: serverSide }]);
    for (const { node, name } of [client, server]) expect(await socketsInNamespace(node, name)).toBe("");
    client.closeInput();
    expect(await client.ended).toMatchObject({ exitCode: 0 });
    await server.stop();
  });
});

interface Connection {
  readonly endpoint: string;
}

/** TCP sockets of an endpoint's own namespace, as ss(8) lists them. */
async function socketsInNamespace(node: string, name: string): Promise<string> {
  const { endpoints } = await cluster.agent(node).local.listAttachedEndpoints({});
  const netns = endpoints.find(({ endpoint }) => endpoint?.name === name)?.netnsPath;
  const { stdout } = await promisify(execFile)("nsenter", [`--net=${netns}`, "ss", "-tanH"]);
  return stdout;
}

describe("binding", () => {
  it("to the endpoint's own address, or to port 0, shows what was asked for", async () => {
    const script = `own=$(hostname -I | tr -d ' '); exec ${built("names")} server 4 blocking $own 0`;
    const server = await cluster.start({ node: "node-2", ready: { prints: /listening.*\n/ } }, ["sh", "-c", script]);
    const name = expect.stringMatching(new RegExp(`^${server.address}:[1-9]\\d*$`));
    const lines = linesOf(server.stdout);
    expect(lines.slice(1)).toMatchObject([
      { state: "bound", local: name },
      { state: "listening", local: name },
    ]);
    const port = String(portOf(lines[2]?.local ?? ""));
    await cluster.output({ node: "node-1" }, [built("names"), "client", "4", "blocking", server.address, port]);
    await server.stop();
  });

  it.each(["notify", "preload"] as const)(
    "to an address of somebody else fails with EADDRNOTAVAIL (%s)",
    async (tier) => {
      for (const address of ["10.32.200.200", "10.200.0.1", "192.0.2.1"]) {
        const result = await cluster.run({ tier }, [built("names"), "server", "4", "blocking", address, "80"]);
        expect(result).toMatchObject({ exitCode: 1, stderr: "names: bind: EADDRNOTAVAIL\n" });
      }
    },
  );

  it.each(["notify", "preload"] as const)("to IPv6 only leaves IPv4 to nobody (%s)", async (tier) => {
    const server = await startServer(tier, "6only", "blocking", "::");
    for (const family of ["4", "6"]) {
      const command = [built("names"), "client", family, "blocking", server.address, String(PORT)];
      const result = await cluster.run({ node: "node-1", tier }, command);
      expect(result).toMatchObject({ exitCode: 1, stderr: "names: connect: ECONNREFUSED\n" });
    }
    await server.stop();
  });
});

describe.each(["notify", "preload"] as const)("loopback (%s)", (tier) => {
  /** Listener, client, and the names that both see; the client's port is asked for. */
  const CASES = [
    ["4", "0.0.0.0", "4", "127.0.0.1", "127.0.0.1"],
    ["4", "127.0.0.1", "4", "127.0.0.1", "127.0.0.1"],
    ["4", "0.0.0.0", "4", "0.0.0.0", "127.0.0.1"],
    ["6", "::", "6", "127.0.0.1", "[::ffff:127.0.0.1]"],
    ["6", "::", "6", "::1", "[::1]"],
    ["6", "::1", "6", "::1", "[::1]"],
  ] as const;

  it("is the container's own", async () => {
    const names = built("names");
    const commands = CASES.map(
      ([listener, bound, client, target], index) => `
        ${names} server ${listener} blocking ${bound} ${PORT + index} >/tmp/$$-${index} & pid=$!
        while ! grep -qs listening /tmp/$$-${index}; do sleep 0.01; done
        ${names} client ${client} blocking ${target} ${PORT + index} ${BOUND_PORT + index}
        kill $pid; wait $pid || true; grep accepted /tmp/$$-${index}; rm /tmp/$$-${index}; echo`,
    );
    const reports = (await cluster.output({ tier }, ["sh", "-ec", commands.join("\n")])).split("\n\n");
    for (const [index, [, , , , address]] of CASES.entries()) {
      const clientName = `${address}:${BOUND_PORT + index}`;
      const serverName = `${address}:${PORT + index}`;
      const lines = linesOf(reports[index] ?? "").filter(({ state }) => state === "connected" || state === "accepted");
      expect(lines, CASES[index]?.join(" ")).toEqual([
        { state: "connected", local: clientName, peer: serverName },
        { state: "accepted", local: serverName, peer: clientName, acceptedFrom: clientName },
      ]);
    }
  });

  it("keeps listeners of 127.0.0.1 and ::1 apart, and both out of others' reach", async () => {
    const start = (family: string, address: string) =>
      cluster.start({ name: `own-${family}`, tier, ready: { prints: /listening/ } }, [
        ...[built("names"), "server", family, "blocking", address, String(PORT)],
      ]);
    for (const [family, address] of [
      ["4", "127.0.0.1"],
      ["6", "::1"],
    ] as const) {
      const server = await start(family, address);
      for (const node of ["node-1", "node-2"]) {
        for (const target of [server.address, "127.0.0.1", "::1"]) {
          const command = [built("names"), "client", "6", "blocking", target, String(PORT)];
          const result = await cluster.run({ node, tier }, command);
          expect(result).toMatchObject({ exitCode: 1, stderr: "names: connect: ECONNREFUSED\n" });
        }
      }
      await server.stop();
    }
    const [names, port] = [built("names"), PORT];
    const script = `${names} server 4 blocking 127.0.0.1 ${port} >/tmp/$$ & pid=$!
      while ! grep -qs listening /tmp/$$; do sleep 0.01; done
      ${names} client 6 blocking ::1 ${port}; code=$?; kill $pid; rm /tmp/$$; exit $code`;
    expect(await cluster.run({ tier }, ["sh", "-c", script])).toMatchObject({
      exitCode: 1,
      stderr: "names: connect: ECONNREFUSED\n",
    });
  });

  it("does not lead to the node: its listeners on loopback and on its own address stay out of reach", async () => {
    const netns = cluster.netnsOf("node-1");
    const arguments_ = [`--net=/run/netns/${netns}`, built("names"), "server", "6", "blocking", "::", "9999"];
    const listener = spawn("nsenter", arguments_, { stdio: ["ignore", "pipe", "ignore"] });
    const output = new Output(listener);
    try {
      await output.untilMatch(/listening/, "the node's listener");
      for (const [address, error] of [
        ["127.0.0.1", "ECONNREFUSED"],
        ["::1", "ECONNREFUSED"],
        ["10.200.0.1", "EHOSTUNREACH"],
      ]) {
        const command = [built("names"), "client", "6", "blocking", `${address}`, "9999"];
        const result = await cluster.run({ node: "node-1", tier }, command);
        expect(result).toMatchObject({ exitCode: 1, stderr: `names: connect: ${error}\n` });
      }
      expect(output.stdout).not.toContain("accepted");
    } finally {
      listener.kill();
      await output.ended;
    }
  });
});
