/**
 * TCP between accelerated endpoints and those that are not: plain endpoints, processes that entered an endpoint's
 * namespace, and the node's own. In two networks with the same prefix at once, so that a mix-up would show.
 */
import { spawn } from "node:child_process";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { type ClientReport, peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";
import { runIn, type Surroundings } from "./testing/surroundings.js";

const PORT = 80;
const NETWORKS = ["default", "blue"] as const;
const NODES = ["node-1", "node-2"] as const;
/** What containers see of their node. */
const NODE_ALIAS = "169.254.1.2";
/** Clients bind to this one before they connect. */
const BOUND_PORT = 5_555;

interface Place {
  readonly network: string;
  readonly node: string;
  readonly tier: TierChoice;
}

const PLACES: readonly Place[] = NETWORKS.flatMap((network) => [
  { network, node: "node-1", tier: "plain" },
  { network, node: "node-2", tier: "plain" },
  { network, node: "node-1", tier: "notify" },
  { network, node: "node-2", tier: "preload" },
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

/** Enters a network namespace, as a process that was there before, or a kubelet's. */
function inside(netnsPath: string): Surroundings {
  return ["nsenter", `--net=${netnsPath}`];
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

/** Every server of the place's network answers, and both ends agree on both names. */
function expectAllAnswer(place: Place, reports: readonly ClientReport[], client: string): void {
  const answering = PLACES.filter(({ network }) => network === place.network);
  expect(reports.map(({ answer, error }) => answer?.label ?? error)).toEqual(answering.map(labelOf));
  for (const { target, local, peer, answer } of reports) {
    expect({ peer, seenPeer: answer?.peer, seenLocal: answer?.local }).toEqual({
      peer: target,
      seenPeer: local,
      seenLocal: target,
    });
    expect(local?.split(":")[0]).toBe(client);
  }
}

function targetsIn(network: string): string[] {
  return PLACES.filter((place) => place.network === network).map((place) => `${serverAt(place).address}:${PORT}`);
}

beforeAll(async () => {
  cluster = await Cluster.start();
  await cluster.cli.json("network", "create", "blue", "--prefix", "10.32.0.0/16");
  // One after the other: both networks then give out the same addresses.
  for (const place of PLACES) {
    const label = labelOf(place);
    const server = await cluster.start({ ...place, name: label, ready: SERVER_READY }, peerServer(PORT, label));
    servers.set(label, server);
  }
});

afterAll(() => cluster?.stop());

describe("in networks with the same prefix", () => {
  it("the addresses are the same", () => {
    expect(targetsIn("blue")).toEqual(targetsIn("default"));
  });

  it.each(PLACES.filter(({ tier }) => tier !== "plain"))(
    "an accelerated client ($network, $node, $tier) reaches everybody",
    async (place) => {
      const client = await cluster.start({ ...place, name: "client" }, peerClient(targetsIn(place.network)));
      const { stdout } = await client.ended;
      expectAllAnswer(place, readReports(stdout), client.address);
    },
  );

  it.each(PLACES.filter(({ tier }) => tier === "plain"))(
    "a plain client ($network, $node) reaches everybody",
    async (place) => {
      const reports = await ask(await namespaceOf(place), targetsIn(place.network));
      expectAllAnswer(place, reports, serverAt(place).address);
    },
  );
});

describe("a process that entered an accelerated endpoint's namespace", () => {
  const place: Place = { network: "default", node: "node-1", tier: "notify" };

  it("reaches everybody else", async () => {
    const others = PLACES.filter(
      ({ network, node, tier }) => network === "default" && (node !== "node-1" || tier === "plain"),
    );
    const targets = others.map((other) => `${serverAt(other).address}:${PORT}`);
    const reports = await ask(await namespaceOf(place), targets);
    expect(reports.map(({ answer, error }) => answer?.label ?? error)).toEqual(others.map(labelOf));
    for (const { local, answer } of reports) {
      expect(local?.split(":")[0]).toBe(serverAt(place).address);
      expect(answer?.peer).toBe(local);
    }
  });

  it("serves plain peers beside the accelerated listener", async () => {
    const server = ["python3", "-m", "http.server", "--bind", "0.0.0.0", "8000"];
    const surroundings = await namespaceOf(place);
    const program = `${[...surroundings, ...server].join(" ")} >/dev/null 2>&1 & pid=$!; read line; kill $pid`;
    const child = spawn("sh", ["-c", program], { stdio: ["pipe", "ignore", "ignore"] });
    try {
      const client = await namespaceOf({ network: "default", node: "node-2", tier: "plain" });
      const url = `http://${serverAt(place).address}:8000/`;
      const curl = [
        "curl",
        "-sSf",
        "--retry",
        "20",
        "--retry-connrefused",
        "--retry-delay",
        "1",
        "-o",
        "/dev/null",
        url,
      ];
      expect(await runIn(client, curl)).toMatchObject({ exitCode: 0 });
      const [accelerated] = await ask(client, [`${serverAt(place).address}:${PORT}`]);
      expect(accelerated?.answer?.label).toBe(labelOf(place));
    } finally {
      child.stdin?.end("\n");
    }
  });
});

describe("the node's own processes", () => {
  it.each(NODES)("probe the endpoints of %s", async (node) => {
    const here = PLACES.filter((place) => place.network === "default" && place.node === node);
    const surroundings = inside(`/run/netns/${cluster.netnsOf(node)}`);
    const reports = await ask(
      surroundings,
      here.map((place) => `${serverAt(place).address}:${PORT}`),
    );
    expect(reports.map(({ answer, error }) => answer?.label ?? error)).toEqual(here.map(labelOf));
    for (const { local, peer, target, answer } of reports) {
      expect(local).toMatch(new RegExp(`^${NODE_ALIAS}:`));
      expect({ peer, seen: answer?.peer }).toEqual({ peer: target, seen: local });
    }
  });

  it("are not reached by containers", async () => {
    const node = inside(`/run/netns/${cluster.netnsOf("node-1")}`);
    const [program = "", ...args] = [...node, "python3", "-m", "http.server", "9123"];
    const server = spawn(program, args, { stdio: "ignore" });
    try {
      const isUp = await runIn(node, [
        "curl",
        "-sSf",
        "--retry",
        "20",
        "--retry-connrefused",
        "-o",
        "/dev/null",
        "http://127.0.0.1:9123/",
      ]);
      expect(isUp).toMatchObject({ exitCode: 0 });
      const targets = [NODE_ALIAS, "10.200.0.1", "240.0.0.0", "244.0.0.0", "244.0.0.1"].map(
        (address) => `${address}:9123`,
      );
      const namespace = await namespaceOf({ network: "default", node: "node-1", tier: "plain" });
      // Routers limit how often they say so: one address is enough.
      const plain = await ask(namespace, [`${NODE_ALIAS}:9123`, "10.200.0.1:9123"], { SYN_RETRIES: "1" });
      expect(plain.map(({ error }) => error)).toEqual(["ETIMEDOUT", "EHOSTUNREACH"]);
      const fast = readReports(await cluster.output({ tier: "notify" }, peerClient(targets)));
      expect(fast.map(({ error }) => error)).toEqual([
        ...["EHOSTUNREACH", "EHOSTUNREACH"],
        ...["ENETUNREACH", "ENETUNREACH", "ENETUNREACH"],
      ]);
    } finally {
      server.kill("SIGKILL");
    }
  });
});

describe("between an accelerated endpoint and a plain one", () => {
  it.each(["notify", "preload"] as const)(
    "a bound port, a refusal and a reset are seen as they are (%s)",
    async (tier) => {
      const plain = serverAt({ network: "default", node: "node-2", tier: "plain" });
      const program = `
import errno, json, socket, struct, sys
host, port, bound = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
s = socket.socket(); s.bind(("", bound)); s.connect((host, port))
about = json.loads(s.recv(4096))
s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)); s.close()
again = socket.socket(); again.bind(("", bound)); again.connect((host, port)); again.recv(1)
v6 = socket.socket(socket.AF_INET6); v6.connect(("::ffff:" + host, port))
r = socket.socket()
refused = errno.errorcode[r.connect_ex((host, 1))]
r.connect((host, port))
print(json.dumps({"seen": about["peer"], "local": "%s:%d" % again.getsockname(), "refused": refused,
  "v6": v6.getpeername()[0], "afterRefusal": r.getpeername()[0]}))`;
      const output = await cluster.output({ tier }, [
        "python3",
        "-c",
        program,
        plain.address,
        String(PORT),
        String(BOUND_PORT),
      ]);
      const { seen, local, ...rest } = JSON.parse(output);
      expect(seen).toMatch(new RegExp(`:${BOUND_PORT}$`));
      expect(local).toBe(seen);
      expect(rest).toEqual({ refused: "ECONNREFUSED", v6: `::ffff:${plain.address}`, afterRefusal: plain.address });
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
http { access_log off; server { listen 8088; root $d; } }
END
trap 'kill $!; rm -rf $d; exit 0' TERM; nginx -c $d/c & echo ready; wait $!; rm -rf $d`;
    const nginx = await cluster.start(
      { node: "node-2", tier: tierOf(server), name: `nginx-${server}`, ready: { prints: /^ready$/m } },
      ["sh", "-c", script],
    );
    const [sum] = nginx.stdout.split(" ");
    const get = `curl -sSf --retry 20 --retry-connrefused --retry-delay 1 http://${nginx.address}:8088/file | sha256sum`;
    const output = await cluster.output({ node: "node-1", tier: tierOf(client) }, ["sh", "-c", get]);
    expect(output.split(" ")[0]).toBe(sum);
    await nginx.stop();
  });

  it("policies hold, and the node probes all the same", async () => {
    const fast: Place = { network: "blue", node: "node-1", tier: "notify" };
    const plain: Place = { network: "blue", node: "node-2", tier: "plain" };
    await cluster.cli.json("network", "update", "blue", "--default-deny");
    try {
      const [inbound] = await ask(await namespaceOf(plain), [`${serverAt(fast).address}:${PORT}`]);
      expect(inbound?.error).toBe("ECONNREFUSED");
      const target = `${serverAt(plain).address}:${PORT}`;
      const [outbound] = readReports(await cluster.output({ network: "blue" }, peerClient([target])));
      expect(outbound?.error).toBe("EPERM");
    } finally {
      await cluster.cli.json("network", "update", "blue", "--no-default-deny");
    }
    const [again] = await ask(await namespaceOf(plain), [`${serverAt(fast).address}:${PORT}`]);
    expect(again?.answer?.label).toBe(labelOf(fast));
  });
});
