/** Who may do what, with the command line as people have it: nodes that join over TLS, tokens, roles, scopes, the audit log. */
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { Cluster } from "./fixture/cluster.js";
import { OtherMachine } from "./fixture/other-machine.js";
import { until } from "./fixture/until.js";
import { peerClient, peerServer, readReports, SERVER_READY } from "./testing/peer-programs.js";

let cluster: Cluster;
let directory: string;

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-access-"));
  cluster = await Cluster.start({ tls: true });
});

afterAll(async () => {
  await cluster?.stop();
  rmSync(directory, { recursive: true, force: true });
});

function json<Value>(...args: string[]): Promise<Value> {
  return cluster.cli.json<Value>(...args);
}

/** Options that make a command somebody's who has this token, and nothing else. */
function as(secret: string): string[] {
  const file = join(directory, `token-${secret.slice(3, 11)}`);
  writeFileSync(file, secret, { mode: 0o600 });
  return ["--server", `unix:${cluster.runDir}/controller.sock`, "--token", `@${file}`];
}

async function createToken(name: string, role: string, ...more: string[]): Promise<string[]> {
  const { secret } = await json<{ secret: string }>("token", "create", name, "--role", role, ...more);
  return as(secret);
}

/** What a command that must fail says. */
async function refusal(...args: string[]): Promise<string> {
  const { exitCode, stderr } = await cluster.cli.run(args);
  expect(exitCode, `${args.join(" ")} should have failed`).toBe(1);
  return stderr;
}

interface NodeJson {
  readonly name: string;
  readonly connected: boolean;
  readonly certificateExpireTime?: string;
}

const node = (name: string): Promise<NodeJson> => json<NodeJson>("node", "get", `${cluster.tag}${name}`);

describe("a cluster whose agents join over TLS", () => {
  it("works as any other, and shows when the nodes' certificates end", async () => {
    for (const { certificateExpireTime = "" } of await json<NodeJson[]>("node", "list")) {
      expect(Date.parse(certificateExpireTime)).toBeGreaterThan(Date.now());
    }
    const identity = join(cluster.runDir, `${cluster.tag}node-1`, "identity", "identity.pem");
    expect(statSync(identity).mode & 0o777).toBe(0o600);
    const web = await cluster.start({ node: "node-2", ready: SERVER_READY }, peerServer(80, "web"));
    const [report] = readReports(await cluster.output({ node: "node-1" }, peerClient([`${web.address}:80`])));
    expect(report).toMatchObject({ error: null, answer: { label: "web" } });
    // The browser is in the machine's namespace, the controller is not.
    const { url } = await json<{ url: string }>("console");
    expect((await fetch(url)).status).toBe(200);
  });

  it("takes another machine with the command that it prints, and ends its streams when it is revoked", async () => {
    const name = `${cluster.tag}node-3`;
    const machine = new OtherMachine(cluster, 3);
    try {
      const { command } = await json<{ command: string[] }>(
        "node",
        "join-command",
        name,
        "--underlay",
        machine.address,
      );
      await machine.join(command);
      await until(async () => (await node("node-3")).connected, "the node is connected");
      await json("node", "revoke", name);
      await until(async () => !(await node("node-3")).connected, "its stream has ended");
      expect(await node("node-3")).not.toHaveProperty("certificateExpireTime");
      await until(() => machine.said.includes("was revoked"), "the agent says why");
    } finally {
      await machine.close();
    }
    await json("node", "delete", name);
    // The token was for one node.
    expect(await json<object[]>("token", "list")).not.toContainEqual(expect.objectContaining({ usesLeft: 1 }));
  });

  it("rotates its authority, once at a time", async () => {
    const [signing] = await json<{ state: string }[]>("authority", "list");
    expect(signing?.state).toBe("signing");
    await json("authority", "rotate");
    const states = (await json<{ state: string }[]>("authority", "list")).map(({ state }) => state);
    expect(states).toEqual(["signing", "next"]);
    expect(await refusal("authority", "rotate")).toMatch(/under way/);
  });
});

