/** Rows 10 and 11: more than its share, and targets that end in the middle of a call. */
import { readdirSync } from "node:fs";
import { pidsOf } from "../../durability/agent-process.js";
import type { Background } from "../../fixture/background.js";
import { until } from "../../fixture/until.js";
import type { AttachedReport } from "../../testing/cli.js";
import { type Attempt, FAMILIES, WAYS } from "../attempts.js";
import { addressFor, attempt, endpointOf, hostile, LIMITS, NETWORK, portFor, reports, type Stage } from "../stage.js";

type Usage = AttachedReport["usage"];

/** Sockets that may be prepared for an endpoint that holds none: of the pool, 64 of each family. */
const MOST_PREPARED = 128;
const STORM_SECONDS = 1;
const ROUNDS = 150;
/** Long, because it is reached only when something is lost. */
const SETTLE_MS = 20_000;
/** So often in a row the keeper has as many descriptors. */
const STEADY = 5;
const SERVER_PORT = 9_400;
const ASKED = 50;

async function usageOf({ cluster }: Stage, name: string): Promise<Usage> {
  const { nodes } = await cluster.status();
  const found = nodes.flatMap(({ attached }) => attached ?? []).find(({ endpoint }) => endpoint.name === name);
  if (!found) throw new Error(`no node has ${name}`);
  return found.usage;
}

async function lastReport(box: Background, count: number): Promise<{ got: number; error: string | null }> {
  const all = await until(() => {
    const said = reports<{ got: number; error: string | null }>(box.stdout.slice(0, box.stdout.lastIndexOf("\n") + 1));
    return said.length >= count ? said : undefined;
  }, `${box.name} has said how much it has`);
  return all[count - 1] ?? { got: 0, error: null };
}

/** A server, and a client of another endpoint of the stormed node, that want no more than what is theirs. */
async function neighbourIsServed({ cluster }: Stage, address: string): Promise<string | null> {
  const ask = hostile("ask", ASKED, "inet", address, SERVER_PORT);
  const [answers = {}] = reports<Record<string, number>>(
    await cluster.output({ network: NETWORK, node: "node-1" }, ask),
  );
  return answers.otherd === ASKED ? null : JSON.stringify(answers);
}

/** Sockets, listeners and connections beyond the limits; and counts that are right again afterwards. */
export async function beyondLimits(stage: Stage): Promise<Attempt[]> {
  const { cluster } = stage;
  const listen = hostile("listen", "other", "any", "direct", SERVER_PORT);
  const options = { network: NETWORK, node: "node-2", name: "others", ready: { prints: /"how"/ } };
  const server = await cluster.start(options, listen);
  const attempts: Attempt[] = [];
  for (const family of FAMILIES) {
    for (const what of ["sockets", "listeners"] as const) {
      const takers = WAYS.map((way) => take(stage, what, { family, way }, server.address));
      attempts.push(...(await Promise.all(takers)).flat());
    }
  }
  for (const family of FAMILIES) {
    for (const way of WAYS) attempts.push(...(await storm(stage, server, { family, way })));
  }
  await server.stop();
  return attempts;
}

type By = Pick<Attempt, "family" | "way">;

async function take(stage: Stage, what: "sockets" | "listeners", by: By, neighbour: string): Promise<Attempt[]> {
  const name = `taker-${what}-${by.family}-${by.way}`;
  const command = hostile("hold", what, by.family, by.way, 2 * LIMITS[what]);
  const box = await stage.cluster.start({ network: NETWORK, name, tier: "notify" }, command);
  const { got, error } = await lastReport(box, 1);
  const starved = await neighbourIsServed(stage, neighbour);
  const held = await usageOf(stage, name);
  if (held[what] < got) throw new Error(`${name} has ${got}, and is counted with ${held[what]}`);
  box.write("\n");
  await lastReport(box, 2);
  const left = await until(async () => {
    const usage = await usageOf(stage, name);
    return usage.listeners === 0 && usage.sockets <= MOST_PREPARED ? usage : undefined;
  }, `${name} has given everything back`);
  await box.stop();
  return [
    attempt(10, `more ${what} than the limit`, got > LIMITS[what] || error === null, error, by),
    attempt(10, `starve a neighbour of ${what}`, starved !== null, starved, by),
    attempt(10, `leave ${what} counted`, left.sockets > MOST_PREPARED, null, by),
  ];
}

