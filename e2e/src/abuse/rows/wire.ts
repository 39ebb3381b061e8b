/** Rows 12 to 14: forged SYNs from the wire, a flood of them, and a node that does not know an address's next owner. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import { until } from "../../fixture/until.js";
import type { Attempt } from "../attempts.js";
import { attempt, hostile, inNamespace, reports, type Stage, wireOf } from "../stage.js";

interface Answer {
  readonly what: string;
  readonly answer: "SYN+ACK" | "RST" | "nothing";
}

const PORT = 9_500;
/** Nobody's node. */
const STRANGER = "10.200.0.200";
/** On the wire, with TLS. */
const CONTROLLER = "10.200.0.254/32";
const FLOOD_SYNS = 20_000;
const ASKED = 100;
const FRONT_PORT = "7000";

interface Target {
  readonly address: string;
  readonly vni: number;
  readonly id: number;
}

/** A dual-stack or an IPv4 listener of node-2, for somebody who knows all about it. */
async function target(
  { cluster }: Stage,
  name: string,
  address?: string,
): Promise<Target & { stop(): Promise<unknown> }> {
  const command = hostile("listen", name.slice(0, 5), "any", "direct", PORT);
  const options = { node: "node-2", name, ready: { ports: [PORT, PORT + 1] } };
  const box = await cluster.start(address === undefined ? options : { ...options, address }, command);
  const { endpoints } = await cluster.agent("node-2").local.listAttachedEndpoints({});
  const found = endpoints.find(({ endpoint }) => endpoint?.name === name)?.endpoint;
  if (!found) throw new Error(`node-2 does not have ${name}`);
  return { address: box.address, vni: found.vni, id: Number(found.id), stop: () => box.stop() };
}

function forged(stage: Stage, source: string, to: string, { vni, id }: Target, port: number): Answer[] {
  const command = hostile("forge", source, to, FRONT_PORT, vni, id, port);
  return reports<Answer>(inNamespace(wireOf(stage.cluster), command));
}

export interface Forging {
  readonly attempts: Attempt[];
  /** What somebody gets who forges everything rightly: that it is the forgery that fails, not the SYN. */
  readonly control: string | undefined;
}

export async function forging(stage: Stage, node1: string, node2: string): Promise<Forging> {
  const wire = wireOf(stage.cluster);
  execFileSync("ip", ["-n", wire, "address", "add", `${STRANGER}/24`, "dev", "wire"]);
  const box = await target(stage, "wired");
  const attempts: Attempt[] = [];
  let control: string | undefined;
  for (const [family, port] of [
    ["inet", PORT],
    ["inet6", PORT + 1],
  ] as const) {
    for (const [who, source] of [
      ["a stranger", STRANGER],
      ["another node", node1],
      ["the node itself", node2],
    ] as const) {
      for (const { what, answer } of forged(stage, source, node2, box, port)) {
        if (who === "another node" && what === "valid") control = answer;
        else attempts.push(attempt(12, `SYN of ${who}: ${what}`, answer === "SYN+ACK", answer, { family }));
      }
    }
  }
  await box.stop();
  return { attempts, control };
}

/** While SYNs come as fast as they can, others connect to the same listener. */
export async function flooding(stage: Stage, node1: string, node2: string): Promise<Attempt[]> {
  const box = await target(stage, "flooded");
  // Those whose address is forged answer with RST, so that nothing fills up: cookies for all, as if it had.
  const cookies = (value: number) =>
    inNamespace(stage.cluster.netnsOf("node-2"), ["sysctl", "-qw", `net.ipv4.tcp_syncookies=${value}`]);
  cookies(2);
  const attempts: Attempt[] = [];
  for (const [who, source] of [
    ["a stranger", STRANGER],
    ["another node", node1],
  ] as const) {
    for (const [family, port] of [
      ["inet", PORT],
      ["mapped", PORT + 1],
    ] as const) {
      const flood = hostile("flood", source, node2, FRONT_PORT, box.vni, box.id, port, FLOOD_SYNS);
      const child = spawn("nsenter", [`--net=/run/netns/${wireOf(stage.cluster)}`, ...flood], { stdio: "ignore" });
      const ended = once(child, "exit");
      const ask = hostile("ask", ASKED, family, box.address, port);
      const [answers = {}] = reports<Record<string, number>>(await stage.cluster.output({ node: "node-1" }, ask));
      await ended;
      const failed = ASKED - (answers.floodd ?? 0);
      for (let number = 0; number < ASKED; number += 1) {
        const isLost = number < failed;
        attempts.push(attempt(13, `flood of ${who}`, isLost, isLost ? JSON.stringify(answers) : null, { family }));
      }
    }
  }
  cookies(1);
  await box.stop();
  return attempts;
}

/** node-1 does not hear from the controller: it is held where an address has its first owner, while on node-2 another one gets it. */
export async function reuse(stage: Stage, node1: string, node2: string): Promise<Attempt[]> {
  const { cluster } = stage;
  const old = await target(stage, "early");
  const route = (verb: string) =>
    execFileSync("ip", ["-n", cluster.netnsOf("node-1"), "route", verb, "blackhole", CONTROLLER]);
  const asker = await cluster.start({ node: "node-1", name: "asker", ready: { prints: /ready/ } }, [
    "sh",
    "-c",
    `echo ready; while read family port; do ${hostile("ask", 10).join(" ")} $family ${old.address} $port; done`,
  ]);
  const answers = async (family: string, port: number, count: number) => {
    asker.write(`${family} ${port}\n`);
    const lines = () => asker.stdout.split("\n").filter((line) => line.startsWith("{"));
    await until(() => lines().length >= count, "it was answered");
    return JSON.parse(lines()[count - 1] ?? "{}") as Record<string, number>;
  };
  const attempts: Attempt[] = [];
  route("add");
  let isCut = true;
  try {
    await old.stop();
    const next = await target(stage, "later", old.address);
    let asked = 0;
    for (const [family, port] of [
      ["inet", PORT],
      ["mapped", PORT + 1],
    ] as const) {
      asked += 1;
      const said = await answers(family, port, asked);
      const error = JSON.stringify(said);
      attempts.push(attempt(14, "connect to the former owner", (said.laterd ?? 0) > 0, error, { family }));
      const raw = forged(stage, node1, node2, { ...next, id: old.id }, port).find(({ what }) => what === "valid");
      attempts.push(attempt(14, "SYN to the former owner", raw?.answer === "SYN+ACK", raw?.answer ?? null, { family }));
    }
    route("del");
    isCut = false;
    await until(async () => {
      asked += 1;
      return ((await answers("inet", PORT, asked)).laterd ?? 0) === 10;
    }, "the node has heard of the next owner");
    await next.stop();
  } finally {
    if (isCut) route("del");
  }
  await asker.stop();
  return attempts;
}
