/** Real etcd servers on loopback ports of their own, for tests. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Etcd3 } from "etcd3";
import type { EtcdAccess } from "../store/etcd/etcd-access.js";
import { EtcdClient } from "../store/etcd/etcd-client.js";

const START_MS = 30_000;

async function freePorts(count: number): Promise<number[]> {
  const servers = Array.from({ length: count }, () => createServer().listen(0, "127.0.0.1"));
  await Promise.all(servers.map((server) => once(server, "listening")));
  const ports = servers.map((server) => {
    const address = server.address();
    return typeof address === "object" && address ? address.port : 0;
  });
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  return ports;
}

interface Member {
  readonly name: string;
  readonly clientPort: number;
  readonly peerPort: number;
  process: ChildProcess | undefined;
}

/** Clients have TLS, and a certificate that the authority has signed. */
export interface TestEtcdTls {
  readonly certificateFile: string;
  readonly keyFile: string;
  readonly caFile: string;
}

export interface TestEtcdOptions {
  readonly tls?: TestEtcdTls;
  readonly access?: EtcdAccess;
  /** More of them, on each member's command line. */
  readonly options?: Readonly<Record<string, string>>;
}

export class TestEtcd {
  /** How the tests' own clients reach it. */
  access: EtcdAccess = {};
  readonly #directory: string;
  readonly #members: readonly Member[];
  readonly #tls: TestEtcdTls | undefined;
  readonly #options: Readonly<Record<string, string>>;

  private constructor(directory: string, members: readonly Member[], { tls, options = {} }: TestEtcdOptions) {
    this.#directory = directory;
    this.#members = members;
    this.#tls = tls;
    this.#options = options;
  }

  static async start(size = 1, more: TestEtcdOptions = {}): Promise<TestEtcd> {
    const directory = await mkdtemp(join(tmpdir(), "slimfast-etcd-test-"));
    const ports = await freePorts(size * 2);
    const members = Array.from({ length: size }, (_, index) => ({
      name: `m${index}`,
      clientPort: ports[index * 2] as number,
      peerPort: ports[index * 2 + 1] as number,
      process: undefined,
    }));
    const etcd = new TestEtcd(directory, members, more);
    etcd.access = more.access ?? {};
    for (const index of members.keys()) etcd.startMember(index);
    await etcd.ready();
    return etcd;
  }

  get hosts(): string[] {
    return this.#members.map(({ clientPort }) => `127.0.0.1:${clientPort}`);
  }

  get size(): number {
    return this.#members.length;
  }

  startMember(index: number): void {
    const member = this.#member(index);
    const url = (port: number) => `http://127.0.0.1:${port}`;
    const tls = this.#tls;
    const clientUrl = `${tls ? "https" : "http"}://127.0.0.1:${member.clientPort}`;
    const cluster = this.#members.map(({ name, peerPort }) => `${name}=${url(peerPort)}`).join(",");
    const options = {
      "--name": member.name,
      "--data-dir": join(this.#directory, member.name),
      "--listen-client-urls": clientUrl,
      "--advertise-client-urls": clientUrl,
      "--listen-peer-urls": url(member.peerPort),
      "--initial-advertise-peer-urls": url(member.peerPort),
      "--initial-cluster": cluster,
      "--initial-cluster-token": this.#directory,
      "--logger": "zap",
      "--log-level": "error",
      ...this.#options,
    };
    const tlsOptions = tls
      ? {
          "--cert-file": tls.certificateFile,
          "--key-file": tls.keyFile,
          "--trusted-ca-file": tls.caFile,
        }
      : {};
    const args = [...Object.entries({ ...options, ...tlsOptions }).flat(), ...(tls ? ["--client-cert-auth"] : [])];
    member.process = spawn("etcd", args, { stdio: "ignore" });
    member.process.on("error", () => {});
  }

  #member(index: number): Member {
    const member = this.#members[index];
    if (!member) throw new Error(`etcd has no member ${index}`);
    return member;
  }

  /** Waits until the cluster can be written. */
  async ready(): Promise<void> {
    const endMs = performance.now() + START_MS;
    for (;;) {
      const client = new EtcdClient(this.hosts, this.access);
      try {
        await client.kv.put({ key: Buffer.from("/slimfast/test/ready"), value: Buffer.from("") });
        return;
      } catch (error) {
        if (performance.now() > endMs)
          throw new Error("etcd did not start: is etcd-server installed?", { cause: error });
        await new Promise((resolve) => setTimeout(resolve, 200));
      } finally {
        client.close();
      }
    }
  }

  /** The member that leads now. */
  async leader(): Promise<number> {
    for (const [index, host] of this.hosts.entries()) {
      const client = new Etcd3({ hosts: host });
      try {
        const { header, leader } = await client.maintenance.status();
        if (header.member_id === leader) return index;
      } catch {
        // Not this one.
      } finally {
        client.close();
      }
    }
    throw new Error("etcd has no leader");
  }

  async killMember(index: number): Promise<void> {
    const { process } = this.#member(index);
    if (!process || process.exitCode !== null || process.signalCode !== null) return;
    const exit = once(process, "exit");
    process.kill("SIGKILL");
    await exit;
  }

  async remove(): Promise<void> {
    for (const index of this.#members.keys()) await this.killMember(index);
    await rm(this.#directory, { recursive: true, force: true });
  }
}
