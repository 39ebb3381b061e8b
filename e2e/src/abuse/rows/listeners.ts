/** Rows 3 and 8: addresses and ports of the node, real ports of listeners, other containers' listeners. */
import { execFileSync, spawn } from "node:child_process";
import { until } from "../../fixture/until.js";
import { type Attempt, FAMILIES, WAYS } from "../attempts.js";
import {
  ALL_WAYS,
  addressFor,
  attempt,
  endpointOf,
  hostile,
  inNamespace,
  NETWORK,
  reports,
  type Stage,
} from "../stage.js";

interface Listening extends Pick<Attempt, "family" | "way"> {
  readonly how: string;
  readonly port: number;
  readonly error: string | null;
}

interface Knock {
  readonly address: string;
  readonly port: number;
  readonly answer: string;
}

const FIRST_PORT = 9_100;
/** Its connections stay in TIME_WAIT for a while, and the ports with them. */
const CONTROL_PORT = 9_200;
const SHARED_PORT = 9_300;
const COMBINATIONS = 9;
const ASKED = 40;
const LISTEN = "0A";
/** Of the node, as it may have one. */
const NODE_ADDRESS6 = "fd99::1";

/** Ports on which somebody listens in the namespace, whoever it is. */
function listeningPorts(netns: string): Set<number> {
  const lines = inNamespace(netns, ["cat", "/proc/net/tcp", "/proc/net/tcp6"]).split("\n");
  const fields = lines.map((line) => line.trim().split(/\s+/)).filter(([, , , state]) => state === LISTEN);
  return new Set(fields.map(([, local = ""]) => Number.parseInt(local.split(":")[1] ?? "", 16)));
}

/** Listeners of every kind: nobody reaches them but through dispatch, and no port of the node is taken. */
export async function realPorts({ cluster }: Stage, nodeAddress: string): Promise<Attempt[]> {
  const netns = cluster.netnsOf("node-1");
  const before = listeningPorts(netns);
  const nodes = `${nodeAddress}/${NODE_ADDRESS6}`;
  const hows = ["any", "loopback", "unbound", nodes];
  const box = await cluster.start(
    { network: NETWORK, name: "binder", ready: { prints: /"how"/ } },
    hostile("listen", "inner", hows.join(), ALL_WAYS, FIRST_PORT),
  );
  const said = await until(() => {
    const all = reports<Listening>(box.stdout);
    return all.length === hows.length * COMBINATIONS ? all : undefined;
  }, "all have said where they listen");
  const toNode = said
    .filter(({ how }) => how === nodes)
    .map(({ error, family, way }) => attempt(3, "bind to the node's address", error === null, error, { family, way }));
  const reachable = said.filter(({ how, error }) => how !== nodes && error === null);
  const real = [...listeningPorts(netns)].filter((port) => !before.has(port));
  if (reachable.length !== 3 * COMBINATIONS || real.length < reachable.length) {
    throw new Error(`${reachable.length} listeners, ${real.length} real ports: ${JSON.stringify(said)}`);
  }
  const from = (where: string, addresses: string[]) =>
    reports<Knock>(inNamespace(where, hostile("knock", real.join(), ...addresses))).map(({ address, answer }) =>
      attempt(3, `a listener's real port, at ${address}`, answer.startsWith("inner"), answer, {
        family: familyOf(address),
      }),
    );
  const knocks = [
    ...from(netns, ["127.0.0.1", "::1", "::ffff:127.0.0.1", nodeAddress, NODE_ADDRESS6]),
    ...from(cluster.netnsOf("node-2"), [nodeAddress]),
  ];
  // The node's own programs may have the ports that the container says it has.
  const ports = JSON.stringify(reachable.map(({ port }) => port));
  const bindAll = `import socket\nfor p in ${ports}: socket.create_server(("", p)).close()`;
  let taken: string | null = null;
  try {
    inNamespace(netns, ["python3", "-c", bindAll]);
  } catch (error) {
    taken = String(error);
  }
  await box.stop();
  return [
    ...toNode,
    ...knocks,
    ...reachable.map(({ family, way }) =>
      attempt(3, "take a port of the node's", taken !== null, taken, { family, way }),
    ),
  ];
}

function familyOf(address: string): Attempt["family"] {
  if (address.startsWith("::ffff:")) return "mapped";
  return address.includes(":") ? "inet6" : "inet";
}

