/** Rows 10 and 11: more than its share, and targets that end in the middle of a call. */
import type { Background } from "../../fixture/background.js";
import { until } from "../../fixture/until.js";
import type { AttachedReport } from "../../testing/cli.js";
import type { Attempt } from "../attempts.js";
import { attempt, hostile, LIMITS, reports, type Stage } from "../stage.js";

type Usage = AttachedReport["usage"];

const FAMILIES = ["inet", "inet6", "mapped"] as const;
/** Sockets that may be prepared for an endpoint that holds none: of the pool, 64 of each family. */
const MOST_PREPARED = 128;
const STORM_SECONDS = 2;
const ROUNDS = 150;
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
  const [answers = {}] = reports<Record<string, number>>(await cluster.output({ node: "node-1" }, ask));
  return answers.otherd === ASKED ? null : JSON.stringify(answers);
}

/** Sockets, listeners and connections beyond the limits; and counts that are right again afterwards. */
export async function beyondLimits(stage: Stage): Promise<Attempt[]> {
  const { cluster } = stage;
  const listen = hostile("listen", "other", "any", "direct", SERVER_PORT);
  const server = await cluster.start({ node: "node-2", name: "others", ready: { prints: /"how"/ } }, listen);
  const attempts: Attempt[] = [];
  for (const what of ["sockets", "listeners"] as const) {
    const of = async (family: Attempt["family"]) => {
      const name = `taker-${what}-${family}`;
      const box = await cluster.start({ name, tier: "notify" }, hostile("hold", what, family, 2 * LIMITS[what]));
      const { got, error } = await lastReport(box, 1);
      attempts.push(
        attempt(10, `more ${what} than the limit`, got > LIMITS[what] || error === null, error, { family }),
      );
      const starved = await neighbourIsServed(stage, server.address);
      attempts.push(attempt(10, `starve a neighbour of ${what}`, starved !== null, starved, { family }));
      const held = await usageOf(stage, name);
      if (held[what] < got) throw new Error(`${name} has ${got}, and is counted with ${held[what]}`);
      box.write("\n");
      await lastReport(box, 2);
      const left = await until(async () => {
        const usage = await usageOf(stage, name);
        return usage.listeners === 0 && usage.sockets <= MOST_PREPARED ? usage : undefined;
      }, `${name} has given everything back`);
      attempts.push(attempt(10, `leave ${what} counted`, left.sockets > MOST_PREPARED, null, { family, way: "fork" }));
      await box.stop();
    };
    await Promise.all(FAMILIES.map(of));
  }
  for (const family of FAMILIES) {
    const name = `storm-${family}`;
    const to = family === "inet6" ? "::1" : server.address;
    const box = await cluster.start({ name }, hostile("storm", family, STORM_SECONDS, to, SERVER_PORT));
    const starved = await neighbourIsServed(stage, server.address);
    attempts.push(attempt(10, "starve a neighbour of connections", starved !== null, starved, { family }));
    const { stdout } = await box.ended;
    const [{ seconds = 0, sent = 0, EADDRNOTAVAIL: refused = 0 } = {}] = reports<Record<string, number>>(stdout);
    const most = LIMITS.connects * (1 + seconds) + 1;
    attempts.push(
      attempt(10, "connect faster than the limit", sent > most, `${sent} sent, ${refused} refused`, { family }),
    );
  }
  await server.stop();
  return attempts;
}

/** Nothing is counted, and nothing stuck, after many ends in the middle of socket(2). */
export async function interrupted(stage: Stage): Promise<Attempt[]> {
  const attempts: Attempt[] = [];
  for (const how of ["kill", "stop", "signal", "freeze"]) {
    const of = async (family: Attempt["family"]) => {
      const name = `target-${how}-${family}`;
      const command = hostile("interrupt", how, family, ROUNDS);
      const box = await stage.cluster.start({ name, tier: "notify", ready: { prints: /"made"/ } }, command);
      const [{ made } = { made: false }] = reports<{ made: boolean }>(box.stdout);
      const { sockets } = await usageOf(stage, name);
      const error = `${sockets} sockets left`;
      attempts.push(attempt(11, `${how} a target in its call: leak`, sockets > MOST_PREPARED, error, { family }));
      attempts.push(attempt(11, `${how} a target in its call: stick`, !made, null, { family }));
      await box.stop();
    };
    await Promise.all((["inet", "inet6"] as const).map(of));
  }
  return attempts;
}