describe("tokens", () => {
  it("say who the caller is, and until when", async () => {
    const viewer = await createToken("looker", "viewer", "--expires", "1h");
    const who = await json<{ actor: string; role: string; expireTime: string }>("whoami", ...viewer);
    expect(who).toMatchObject({ actor: "token/looker", role: "viewer", networks: [] });
    expect(Date.parse(who.expireTime)).toBeLessThan(Date.now() + 3_601_000);
    expect(await json("whoami")).toMatchObject({ actor: "local", role: "admin" });
    const listed = JSON.stringify(await json("token", "list"));
    expect(listed).toContain("looker");
    expect(listed).not.toContain(readFileSync(viewer.at(-1)?.slice(1) ?? "", "utf8"));
  });

  it("allow what their role allows, and no more", async () => {
    const viewer = await createToken("viewer-1", "viewer");
    const operator = await createToken("operator-1", "operator");
    const joiner = await createToken("joiner-1", "join");
    expect(await json<object[]>("node", "list", ...viewer)).not.toEqual([]);
    for (const change of [
      ["network", "create", "mine", "--prefix", "10.60.0.0/16"],
      ["node", "drain", `${cluster.tag}node-1`],
      ["token", "list"],
      ["audit"],
    ]) {
      expect(await refusal(...change, ...viewer)).toMatch(/role|admin|operator/);
    }
    await json("network", "create", "mine", "--prefix", "10.60.0.0/16", ...operator);
    for (const change of [
      ["token", "create", "more", "--role", "admin"],
      ["authority", "rotate"],
      ["node", "revoke", `${cluster.tag}node-1`],
      ["audit"],
    ]) {
      expect(await refusal(...change, ...operator)).toMatch(/role|admin/);
    }
    expect(await refusal("node", "list", ...joiner)).toMatch(/role|viewer/);
    await json("network", "delete", "mine", ...operator);
  });

  it("reach no further than their networks", async () => {
    await json("network", "create", "green", "--prefix", "10.61.0.0/16");
    const scoped = await createToken("green-only", "operator", "--network", "green");
    const names = async () => (await json<{ name: string }[]>("network", "list", ...scoped)).map(({ name }) => name);
    expect(await names()).toEqual(["green"]);
    await json("network", "update", "green", "--description", "ours", ...scoped);
    expect(await refusal("network", "get", "default", ...scoped)).toMatch(/default/);
    expect(await refusal("network", "update", "default", "--description", "ours", ...scoped)).toMatch(/default/);
    expect(await refusal("node", "list", ...scoped)).not.toBe("");
    await json("network", "delete", "green", ...scoped);
  });

  it("end when they expire, and when they are revoked", async () => {
    const brief = await createToken("brief", "viewer", "--expires", "2s");
    const revoked = await createToken("revoked", "viewer");
    await json("node", "list", ...brief);
    await json("node", "list", ...revoked);
    await json("token", "revoke", "revoked");
    expect(await refusal("node", "list", ...revoked)).toMatch(/wrong, or was revoked/);
    await sleep(2_100);
    expect(await refusal("node", "list", ...brief)).toMatch(/expired/);
    expect(await refusal("node", "list", ...as(`sf_${"A".repeat(43)}`))).toMatch(/wrong, or was revoked/);
  });
});

describe("the audit log", () => {
  it("has every change with before and after, and every refusal, with who it was and no secret", async () => {
    const operator = await createToken("audited", "operator");
    await json("network", "create", "brown", "--prefix", "10.62.0.0/16", ...operator);
    await json("network", "update", "brown", "--description", "second", ...operator);
    await json("network", "delete", "brown", ...operator);
    await refusal("token", "list", ...operator);
    interface Entry {
      readonly action: string;
      readonly actor: string;
      readonly code: string;
      readonly before: string;
      readonly after: string;
    }
    const entries = await until(async () => {
      const found = await json<Entry[]>("audit", "--filter", 'actor = "token/audited"');
      return found.length >= 4 ? found : undefined;
    }, "the refusal is recorded");
    const oldestFirst = entries.toReversed();
    expect(oldestFirst.map(({ action, code }) => `${action} ${code}`)).toEqual([
      "ClusterService/CreateNetwork OK",
      "ClusterService/UpdateNetwork OK",
      "ClusterService/DeleteNetwork OK",
      "AccessService/ListTokens PERMISSION_DENIED",
    ]);
    const [created, updated, deleted] = oldestFirst;
    expect(created?.before || undefined).toBeUndefined();
    expect(JSON.stringify(created?.after)).toContain("10.62.0.0/16");
    expect(JSON.stringify(updated?.before)).not.toContain("second");
    expect(JSON.stringify(updated?.after)).toContain("second");
    expect(JSON.stringify(deleted?.before)).toContain("second");
    expect(deleted?.after || undefined).toBeUndefined();
    const all = JSON.stringify(await json("audit", "--limit", "1000"));
    expect(all).not.toMatch(/sf_[A-Za-z0-9_-]{20}|PRIVATE KEY/);
    expect(all).toContain("EnrollmentService/EnrollNode");
  });
});
