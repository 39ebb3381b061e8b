/**
 * TCP between accelerated endpoints and those that are not: plain endpoints, processes that entered an endpoint's
 * namespace, and the node's own; by both families, alone and together. In networks with the same prefixes at once, so that
 * a mix-up would show.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Background, Output } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";
import {
  type ClientReport,
  type Family,
  peerClient,
  peerServer,
  readReports,
  SERVER_READY,
  socketAddress,
} from "./testing/peer-programs.js";
import { runIn, type Surroundings } from "./testing/surroundings.js";

const PORT = 80;
const PREFIXES = { 4: ["--prefix", "10.32.0.0/16"], 6: ["--prefix6", "fd00:32::/64"] } as const;
/** The first one's endpoints are those that the nodes' own processes reach. */
const NETWORKS = { red: [4, 6], blue: [4, 6], six: [6] } as const satisfies Record<string, readonly Family[]>;
type Network = keyof typeof NETWORKS;
const NETWORK_NAMES = Object.keys(NETWORKS) as Network[];
const FAMILIES = [4, 6] as const;
const CASES = NETWORK_NAMES.flatMap((network) => NETWORKS[network].map((family) => ({ network, family })));
const NODES = ["node-1", "node-2"] as const;
/** What containers see of their node. */
const NODE_ALIAS = { 4: "169.254.1.2", 6: "100::a9fe:102" } as const;
/** Clients bind to this one before they connect. */
const BOUND_PORT = 5_555;

interface Place {
  readonly network: Network;
  readonly node: string;
  readonly tier: TierChoice;
}

const PLACES: readonly Place[] = NETWORK_NAMES.flatMap((network) => [
  { network, node: "node-1", tier: "plain" } as const,
  { network, node: "node-2", tier: "plain" } as const,
  { network, node: "node-1", tier: "notify" } as const,
  { network, node: "node-2", tier: "preload" } as const,
]);

let cluster: Cluster;
const servers = new Map<string, Background>();

function labelOf({ network, node, tier }: Place): string {
  return `${network}-${node}-${tier === "plain" ? "plain" : "fast"}`;
}

function serverAt(place: Place): Background {
  const server = servers.get(labelOf(place));
  if (!server) throw new Error(`no server ${labelOf(place)}`);
  return server;
}

function addressAt(place: Place, family: Family): string {
  const { address, address6 } = serverAt(place);
  return family === 4 ? address : address6;
}

/** HOST PORT: connects, and says once the connection or its own input ends whether it is "cut" or "alive". */
const HOLD = `
import select, socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])))
s.recv(4096)
print("connected", flush=True)
ready, _, _ = select.select([s, sys.stdin], [], [])
print("cut" if s in ready else "alive", flush=True)`;

function started(surroundings: Surroundings, command: readonly string[]): Background {
  const [program = "", ...args] = [...surroundings, ...command];
  const child = spawn(program, args, { stdio: ["pipe", "pipe", "pipe"] });
  return new Background({ name: "probe", node: "", address: "" }, child, new Output(child));
}

/** Of its server. */
function targetAt(place: Place, family: Family, port = PORT): string {
  return socketAddress(addressAt(place, family), port);
}

/** Without the port. */
function hostOf(target: string | null | undefined): string | undefined {
  return target?.replace(/:\d+$/, "");
}

function bracketed(address: string): string {
  return address.includes(":") ? `[${address}]` : address;
}

/** Enters a network namespace, as a process that was there before, or a kubelet's. */
function inside(netnsPath: string): Surroundings {
  return ["nsenter", `--net=${netnsPath}`];
}

function insideNode(node: string): Surroundings {
  return inside(`/run/netns/${cluster.netnsOf(node)}`);
}

async function namespaceOf(place: Place): Promise<Surroundings> {
  const { endpoints } = await cluster.agent(place.node).local.listAttachedEndpoints({});
  const found = endpoints.find(({ endpoint }) => endpoint?.name === labelOf(place));
  if (!found) throw new Error(`${labelOf(place)} is not attached`);
  return inside(found.netnsPath);
}

async function ask(surroundings: Surroundings, targets: readonly string[], environment = {}): Promise<ClientReport[]> {
  return readReports((await runIn(surroundings, peerClient(targets, environment))).stdout);
}

