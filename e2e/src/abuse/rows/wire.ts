/** Rows 12 to 14: forged SYNs from the wire, a flood of them, and a node that does not know an address's next owner. */
import { execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
import type { Endpoint } from "@slimfast/proto";
import { until } from "../../fixture/until.js";
import { type Attempt, FAMILIES } from "../attempts.js";
import {
  addressFor,
  attempt,
  endpointOf,
  hostile,
  inNamespace,
  NETWORK,
  reports,
  type Stage,
  wireOf,
} from "../stage.js";

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

/** Of an endpoint that is nobody's. */
const OVERLAY_SOURCE = "10.63.99.99";

interface Target extends Pick<Endpoint, "address" | "address6" | "vni" | "id"> {
  stop(): Promise<unknown>;
}

/** What SYNs of a family say: to which port, and from whom. */
interface Claim {
  readonly family: Attempt["family"];
  readonly port: number;
  /** An address, or for IPv6 the id of an endpoint of node-1. */
  readonly overlaySource: string | number;
}

function claims(sourceId: number): Claim[] {
  return FAMILIES.map((family, index) => ({
    family,
    port: PORT + index,
    overlaySource: family === "inet6" ? sourceId : OVERLAY_SOURCE,
  }));
}

/** A listener of each family on node-2, for somebody who knows all about it. */
async function target(
  stage: Stage,
  name: string,
  addresses: { address?: string; address6?: string } = {},
): Promise<Target> {
  const command = hostile("listen", name.slice(0, 5), "any", "direct", PORT);
  const ports = FAMILIES.map((_, index) => PORT + index);
  const box = await stage.cluster.start(
    { network: NETWORK, node: "node-2", name, ready: { ports }, ...addresses },
    command,
  );
  const { address, address6, vni, id } = await endpointOf(stage, box);
  return { address, address6, vni, id, stop: () => box.stop() };
}

/** An endpoint of node-1, whose id connections by IPv6 may name. */
async function source(stage: Stage): Promise<{ id: number; stop(): Promise<unknown> }> {
  const box = await stage.cluster.start({ network: NETWORK, node: "node-1", name: "source" }, ["sleep", "600"]);
  const { id } = await endpointOf(stage, box);
  return { id, stop: () => box.stop() };
}

function forged(
  stage: Stage,
  from: string,
  to: string,
  { vni, id }: Pick<Target, "vni" | "id">,
  claim: Claim,
): Answer[] {
  const command = hostile("forge", from, to, FRONT_PORT, vni, id, claim.port, claim.overlaySource);
  return reports<Answer>(inNamespace(wireOf(stage.cluster), command));
}

export interface Forging {
  readonly attempts: Attempt[];
  /** What somebody gets who forges everything rightly, by family: that it is the forgery that fails, not the SYN. */
  readonly control: Record<string, string>;
}

export async function forging(stage: Stage, node1: string, node2: string): Promise<Forging> {
  const wire = wireOf(stage.cluster);
  execFileSync("ip", ["-n", wire, "address", "add", `${STRANGER}/24`, "dev", "wire"]);
  const box = await target(stage, "wired");
  const known = await source(stage);
  const attempts: Attempt[] = [];
  const control: Record<string, string> = {};
  for (const claim of claims(known.id)) {
    const { family } = claim;
    for (const [who, from] of [
      ["a stranger", STRANGER],
      ["another node", node1],
      ["the node itself", node2],
    ] as const) {
      for (const { what, answer } of forged(stage, from, node2, box, claim)) {
        if (who === "another node" && what === "valid") control[family] = answer;
        else attempts.push(attempt(12, `SYN of ${who}: ${what}`, answer === "SYN+ACK", answer, { family }));
      }
    }
  }
  await Promise.all([box.stop(), known.stop()]);
  return { attempts, control };
}

/** While SYNs come as fast as they can, others connect to the same listener. */
export async function flooding(stage: Stage, node1: string, node2: string): Promise<Attempt[]> {
  const box = await target(stage, "flooded");
  const known = await source(stage);
  // Those whose address is forged answer with RST, so that nothing fills up: cookies for all, as if it had.
  const cookies = (value: number) =>
    inNamespace(stage.cluster.netnsOf("node-2"), ["sysctl", "-qw", `net.ipv4.tcp_syncookies=${value}`]);
  cookies(2);
  const attempts: Attempt[] = [];
  for (const [who, from] of [
    ["a stranger", STRANGER],
    ["another node", node1],
  ] as const) {
    for (const { family, port, overlaySource } of claims(known.id)) {
      const flood = hostile("flood", from, node2, FRONT_PORT, box.vni, box.id, port, overlaySource, FLOOD_SYNS);
      const child = spawn("nsenter", [`--net=/run/netns/${wireOf(stage.cluster)}`, ...flood], { stdio: "ignore" });
      const ended = once(child, "exit");
      const ask = hostile("ask", ASKED, family, addressFor(family, box), port);
      const output = await stage.cluster.output({ network: NETWORK, node: "node-1" }, ask);
      const [answers = {}] = reports<Record<string, number>>(output);
      await ended;
      const failed = ASKED - (answers.floodd ?? 0);
      for (let number = 0; number < ASKED; number += 1) {
        const isLost = number < failed;
        attempts.push(attempt(13, `flood of ${who}`, isLost, isLost ? JSON.stringify(answers) : null, { family }));
      }
    }
  }
  cookies(1);
  await Promise.all([box.stop(), known.stop()]);
  return attempts;
}

/** node-1 does not hear from the controller: it is held where an address has its first owner, while on node-2 another one gets it. */
export async function reuse(stage: Stage, node1: string, node2: string): Promise<Attempt[]> {
  const { cluster } = stage;
  const old = await target(stage, "early");
  const route = (verb: string) =>
    execFileSync("ip", ["-n", cluster.netnsOf("node-1"), "route", verb, "blackhole", CONTROLLER]);
  const options = { network: NETWORK, node: "node-1", name: "asker", ready: { prints: /ready/ } };
  const asker = await cluster.start(options, [
    "sh",
    "-c",
    `echo ready; while read family address port; do ${hostile("ask", 10).join(" ")} $family $address $port; done`,
  ]);
  const { id: askerId } = await endpointOf(stage, asker);
  const answers = async (family: Attempt["family"], port: number, count: number) => {
    asker.write(`${family} ${addressFor(family, old)} ${port}\n`);
    const lines = () => asker.stdout.split("\n").filter((line) => line.startsWith("{"));
    await until(() => lines().length >= count, "it was answered");
    return JSON.parse(lines()[count - 1] ?? "{}") as Record<string, number>;
  };
  const attempts: Attempt[] = [];
  route("add");
  let isCut = true;
  try {
    await old.stop();
    const next = await target(stage, "later", { address: old.address, address6: old.address6 });
    let asked = 0;
    for (const claim of claims(askerId)) {
      const { family, port } = claim;
      asked += 1;
      const said = await answers(family, port, asked);
      const error = JSON.stringify(said);
      attempts.push(attempt(14, "connect to the former owner", (said.laterd ?? 0) > 0, error, { family }));
      const raw = forged(stage, node1, node2, { ...next, id: old.id }, claim).find(({ what }) => what === "valid");
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