async function storm(stage: Stage, server: Background, by: By): Promise<Attempt[]> {
  const to = addressFor(by.family, await endpointOf(stage, server));
  const port = portFor(by.family, SERVER_PORT);
  // A busy machine may take longer to use up what comes at once.
  for (const duration of [STORM_SECONDS, 5 * STORM_SECONDS]) {
    const name = `storm-${by.family}-${by.way}-${duration}`;
    const command = hostile("storm", by.family, by.way, duration, to, port);
    const box = await stage.cluster.start({ network: NETWORK, name }, command);
    const starved = await neighbourIsServed(stage, server.address);
    const { stdout } = await box.ended;
    const [{ seconds = 0, sent = 0, EADDRNOTAVAIL: refused = 0 } = {}] = reports<Record<string, number>>(stdout);
    const most = LIMITS.connects * (1 + seconds) + 1;
    if (refused === 0 && sent <= most) continue;
    return [
      attempt(10, "starve a neighbour of connections", starved !== null, starved, by),
      attempt(10, "connect faster than the limit", sent > most, `${sent} sent, ${refused} refused`, by),
    ];
  }
  throw new Error(`storms of ${by.family}, ${by.way} were too slow to meet their limit`);
}

/** Nothing is counted, open or stuck after many ends in the middle of socket(2). */
export async function interrupted(stage: Stage): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  const { keeper } = pidsOf(stage.cluster, "node-1");
  const descriptors = () => readdirSync(`/proc/${keeper}/fd`).length;
  // What a keeper opens for its first endpoint stays.
  await (await target(stage, "first", "inet", 1)).box.stop();
  for (const how of ["kill", "stop", "signal", "freeze"]) {
    const before = await atRest(descriptors);
    const targets = await Promise.all((["inet", "inet6"] as const).map((family) => target(stage, how, family, ROUNDS)));
    await Promise.all(targets.map(({ box }) => box.stop()));
    // Without the endpoints nothing is prepared for them either: a socket that is open is one that was lost.
    await until(() => descriptors() <= before, "the keeper has closed them all", SETTLE_MS).catch(() => undefined);
    const lost = descriptors() - before;
    for (const { family, made, sockets } of targets) {
      const by = { family, way: "fork" } as const;
      const error = `${sockets} sockets counted, ${lost} open`;
      attempts.push(attempt(11, `${how} a target in its call: leak`, sockets > MOST_PREPARED || lost > 0, error, by));
      attempts.push(attempt(11, `${how} a target in its call: stick`, !made, null, by));
    }
  }
  return attempts;
}

/** An endpoint whose children are interrupted, and what became of it. */
async function target(stage: Stage, how: string, family: "inet" | "inet6", rounds: number) {
  const name = `target-${how}-${family}`;
  const command = hostile("interrupt", how, family, rounds);
  const box = await stage.cluster.start(
    { network: NETWORK, name, tier: "notify", ready: { prints: /"made"/ } },
    command,
  );
  const [{ made } = { made: false }] = reports<{ made: boolean }>(box.stdout);
  const { sockets } = await usageOf(stage, name);
  return { box, family, made, sockets };
}

async function atRest(count: () => number): Promise<number> {
  const seen: number[] = [];
  await until(() => {
    seen.push(count());
    return seen.length >= STEADY && new Set(seen.slice(-STEADY)).size === 1;
  }, "the keeper is at rest");
  return seen.at(-1) ?? 0;
}