function answersOf(reports: readonly ClientReport[]): (string | null)[] {
  return reports.map(({ answer, error }) => answer?.label ?? error);
}

/** Every server of the place's network answers, and both ends agree on both names. */
function expectAllAnswer(place: Place, reports: readonly ClientReport[], client: string): void {
  expect(answersOf(reports)).toEqual(PLACES.filter(({ network }) => network === place.network).map(labelOf));
  for (const { target, local, peer, answer } of reports) {
    expect({ peer, seenPeer: answer?.peer, seenLocal: answer?.local }).toEqual({
      peer: target,
      seenPeer: local,
      seenLocal: target,
    });
    expect(hostOf(local)).toBe(bracketed(client));
  }
}

function targetsIn(network: Network, family: Family): string[] {
  return PLACES.filter((place) => place.network === network).map((place) => targetAt(place, family));
}

/** Python's web server among plain sockets; answers when this resolves. */
async function webServer(surroundings: Surroundings, address: string, port: number): Promise<ChildProcess> {
  const [program = "", ...args] = [...surroundings, "python3", "-m", "http.server", "--bind", address, String(port)];
  const server = spawn(program, args, { stdio: "ignore" });
  const list = [...surroundings, "ss", "-Htln", `sport = :${port}`];
  await until(async () => (await runIn([], list)).stdout !== "", `a server listens on port ${port}`);
  return server;
}

beforeAll(async () => {
  cluster = await Cluster.start();
  for (const network of NETWORK_NAMES) {
    const prefixes = NETWORKS[network].flatMap((family) => PREFIXES[family]);
    await cluster.cli.json("network", "create", network, ...prefixes);
  }
  // One after the other: the networks then give out the same addresses.
  for (const place of PLACES) {
    const label = labelOf(place);
    const command = peerServer(PORT, label, FAMILIES);
    servers.set(label, await cluster.start({ ...place, name: label, ready: SERVER_READY }, command));
  }
});

afterAll(() => cluster?.stop());

describe.each(CASES)("in network $network, with the prefixes of others, by IPv$family", ({ network, family }) => {
  const places = PLACES.filter((place) => place.network === network);

  it("the addresses are those of the others", () => {
    expect(targetsIn(network, family)).toEqual(targetsIn("red", family));
  });

  it.each(places.filter(({ tier }) => tier !== "plain"))(
    "an accelerated client ($node, $tier) reaches everybody",
    async (place) => {
      const client = await cluster.start({ ...place, name: "client" }, peerClient(targetsIn(network, family)));
      const { stdout } = await client.ended;
      expectAllAnswer(place, readReports(stdout), family === 4 ? client.address : client.address6);
    },
  );

  it.each(places.filter(({ tier }) => tier === "plain"))("a plain client ($node) reaches everybody", async (place) => {
    const reports = await ask(await namespaceOf(place), targetsIn(network, family));
    expectAllAnswer(place, reports, addressAt(place, family));
  });

  it("datagrams of every size and pings pass between accelerated and plain endpoints", async () => {
    for (const place of places.filter(({ node }) => node === "node-1")) {
      const surroundings = await namespaceOf(place);
      const targets = targetsIn(network, family).map((target) => `udp/${target}`);
      // The last ones do not fit into a packet.
      for (const length of ["1", "1400", "1473", "20000"]) {
        const reports = await ask(surroundings, targets, { LENGTH: length });
        expect(answersOf(reports)).toEqual(places.map(labelOf));
        expect(reports.map(({ answer }) => answer?.received)).toEqual(targets.map(() => Number(length)));
      }
      for (const to of places) {
        const ping = ["ping", "-n", "-c", "2", "-i", "0.05", "-s", "4000", addressAt(to, family)];
        expect((await runIn(surroundings, ping)).stdout).toContain("2 received, 0% packet loss");
      }
    }
  });
});

