/** Rows 3 and 8: addresses and ports of the node, real ports of listeners, other containers' listeners. */
import { execFileSync, spawn } from "node:child_process";
import { until } from "../../fixture/until.js";
import type { Attempt } from "../attempts.js";
import { attempt, hostile, inNamespace, reports, type Stage, WAYS } from "../stage.js";

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
  const hows = ["any", "loopback", "unbound", nodeAddress];
  const box = await cluster.start(
    { name: "binder", ready: { prints: /"how"/ } },
    hostile("listen", "inner", hows.join(), WAYS, FIRST_PORT),
  );
  const said = await until(() => {
    const all = reports<Listening>(box.stdout);
    return all.length === hows.length * COMBINATIONS ? all : undefined;
  }, "all have said where they listen");
  const toNode = said
    .filter(({ how }) => how === nodeAddress)
    .map(({ error, family, way }) => attempt(3, "bind to the node's address", error === null, error, { family, way }));
  const reachable = said.filter(({ how, error }) => how !== nodeAddress && error === null);
  const real = [...listeningPorts(netns)].filter((port) => !before.has(port));
  if (reachable.length !== 3 * COMBINATIONS || real.length < reachable.length) {
    throw new Error(`${reachable.length} listeners, ${real.length} real ports: ${JSON.stringify(said)}`);
  }
  const from = (where: string, addresses: string[]) =>
    reports<Knock>(inNamespace(where, hostile("knock", real.join(), ...addresses))).map(({ address, answer }) =>
      attempt(3, `a listener's real port, at ${address}`, answer.startsWith("inner"), answer, {
        family: address.includes(":") ? "inet6" : "inet",
      }),
    );
  const knocks = [...from(netns, ["127.0.0.1", "::1", nodeAddress]), ...from(cluster.netnsOf("node-2"), [nodeAddress])];
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

/** The same, where nothing protects: every listener on all addresses is reached. */
export function realPortsControl({ cluster }: Stage, nodeAddress: string): Promise<number> {
  return withListeners(cluster.netnsOf("node-1"), ["any", "unbound"], async (said) => {
    const ports = said.filter(({ family }) => family === "inet").map(({ port }) => port);
    const command = hostile("knock", ports.join(), nodeAddress);
    const knocks = reports<Knock>(inNamespace(cluster.netnsOf("node-1"), command));
    return knocks.filter(({ answer }) => answer.startsWith("inner")).length / ports.length;
  });
}

async function withListeners<T>(
  netns: string,
  hows: readonly string[],
  use: (said: Listening[]) => Promise<T>,
): Promise<T> {
  const [program = "", ...args] = hostile("listen", "inner", hows.join(), WAYS, CONTROL_PORT);
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
export async function shared({ cluster }: Stage): Promise<Attempt[]> {
  const start = (name: string, tag: string, ways: string) =>
    cluster.start({ name, ready: { prints: /"how"/ } }, hostile("listen", tag, "shared", ways, SHARED_PORT));
  const victim = await start("victim", "owner", "direct");
  const thief = await start("thief", "thief", WAYS);
  await until(() => reports(thief.stdout).length === COMBINATIONS, "the thief listens");
  await until(() => reports(victim.stdout).length === 3, "the victim listens");
  const attempts: Attempt[] = [];
  for (const [index, family] of (["inet", "inet6", "mapped"] as const).entries()) {
    // The v6 listeners take IPv4, too: the client speaks what an overlay without IPv6 has.
    const ask = hostile("ask", ASKED, family === "inet" ? "inet" : "mapped", victim.address, SHARED_PORT + index);
    const [answers = {}] = reports<Record<string, number>>(await cluster.output({ node: "node-2" }, ask));
    if (answers.ownerd !== ASKED)
      throw new Error(`the owner itself was not always reached: ${JSON.stringify(answers)}`);
    for (const way of ["direct", "fork", "scm"] as const) {
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
