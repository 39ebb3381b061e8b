/** etcd with TLS, client certificates and users, as operators have it: a real one, and what is said when something is wrong. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Etcd3, Range } from "etcd3";
import { afterAll, afterEach, beforeAll, describe, expect, it, vi } from "vitest";
import { createAuthority, issueControllerCertificate } from "../../security/x509.js";
import { TestEtcd } from "../../testing/etcd.js";
import { eventually } from "../../testing/operations.js";
import { NETWORK } from "../../testing/stored.js";
import { openStore } from "../open-store.js";
import type { Store } from "../store.js";
import { type EtcdAccessOptions, readEtcdAccess } from "./etcd-access.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000, hookTimeout: 90_000 });

const PASSWORD = "correct horse";

let directory: string;
let etcd: TestEtcd;
const stores: Store[] = [];

const file = (name: string) => join(directory, name);
const ACCESS = (): EtcdAccessOptions => ({
  caFile: file("ca.pem"),
  certificateFile: file("client.pem"),
  keyFile: file("client.key"),
  user: "slimfast",
  passwordFile: file("password"),
});

async function writePair(name: string, authority: { certificate: string; privateKey: string }): Promise<void> {
  const validity = { nowMs: Date.now(), lifetimeMs: 3_600_000 };
  const pair = await issueControllerCertificate(authority, { id: name, names: ["127.0.0.1", "localhost"] }, validity);
  writeFileSync(file(`${name}.pem`), pair.certificate);
  writeFileSync(file(`${name}.key`), pair.privateKey);
}

/** Users with passwords, one of whom may touch the controllers' keys and nothing else. */
async function addUsers(): Promise<void> {
  const [rootCertificate, certChain, privateKey] = ["ca.pem", "client.pem", "client.key"].map((name) =>
    readFileSync(file(name)),
  );
  if (!rootCertificate || !certChain || !privateKey) throw new Error("a file is missing");
  const client = new Etcd3({ hosts: [...etcd.hosts], credentials: { rootCertificate, certChain, privateKey } });
  try {
    await client.user("root").create("root password");
    await client.user("root").addRole("root");
    await client.role("controllers").create();
    await client.role("controllers").grant({ permission: "Readwrite", range: Range.prefix("/slimfast/") });
    await client.user("slimfast").create(PASSWORD);
    await client.user("slimfast").addRole("controllers");
    await client.auth.authEnable();
  } finally {
    client.close();
  }
}

beforeAll(async () => {
  directory = mkdtempSync(join(tmpdir(), "slimfast-etcd-tls-"));
  const authority = await createAuthority(Date.now());
  const stranger = await createAuthority(Date.now());
  writeFileSync(file("ca.pem"), authority.certificate);
  writeFileSync(file("stranger.pem"), stranger.certificate);
  await writePair("server", authority);
  await writePair("client", authority);
  await writePair("foreign", stranger);
  writeFileSync(file("password"), `${PASSWORD}\n`);
  writeFileSync(file("wrong-password"), "wrong");
  writeFileSync(file("empty"), "\n");
  etcd = await TestEtcd.start(1, {
    tls: { caFile: file("ca.pem"), certificateFile: file("server.pem"), keyFile: file("server.key") },
    access: readEtcdAccess({ ...ACCESS(), user: undefined, passwordFile: undefined }, []),
  });
  await addUsers();
  etcd.access = readEtcdAccess(ACCESS(), []);
});

afterEach(async () => {
  for (const store of stores.splice(0)) await store.close();
});

afterAll(async () => {
  await etcd?.remove();
  rmSync(directory, { recursive: true, force: true });
});

async function open(change: Partial<EtcdAccessOptions> = {}): Promise<Store> {
  const store = await openStore({ kind: "etcd", hosts: etcd.hosts }, { ...ACCESS(), ...change });
  stores.push(store);
  return store;
}

describe("an etcd with TLS and users", () => {
  it("keeps the state of several controllers, also after it has forgotten their logins", async () => {
    const [one, other] = [await open(), await open()];
    await one.transaction((tx) => tx.put("network", { ...NETWORK, name: "first" }));
    await eventually("the other has seen the first", () => other.get("network", "first") !== undefined);
    // Tokens are in etcd's memory: a watch that comes with a former one is refused.
    await etcd.killMember(0);
    etcd.startMember(0);
    await etcd.ready();
    let isWritten = false;
    while (!isWritten) {
      const name = "second";
      isWritten = await one
        .transaction((tx) => tx.put("network", { ...NETWORK, name, vni: 77, prefix: "10.77.0.0/16" }))
        .then(
          () => true,
          () => false,
        );
    }
    // It has nothing to write, and follows all the same.
    await eventually("the other has seen the second", () => other.get("network", "second") !== undefined);
    await one.transaction((tx) => {
      tx.delete("network", "first");
      tx.delete("network", "second");
    });
  });

  it("is refused with what is wrong", async () => {
    await expect(open({ passwordFile: file("wrong-password") })).rejects.toThrow(/authentication failed/);
    await expect(open({ user: "nobody" })).rejects.toThrow(/authentication failed/);
    await expect(open({ caFile: file("stranger.pem") })).rejects.toThrow(/unable to|self-signed|signature/);
    await expect(open({ certificateFile: undefined, keyFile: undefined })).rejects.toThrow(/certificate/);
    await expect(open({ certificateFile: file("foreign.pem"), keyFile: file("foreign.key") })).rejects.toThrow(
      /certificate|unknown ca/,
    );
    // No options at all, as towards one without TLS.
    await expect(openStore({ kind: "etcd", hosts: etcd.hosts })).rejects.toThrow(/--etcd-ca/);
  });
});

describe("the options of etcd", () => {
  const refusal = (options: EtcdAccessOptions, host = "127.0.0.1:2379") => {
    try {
      readEtcdAccess(options, [host]);
      return "";
    } catch (error) {
      return error instanceof Error ? error.message : String(error);
    }
  };

  it("belong together", () => {
    expect(refusal({ certificateFile: "x" })).toMatch(/--etcd-cert and --etcd-key belong together/);
    expect(refusal({ user: "x" })).toMatch(/--etcd-user and --etcd-password-file belong together/);
    expect(refusal({ certificateFile: file("client.pem"), keyFile: file("client.key") })).toMatch(/needs --etcd-ca/);
  });

  it("keep a password off the network", () => {
    const login = { user: "x", passwordFile: file("password") };
    expect(refusal(login, "192.0.2.1:2379")).toMatch(/192\.0\.2\.1:2379 in the clear: add --etcd-ca/);
    expect(refusal(login)).toBe("");
    expect(refusal({ ...login, caFile: file("ca.pem") }, "192.0.2.1:2379")).toBe("");
  });

  it("name files that can be used", () => {
    expect(refusal({ caFile: file("none") })).toMatch(/--etcd-ca cannot be read/);
    expect(refusal({ caFile: file("password") })).toMatch(/is no certificate in PEM/);
    expect(refusal({ user: "x", passwordFile: file("empty") })).toMatch(/is empty/);
    expect(refusal({ ...ACCESS(), keyFile: file("server.key") })).toMatch(/is not the key of/);
    expect(refusal({ ...ACCESS(), keyFile: file("ca.pem") })).toMatch(/is no private key/);
  });

  it("are for etcd", async () => {
    await expect(openStore({ kind: "sqlite", directory: file("sqlite") }, ACCESS())).rejects.toThrow(
      /need --store etcd/,
    );
  });
});
