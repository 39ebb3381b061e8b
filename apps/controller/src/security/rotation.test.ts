/** Certificates of the cluster over time, and from elsewhere: rotation of the authority, --tls-cert, what a node shows. */
import { execFileSync } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as proto from "@slimfast/proto";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { connection, ReportingAgent } from "../testing/connections.js";
import { TestEtcd } from "../testing/etcd.js";
import { type NodeIdentity, newNodeKey, SecureController, statusOf } from "../testing/secure-controller.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 60_000 });

const { AUTHORITY_STATE_NEXT: NEXT, AUTHORITY_STATE_SIGNING: SIGNING } = proto.AuthorityState;
const FORMER = proto.AuthorityState.AUTHORITY_STATE_FORMER;

let controller: SecureController;

afterEach(() => controller?.remove());

async function authorities(): Promise<proto.Authority[]> {
  return (await controller.local().access.listAuthorities({})).authorities;
}

async function until<Value>(get: () => Promise<Value | undefined>): Promise<Value> {
  for (;;) {
    const value = await get();
    if (value !== undefined) return value;
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function renew(node: NodeIdentity): Promise<NodeIdentity> {
  const { request, privateKey } = await newNodeKey();
  const { agent } = controller.tls({ ca: node.authorities, identity: node });
  return { ...(await agent.renewCertificate({ certificateRequest: request })), privateKey };
}

describe("a rotation of the authority", () => {
  it("goes through its phases without anybody having to join again", async () => {
    controller = await SecureController.start({ certificateLifetimeMs: 4_000 });
    let node = await controller.join("node-1");
    const before = await authorities();
    expect(before.map(({ state }) => state)).toEqual([SIGNING]);
    const { authority: made } = await controller.local().access.rotateAuthority({});
    expect(made?.state).toBe(NEXT);
    expect((await authorities()).map(({ state }) => state)).toEqual([SIGNING, NEXT]);
    expect(await statusOf(controller.local().access.rotateAuthority({}))).toBe("FAILED_PRECONDITION");
    // As an agent does it: well before the end of each certificate.
    const phases = new Set<string>();
    const fingerprint = made?.fingerprint ?? "";
    for (;;) {
      node = await renew(node);
      const [first, ...others] = await authorities();
      phases.add([first, ...others].map((one) => (one?.fingerprint === fingerprint ? "new" : "old")).join());
      if (first?.fingerprint === fingerprint) expect(others.every(({ state }) => state === FORMER)).toBe(true);
      if (first?.fingerprint === fingerprint && others.length === 0) break;
      await new Promise((resolve) => setTimeout(resolve, 500));
    }
    expect([...phases]).toEqual(["old,new", "new,old", "new"]);
    expect(node.authorities.match(/BEGIN CERTIFICATE/g)).toHaveLength(1);
    const token = await controller.token("join", proto.Role.ROLE_JOIN);
    expect(token.split(".")[1]).toBe(fingerprint);
    expect(await statusOf(controller.local().access.rotateAuthority({}))).toBe("OK");
  });

  it("is an administrator's, and in the audit log", async () => {
    controller = await SecureController.start();
    const operator = controller.local(await controller.token("op", proto.Role.ROLE_OPERATOR));
    expect(await statusOf(operator.access.listAuthorities({}))).toBe("PERMISSION_DENIED");
    expect(await statusOf(operator.access.rotateAuthority({}))).toBe("PERMISSION_DENIED");
    await controller.local().access.rotateAuthority({});
    // Refusals are written within a moment.
    const entries = await until(async () => {
      const found = await controller.audit('action = "AccessService/RotateAuthority"');
      return found.length === 2 ? found : undefined;
    });
    expect(entries.map(({ actor, code }) => `${actor} ${code}`).sort()).toEqual([
      "local OK",
      "token/op PERMISSION_DENIED",
    ]);
    expect(JSON.stringify(entries, (_, value) => (typeof value === "bigint" ? String(value) : value))).not.toMatch(
      /PRIVATE KEY/,
    );
  });
});

describe("a node", () => {
  it("shows when its certificate ends, from joining to revocation", async () => {
    controller = await SecureController.start();
    const node = await controller.join("node-1");
    const { agent } = controller.tls({ ca: node.authorities, identity: node });
    await agent.registerNode({
      node: { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } },
    });
    const { cluster, access } = controller.local();
    const expireTime = async () => (await cluster.getNode({ name: "node-1" })).node?.certificateExpireTime?.getTime();
    const first = await until(expireTime);
    expect(first).toBeGreaterThan(Date.now());
    await new Promise((resolve) => setTimeout(resolve, 1_100));
    await renew(node);
    expect(await expireTime()).toBeGreaterThan(first);
    await access.revokeNodeCertificates({ node: "node-1" });
    expect(await expireTime()).toBeUndefined();
  });

  it("is told with its join token where the controllers are", async () => {
    controller = await SecureController.start();
    const answer = await until(async () => {
      const made = await controller.local().access.createToken({
        token: { name: `j${Date.now()}`, role: proto.Role.ROLE_JOIN },
      });
      return made.controllers.length > 0 ? made : undefined;
    });
    expect(answer.controllers).toEqual([controller.address]);
  });
});

describe("a certificate from elsewhere", () => {
  let directory: string;
  const file = (name: string) => join(directory, name);

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), "slimfast-own-certificate-"));
    for (const name of ["one", "two"]) {
      execFileSync(
        "openssl",
        [
          ...["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "1"],
          ...["-subj", "/CN=elsewhere", "-addext", "subjectAltName=IP:127.0.0.1"],
          ...["-keyout", file(`${name}.key`), "-out", file(`${name}.pem`)],
        ],
        { stdio: "pipe" },
      );
    }
  });
  afterEach(() => rmSync(directory, { recursive: true, force: true }));

  it("is what the server shows, while nodes are still signed by the cluster", async () => {
    controller = await SecureController.start({
      tls: { certificateFile: file("one.pem"), keyFile: file("one.key") },
    });
    const ca = readFileSync(file("one.pem"), "utf8");
    const token = await controller.token("view", proto.Role.ROLE_VIEWER);
    expect((await controller.tls({ ca, token }).access.whoAmI({})).actor).toBe("token/view");
    const node = await controller.join("node-1");
    expect((await controller.tls({ ca, identity: node }).access.whoAmI({})).actor).toBe("node/node-1");
    // The cluster's own authority has not signed it.
    expect(await statusOf(controller.tls({ ca: node.authorities, token }).access.whoAmI({}))).toBe("UNAVAILABLE");
  });

  it("is what controllers know each other by, too", async () => {
    const etcd = await TestEtcd.start();
    let other: SecureController | undefined;
    try {
      const options = {
        tls: { certificateFile: file("one.pem"), keyFile: file("one.key") },
        store: `etcd:${etcd.hosts.join()}`,
      };
      controller = await SecureController.start(options);
      other = await SecureController.start(options);
      const { agent, operations } = controller.local();
      await agent.registerNode({
        node: { name: "node-1", underlayAddress: "10.200.0.1", frontPorts: { first: 7_100, count: 16 } },
      });
      const reporting = new ReportingAgent({ agent }, "node-1", [connection(1)]);
      for (const asked of [operations, other.local().operations]) {
        const { connections } = await until(async () => {
          const found = await asked.listConnectionRecords({});
          return found.connections.length > 0 ? found : undefined;
        });
        expect(connections.map(({ id }) => id)).toEqual(["node-1/1"]);
      }
      await reporting.vanish();
    } finally {
      await other?.remove();
      await controller.remove();
      await etcd.remove();
    }
  });

  it("is refused where certificate and key are not one pair, or not there", async () => {
    const start = (certificateFile: string, keyFile: string) =>
      SecureController.start({ tls: { certificateFile: file(certificateFile), keyFile: file(keyFile) } });
    await expect(start("one.pem", "two.key")).rejects.toThrow(/cannot be used: the key is not that of the certificate/);
    await expect(start("one.pem", "none.key")).rejects.toThrow(/none\.key.*ENOENT/);
    await expect(start("one.key", "one.key")).rejects.toThrow(/cannot be used/);
  });
});
