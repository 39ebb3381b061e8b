/** Rows 7, 15 and 16: sockets of others, doors of the node, credentials that were stolen. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { Endpoint, Node } from "@slimfast/proto";
import { Container } from "../../fixture/container.js";
import { built, script } from "../../fixture/programs.js";
import { until } from "../../fixture/until.js";
import { type Attempt, FAMILIES } from "../attempts.js";
import {
  addressFor,
  attempt,
  endpointOf,
  hostile,
  inNamespace,
  NETWORK,
  portFor,
  reports,
  type Stage,
  wireOf,
} from "../stage.js";

const OTHER_NETWORK = "abuse-other";
const PORT = 9_600;
const WIRE_TLS = "10.200.0.254:7443";
/** The console, and the controller's port, as each family names them. */
const TCP_DOORS = [
  "127.0.0.1:7080",
  WIRE_TLS,
  "[::ffff:127.0.0.1]:7080",
  `[::ffff:${WIRE_TLS.replace(":", "]:")}`,
  "[::1]:7080",
];

interface Received {
  readonly bound: string;
  readonly answer: string;
}

/** A socket of one network's endpoint in the hands of another's: it gains nothing that the receiver has. */
export async function passedOn(stage: Stage): Promise<{ attempts: Attempt[]; control: string[] }> {
  const { cluster } = stage;
  const directory = mkdtempSync(join(tmpdir(), "slimfast-abuse-"));
  const network = OTHER_NETWORK;
  await cluster.cli.json("network", "create", network, "--prefix", "10.61.0.0/16", "--prefix6", "fd61::/64");
  const listen = hostile("listen", "other", "any", "direct", PORT);
  const server = await cluster.start({ network, name: "others-server", ready: { prints: /"how"/ } }, listen);
  const others = await endpointOf(stage, server);
  const place = { family: "inet", how: "scm", directory, others } as const;
  try {
    const tried = await Promise.all(
      FAMILIES.flatMap((family) => HOWS.map((how) => passOn(stage, { ...place, family, how }))),
    );
    return { attempts: tried.flatMap(({ attempts }) => attempts), control: tried.map(({ control }) => control) };
  } finally {
    await server.stop();
    await cluster.cli.json("network", "delete", network);
    rmSync(directory, { recursive: true, force: true });
  }
}

const HOWS = ["scm", "pidfd_getfd", "fork"] as const;

interface Passing {
  readonly family: Attempt["family"];
  readonly how: (typeof HOWS)[number];
  readonly directory: string;
  /** The receiver's network has this server. */
  readonly others: Endpoint;
}

async function passOn(stage: Stage, passing: Passing): Promise<{ attempts: Attempt[]; control: string }> {
  const { family, how, others } = passing;
  const output = how === "fork" ? await byMoving(stage, passing) : await byGiving(stage, passing);
  const [taken, its] = reports<Received>(output);
  if (!taken || !its) throw new Error(`nothing was received by ${how}: ${output}`);
  const by = { family, way: how === "fork" ? "fork" : "scm" } as const;
  return {
    attempts: [
      attempt(7, `${how}: reach the receiver's network ${others.network}`, taken.answer === "otherd", taken.answer, by),
      attempt(7, `${how}: bind the receiver's address`, taken.bound === "ok", taken.bound, by),
    ],
    control: `${its.bound}, ${its.answer}`,
  };
}

async function byGiving({ cluster }: Stage, { family, how, directory, others }: Passing): Promise<string> {
  const path = join(directory, `${family}-${how}`);
  const name = `giver-${family}-${how.replace("_", "-")}`;
  const giver = await cluster.start(
    { network: NETWORK, name, ready: { prints: /ready/ } },
    hostile("give", path, family, how),
  );
  const receive = hostile("receive", path, family, how, addressFor(family, others), portFor(family, PORT));
  const output = await cluster.output({ network: OTHER_NETWORK }, receive);
  await giver.stop();
  return output;
}

/** A child of the giver enters the other container's namespace with the socket that it has inherited. */
async function byMoving({ cluster }: Stage, { family, others }: Passing): Promise<string> {
  const { endpoints } = await cluster.agent("node-1").local.listAttachedEndpoints({});
  const path = endpoints.find(({ endpoint }) => endpoint?.name === others.name)?.netnsPath ?? "";
  return await cluster.output(
    { network: NETWORK },
    hostile("move", path, family, addressFor(family, others), portFor(family, PORT)),
  );
}

interface Door {
  readonly door: string;
  readonly achieved: boolean;
  readonly error: string | null;
}

interface Refusal {
  readonly what: string;
  /** The code; null if the call succeeded. */
  readonly error: string | null;
}

/** Sockets of controller and agents, and descriptors of other processes. */
function doors({ cluster }: Stage): string[] {
  const agents = ["node-1", "node-2"].map((node) => `${cluster.tag}${node}`);
  const sockets = agents.flatMap((agent) => [`${agent}/agent.sock`, `${agent}/seccomp.sock`]);
  return [...["controller.sock", ...sockets].map((path) => join(cluster.runDir, path)), ...TCP_DOORS];
}