describe.each(FAMILIES)("a process that entered an accelerated endpoint's namespace, by IPv%i", (family) => {
  const place: Place = { network: "red", node: "node-1", tier: "notify" };

  it("reaches everybody else", async () => {
    const others = PLACES.filter(
      ({ network, node, tier }) => network === "red" && (node !== "node-1" || tier === "plain"),
    );
    const reports = await ask(
      await namespaceOf(place),
      others.map((other) => targetAt(other, family)),
    );
    expect(answersOf(reports)).toEqual(others.map(labelOf));
    for (const { local, answer } of reports) {
      expect(hostOf(local)).toBe(bracketed(addressAt(place, family)));
      expect(answer?.peer).toBe(local);
    }
  });

  it("serves plain peers beside the accelerated listener", async () => {
    const server = await webServer(await namespaceOf(place), family === 4 ? "0.0.0.0" : "::", 8000);
    try {
      const client = await namespaceOf({ network: "red", node: "node-2", tier: "plain" });
      const url = `http://${targetAt(place, family, 8000)}/`;
      expect(await runIn(client, ["curl", "-gsSf", "-o", "/dev/null", url])).toMatchObject({ exitCode: 0 });
      expect(answersOf(await ask(client, [targetAt(place, family)]))).toEqual([labelOf(place)]);
    } finally {
      server.kill("SIGKILL");
    }
  });
});

describe.each(FAMILIES)("the node's own processes, by IPv%i", (family) => {
  it.each(NODES)("probe the endpoints of %s", async (node) => {
    const here = PLACES.filter((place) => place.network === "red" && place.node === node);
    const reports = await ask(
      insideNode(node),
      here.map((place) => targetAt(place, family)),
    );
    expect(answersOf(reports)).toEqual(here.map(labelOf));
    for (const { local, peer, target, answer } of reports) {
      expect(hostOf(local)).toBe(bracketed(NODE_ALIAS[family]));
      expect({ peer, seen: answer?.peer }).toEqual({ peer: target, seen: local });
    }
  });

  it("ping the endpoints", async () => {
    const to = addressAt({ network: "red", node: "node-1", tier: "notify" }, family);
    expect((await runIn(insideNode("node-1"), ["ping", "-n", "-c", "1", to])).stdout).toContain("1 received");
  });

  it("are not reached by containers", async () => {
    const port = 9_123;
    const server = await webServer(insideNode("node-1"), family === 4 ? "0.0.0.0" : "::", port);
    const { endpoints } = await cluster.agent("node-1").local.listAttachedEndpoints({});
    const vni = Number(endpoints[0]?.listenerMetadata.split("/")[1]).toString(16).padStart(6, "0");
    const block = `${vni.slice(0, 2)}:${vni.slice(2)}`;
    const aliases = {
      4: ["10.200.0.1", "240.0.0.0", "244.0.0.0", "244.0.0.1"],
      6: [`100::f0${block}:0:0`, `100::f4${block}:0:0`, `100::f4${block}:0:1`, "100::1"],
    }[family];
    try {
      const namespace = await namespaceOf({ network: "red", node: "node-1", tier: "plain" });
      // Routers limit how often they say so: one address is enough.
      const targets = [NODE_ALIAS[family], aliases[0] ?? ""].map((address) => socketAddress(address, port));
      const plain = await ask(namespace, targets, { SYN_RETRIES: "1" });
      expect(plain.map(({ error }) => error)).toEqual(["ETIMEDOUT", family === 4 ? "EHOSTUNREACH" : "ENETUNREACH"]);
      const fast = await cluster.output(
        { network: "red", tier: "notify" },
        peerClient([NODE_ALIAS[family], ...aliases].map((address) => socketAddress(address, port))),
      );
      const hidden = family === 4 ? "EHOSTUNREACH" : "ENETUNREACH";
      expect(readReports(fast).map(({ error }) => error)).toEqual([
        ...[hidden, hidden],
        ...["ENETUNREACH", "ENETUNREACH", "ENETUNREACH"],
      ]);
    } finally {
      server.kill("SIGKILL");
    }
  });
});