/** The same, where nothing protects: the node's addresses are bound, every listener on all addresses is reached. */
export function realPortsControl({ cluster }: Stage, nodeAddress: string): Promise<number> {
  const netns = cluster.netnsOf("node-1");
  execFileSync("ip", ["-n", netns, "address", "add", `${NODE_ADDRESS6}/128`, "dev", "lo", "nodad"]);
  return withListeners(netns, ["any", "unbound", `${nodeAddress}/${NODE_ADDRESS6}`], async (said) => {
    const failed = said.filter(({ error }) => error !== null);
    if (failed.length > 0) throw new Error(`the node itself cannot listen: ${JSON.stringify(failed)}`);
    const ports = (wanted: Attempt["family"]) => said.filter(({ family }) => family === wanted).map(({ port }) => port);
    const knock = (family: Attempt["family"], address: string) =>
      reports<Knock>(inNamespace(netns, hostile("knock", ports(family).join(), address)));
    const knocks = [...knock("inet", nodeAddress), ...knock("inet6", NODE_ADDRESS6), ...knock("mapped", nodeAddress)];
    return knocks.filter(({ answer }) => answer.startsWith("inner")).length / knocks.length;
  });
}

async function withListeners<T>(
  netns: string,
  hows: readonly string[],
  use: (said: Listening[]) => Promise<T>,
): Promise<T> {
  const [program = "", ...args] = hostile("listen", "inner", hows.join(), ALL_WAYS, CONTROL_PORT);
  const child = spawn("nsenter", [`--net=/run/netns/${netns}`, program, ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  let stdout = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    stdout += text;
  });
  try {
    const said = await until(() => {
      const all = reports<Listening>(stdout.slice(0, stdout.lastIndexOf("\n") + 1));
      return all.length === hows.length * COMBINATIONS ? all : undefined;
    }, "all listen");
    return await use(said);
  } finally {
    child.stdin.end();
    await new Promise((done) => child.once("close", done));
  }
}

/** A neighbour of the same node listens on the same ports with SO_REUSEPORT: it gets none of the connections. */
export async function shared(stage: Stage): Promise<Attempt[]> {
  const { cluster } = stage;
  const start = (name: string, tag: string, ways: string) =>
    cluster.start(
      { network: NETWORK, name, ready: { prints: /"how"/ } },
      hostile("listen", tag, "shared", ways, SHARED_PORT),
    );
  const victim = await start("victim", "owner", "direct");
  const thief = await start("thief", "thief", ALL_WAYS);
  await until(() => reports(thief.stdout).length === COMBINATIONS, "the thief listens");
  await until(() => reports(victim.stdout).length === 3, "the victim listens");
  const attempts: Attempt[] = [];
  const victims = await endpointOf(stage, victim);
  for (const [index, family] of FAMILIES.entries()) {
    const ask = hostile("ask", ASKED, family, addressFor(family, victims), SHARED_PORT + index);
    const [answers = {}] = reports<Record<string, number>>(
      await cluster.output({ network: NETWORK, node: "node-2" }, ask),
    );
    const { ownerd = 0, ...stolenBy } = answers;
    const stolenInAll = Object.values(stolenBy).reduce((sum, count) => sum + count, 0);
    if (ownerd + stolenInAll !== ASKED) throw new Error(`nobody was reached at times: ${JSON.stringify(answers)}`);
    for (const way of WAYS) {
      const stolen = answers[`thief${way[0]}`] ?? 0;
      attempts.push(attempt(8, "share a listener by SO_REUSEPORT", stolen > 0, `${stolen} stolen`, { family, way }));
    }
  }
  await Promise.all([victim.stop(), thief.stop()]);
  return attempts;
}

/** Of the namespace's device that leads to the other nodes. */
export function underlayAddress(netns: string): string {
  const list = execFileSync("nsenter", [`--net=/run/netns/${netns}`, "ip", "-json", "-4", "address"], {
    encoding: "utf8",
  });
  const devices = JSON.parse(list) as { ifname: string; addr_info: { local: string }[] }[];
  const address = devices.find(({ ifname }) => ifname === "eth0")?.addr_info[0]?.local;
  if (address === undefined) throw new Error(`${netns} has no address: ${list}`);
  return address;
}

/** That SYN cookies are in force while a flood is on. */
export function cookiesSent(netns: string): number {
  const text = inNamespace(netns, ["cat", "/proc/net/netstat"]);
  const rows = text.split("\n").filter((line) => line.startsWith("TcpExt:"));
  const [names = [], values = []] = rows.map((line) => line.split(" "));
  return Number(values[names.indexOf("SyncookiesSent")] ?? 0);
}
