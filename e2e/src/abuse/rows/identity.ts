/** Rows 7, 15 and 16: sockets of others, doors of the node, credentials that were stolen. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { connectController, SlimFastError } from "@slimfast/client";
import { Container } from "../../fixture/container.js";
import { built } from "../../fixture/programs.js";
import { until } from "../../fixture/until.js";
import type { Attempt } from "../attempts.js";
import { attempt, hostile, reports, type Stage } from "../stage.js";

const OTHER_NETWORK = "abuse-other";
const PORT = 9_600;
const WIRE_TLS = "10.200.0.254:7443";

interface Received {
  readonly bound: string;
  readonly answer: string;
}

/** A socket of one network's endpoint in the hands of another's: it gains nothing that the receiver has. */
export async function passedOn({ cluster }: Stage): Promise<{ attempts: Attempt[]; control: string[] }> {
  const directory = mkdtempSync(join(tmpdir(), "slimfast-abuse-"));
  await cluster.cli.json("network", "create", OTHER_NETWORK, "--prefix", "10.61.0.0/16");
  const attempts: Attempt[] = [];
  const control: string[] = [];
  try {
    const network = OTHER_NETWORK;
    const listen = hostile("listen", "other", "any", "direct", PORT);
    const server = await cluster.start({ network, name: "others-server", ready: { prints: /"how"/ } }, listen);
    for (const family of ["inet", "mapped"] as const) {
      for (const [how, way] of [
        ["scm", "scm"],
        ["pidfd_getfd", "fork"],
      ] as const) {
        const path = join(directory, `${family}-${how}`);
        const giver = await cluster.start(
          { name: `giver-${family}-${way}`, ready: { prints: /ready/ } },
          hostile("give", path, family, how),
        );
        const own = "10.61.77.77";
        const receive = hostile("receive", path, how, server.address, PORT, own);
        const output = await cluster.output({ network, address: own }, receive);
        const [taken, its = { bound: "", answer: "" }] = reports<Received>(output);
        if (!taken) throw new Error(`nothing was received by ${how}`);
        const by = { family, way };
        attempts.push(attempt(7, `${how}: reach the receiver's network`, taken.answer === "otherd", taken.answer, by));
        attempts.push(attempt(7, `${how}: bind the receiver's address`, taken.bound === "ok", taken.bound, by));
        control.push(its.answer);
        await giver.stop();
      }
    }
    await server.stop();
  } finally {
    await cluster.cli.json("network", "delete", OTHER_NETWORK);
    rmSync(directory, { recursive: true, force: true });
  }
  return { attempts, control };
}

interface Door {
  readonly door: string;
  readonly achieved: boolean;
  readonly error: string | null;
}

/** Sockets of controller and agents, and descriptors of other processes. */
function doors({ cluster }: Stage): string[] {
  const agents = ["node-1", "node-2"].map((node) => `${cluster.tag}${node}`);
  const sockets = agents.flatMap((agent) => [`${agent}/agent.sock`, `${agent}/seccomp.sock`]);
  return [...["controller.sock", ...sockets].map((path) => join(cluster.runDir, path)), "127.0.0.1:7080", WIRE_TLS];
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
      return found.map(({ door, achieved, error }) => attempt(15, `${who}: ${door}`, achieved, error));
    });
  } finally {
    await box.stop();
  }
}

/** Tokens of little right, revoked and made up, and a node's certificate, used for what is not theirs. */
export async function stolenCredentials({ cluster }: Stage): Promise<Attempt[]> {
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
    attempts.push(...(await withCertificate(cluster.runDir, cluster.tag)));
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
  return attempts;
}

/** node-1's key and certificate, by somebody who wants to be node-2, or more. */
async function withCertificate(runDir: string, tag: string): Promise<Attempt[]> {
  const identity = readFileSync(join(runDir, `${tag}node-1`, "identity", "identity.pem"), "utf8");
  const blocks = identity.match(/-----BEGIN ([A-Z ]+)-----[^-]+-----END \1-----\n?/g) ?? [];
  const key = blocks.find((block) => block.includes("PRIVATE KEY"));
  const [cert, ...authorities] = blocks.filter((block) => block.includes("BEGIN CERTIFICATE"));
  if (key === undefined || cert === undefined) throw new Error("node-1 has no identity");
  const client = connectController({ address: WIRE_TLS, tls: { ca: authorities.join(""), cert, key } });
  const { cluster, access, agent } = client;
  const other = `${tag}node-2`;
  const calls: [string, () => Promise<unknown>][] = [
    ["list tokens", () => access.listTokens({})],
    ["create a network", () => cluster.createNetwork({ network: { name: "taken", prefix: "10.62.0.0/16" } })],
    ["delete the other node", () => cluster.deleteNode({ name: other })],
    [
      "register as the other node",
      () =>
        agent.registerNode({
          node: { name: other, underlayAddress: "10.200.0.99", frontPorts: { first: 7000, count: 16 } },
        }),
    ],
    [
      "create an endpoint of the other node",
      () => agent.createEndpoint({ endpoint: { name: "taken", network: "default", node: other } }),
    ],
  ];
  try {
    const attempts: Attempt[] = [];
    for (const [what, call] of calls) {
      const error = await call().then(
        () => null,
        (thrown: unknown) => (thrown instanceof SlimFastError ? thrown.code : String(thrown)),
      );
      attempts.push(attempt(16, `node-1's certificate: ${what}`, error === null, error));
    }
    return attempts;
  } finally {
    client.close();
  }
}