describe.each(FAMILIES)("between an accelerated endpoint and a plain one, by IPv%i", (family) => {
  it.each(["notify", "preload"] as const)(
    "a bound port, a refusal and a reset are seen as they are (%s)",
    async (tier) => {
      const plain: Place = { network: "red", node: "node-2", tier: "plain" };
      const program = `
import errno, json, socket, struct, sys
host, port, bound = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
family = socket.AF_INET6 if ":" in host else socket.AF_INET
name = lambda address: ("[%s]:%d" if ":" in address[0] else "%s:%d") % address[:2]
s = socket.socket(family); s.bind(("", bound)); s.connect((host, port))
about = json.loads(s.recv(4096))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
again = socket.socket(family); again.bind(("", bound)); again.connect((host, port)); again.recv(1)
r = socket.socket(family)
refused = errno.errorcode[r.connect_ex((host, 1))]
r.connect((host, port))
mapped = None
if family == socket.AF_INET:
    mapped = socket.socket(socket.AF_INET6); mapped.connect(("::ffff:" + host, port)); mapped = mapped.getpeername()[0]
print(json.dumps({"seen": about["peer"], "local": name(again.getsockname()), "refused": refused,
  "mapped": mapped, "afterRefusal": r.getpeername()[0]}))`;
      const host = addressAt(plain, family);
      const command = ["python3", "-c", program, host, String(PORT), String(BOUND_PORT)];
      const { seen, local, ...rest } = JSON.parse(await cluster.output({ network: "red", tier }, command));
      expect(seen).toMatch(new RegExp(`:${BOUND_PORT}$`));
      expect(local).toBe(seen);
      const mapped = family === 4 ? `::ffff:${host}` : null;
      expect(rest).toEqual({ refused: "ECONNREFUSED", mapped, afterRefusal: host });
    },
  );

  it.each([
    ["accelerated", "plain"],
    ["plain", "accelerated"],
  ] as const)("a large file gets whole to a client (%s) from nginx (%s) on another node", async (client, server) => {
    const tierOf = (kind: "accelerated" | "plain"): TierChoice => (kind === "plain" ? "plain" : "auto");
    const script = `d=$(mktemp -d); head -c 30000000 /dev/urandom > $d/file; sha256sum < $d/file; chmod -R a+rX $d
cat > $d/c <<END
daemon off; master_process off; pid $d/pid; error_log $d/log; events {}
http { access_log off; server { listen 8088; listen [::]:8088; root $d; } }
END
trap 'kill $!; rm -rf $d; exit 0' TERM; nginx -c $d/c & echo ready; wait $!; rm -rf $d`;
    const nginx = await cluster.start(
      {
        node: "node-2",
        network: "red",
        tier: tierOf(server),
        name: `nginx-${server}-${family}`,
        ready: { prints: /^ready$/m },
      },
      ["sh", "-c", script],
    );
    const [sum] = nginx.stdout.split(" ");
    const target = socketAddress(family === 4 ? nginx.address : nginx.address6, 8088);
    const get = `curl -gsSf --retry 20 --retry-connrefused --retry-delay 1 http://${target}/file | sha256sum`;
    const place = { node: "node-1", network: "red", tier: tierOf(client) };
    expect((await cluster.output(place, ["sh", "-c", get])).split(" ")[0]).toBe(sum);
    await nginx.stop();
  });

  it("a policy that denies everything cuts endpoints' connections, and not the node's own", async () => {
    const fast: Place = { network: "red", node: "node-1", tier: "notify" };
    const hold = ["python3", "-c", HOLD, addressAt(fast, family), String(PORT)];
    const probe = started(insideNode("node-1"), hold);
    const client = await cluster.start(
      { network: "red", node: "node-1", name: `holds-${family}`, ready: { prints: /connected/ } },
      hold,
    );
    await probe.prints(/connected/);
    await cluster.cli.json("network", "update", "red", "--default-deny");
    try {
      expect((await client.ended).stdout).toContain("cut");
      expect(answersOf(await ask(insideNode("node-1"), [targetAt(fast, family)]))).toEqual([labelOf(fast)]);
      probe.closeInput();
      expect((await probe.ended).stdout).toContain("alive");
    } finally {
      await cluster.cli.json("network", "update", "red", "--no-default-deny");
    }
  });

  it("policies hold", async () => {
    const fast: Place = { network: "blue", node: "node-1", tier: "notify" };
    const plain: Place = { network: "blue", node: "node-2", tier: "plain" };
    await cluster.cli.json("network", "update", "blue", "--default-deny");
    try {
      const [inbound] = await ask(await namespaceOf(plain), [targetAt(fast, family)]);
      expect(inbound?.error).toBe("ECONNREFUSED");
      const outbound = await cluster.output({ network: "blue" }, peerClient([targetAt(plain, family)]));
      expect(readReports(outbound)[0]?.error).toBe("EPERM");
    } finally {
      await cluster.cli.json("network", "update", "blue", "--no-default-deny");
    }
    expect(answersOf(await ask(await namespaceOf(plain), [targetAt(fast, family)]))).toEqual([labelOf(fast)]);
  });
});