function familyOf(door: string): Attempt["family"] {
  if (door.startsWith("[::ffff:")) return "mapped";
  return door.startsWith("[") ? "inet6" : "inet";
}

/** Doors that are closed to root of the machine, too, who has no network but the machine's and the wire. */
export function closedDoors(stage: Stage): string[] {
  const command = [built("doors"), ...doors(stage)];
  const outputs = [
    execFileSync(command[0] ?? "", command.slice(1), { encoding: "utf8" }),
    inNamespace(wireOf(stage.cluster), command),
  ];
  const found = outputs.flatMap((output) => reports<Door>(output));
  const open = new Set(found.filter(({ achieved }) => achieved).map(({ door }) => door));
  return [...new Set(found.map(({ door }) => door))].filter((door) => !open.has(door));
}

/** From a container, and as nobody in a network namespace only. */
export async function nodesDoors(stage: Stage): Promise<Attempt[]> {
  const { cluster } = stage;
  const command = ["/bin/busybox", "sleep", "600"];
  const box = await Container.start(cluster, { name: "doors", node: "node-1", command });
  try {
    await until(async () => (await box.attached())?.seccompListeners === 1, "the container runs");
    const inside = await box.exec(["/bin/doors", ...doors(stage)]);
    const asNobody = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups", built("doors")];
    const nobody = await cluster.output({}, [...asNobody, ...doors(stage)]);
    return [["a container", inside.stdout] as const, ["nobody", nobody] as const].flatMap(([who, stdout]) => {
      const found = reports<Door>(stdout);
      if (found.length !== doors(stage).length + 1) throw new Error(`${who} found ${stdout}${inside.stderr}`);
      return found.map(({ door, achieved, error }) =>
        attempt(15, `${who}: ${door}`, achieved, error, { family: familyOf(door) }),
      );
    });
  } finally {
    await box.stop();
  }
}

/** Tokens of little right, revoked and made up, and a node's certificate, used for what is not theirs. */
export async function stolenCredentials(stage: Stage): Promise<Attempt[]> {
  const { cluster } = stage;
  const directory = mkdtempSync(join(tmpdir(), "slimfast-abuse-"));
  const as = (name: string, secret: string) => {
    const file = join(directory, name);
    writeFileSync(file, secret, { mode: 0o600 });
    return ["--server", `unix:${cluster.runDir}/controller.sock`, "--token", `@${file}`];
  };
  const token = async (role: string) => {
    const { secret } = await cluster.cli.json<{ secret: string }>("token", "create", `stolen-${role}`, "--role", role);
    return as(role, secret);
  };
  const changes = [
    ["network", "create", "taken", "--prefix", "10.62.0.0/16"],
    ["node", "drain", `${cluster.tag}node-1`],
    ["node", "revoke", `${cluster.tag}node-1`],
    ["token", "create", "more", "--role", "admin"],
    ["token", "list"],
    ["authority", "rotate"],
    ["audit"],
  ];
  const attempts: Attempt[] = [];
  const tryAll = async (who: string, credentials: string[], commands: string[][]) => {
    for (const command of commands) {
      const { exitCode, stderr } = await cluster.cli.run([...command, ...credentials]);
      const error = stderr.split("\n")[0] ?? "";
      attempts.push(attempt(16, `${who}: ${command.slice(0, 2).join(" ")}`, exitCode === 0, error));
    }
  };
  try {
    const viewer = await token("viewer");
    await tryAll("a viewer's token", viewer, changes);
    await tryAll("an operator's token", await token("operator"), changes.slice(2));
    await tryAll("a join token", await token("join"), [...changes, ["node", "list"]]);
    await cluster.cli.json("token", "revoke", "stolen-viewer");
    await tryAll("a revoked token", viewer, [["node", "list"], ["whoami"]]);
    await tryAll("a made-up token", as("made-up", `sf_${"A".repeat(43)}`), [["node", "list"], ["whoami"]]);
    attempts.push(...(await withCertificate(stage)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return attempts;
}

/** node-1's key and certificate, on the wire: what is refused is refused for want of the right, and for nothing else. */
async function withCertificate(stage: Stage): Promise<Attempt[]> {
  const { cli, runDir, tag } = stage.cluster;
  const { name, underlayAddress, frontPorts } = await cli.json<Node>("node", "get", `${tag}node-2`);
  const identity = join(runDir, `${tag}node-1`, "identity", "identity.pem");
  const other = JSON.stringify({ name, underlayAddress, frontPorts });
  const command = [...script("stolen.mjs"), WIRE_TLS, identity, other];
  return reports<Refusal>(inNamespace(wireOf(stage.cluster), command)).map(({ what, error }) => {
    if (error !== null && error !== "permission_denied") throw new Error(`cannot tell who may ${what}: ${error}`);
    return attempt(16, `node-1's certificate: ${what}`, error === null, error);
  });
}
