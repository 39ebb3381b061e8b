/**
 * Real programs and every kind of runtime, unmodified, as servers and as clients of each other: on one node and across
 * nodes. An echo server answers with the client's address as it sees it, which must be the one that the client sees.
 */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import type { Background } from "./fixture/background.js";
import { Cluster, type TierChoice } from "./fixture/cluster.js";
import { built, script } from "./fixture/programs.js";

interface Conversation {
  readonly local: string;
  readonly peer: string;
  /** `local`, as the server sees it. */
  readonly seen: string;
}

interface Language {
  readonly name: string;
  readonly serve: readonly string[];
  readonly connect: readonly string[];
  /** How many connections its client opens to each server. */
  readonly connections: number;
}

const ECHO_PORT = 7_000;

const LANGUAGES: readonly Language[] = [
  {
    name: "go",
    serve: [built("echo-go"), "serve"],
    // Go's listeners ask for MPTCP by default, its clients when told so.
    connect: ["env", "GODEBUG=multipathtcp=1", built("echo-go"), "connect"],
    connections: 3,
  },
  {
    name: "static-c",
    serve: [built("echo-static"), "serve"],
    connect: [built("echo-static"), "connect"],
    connections: 1,
  },
  ...["blocking", "asyncio"].map((style) => ({
    name: `python-${style}`,
    serve: [...script("echo.py"), style, "serve"],
    connect: [...script("echo.py"), style, "connect"],
    connections: 1,
  })),
  {
    name: "node-js",
    serve: [...script("echo.mjs"), "serve"],
    connect: [...script("echo.mjs"), "connect"],
    connections: 1,
  },
];

/** Without the prefix of v4-mapped addresses, and without the brackets that runtimes put around them or do not. */
function plain(name: string): string {
  return name.replace(/^\[?::ffff:([\d.]+)\]?:/, "$1:");
}

let cluster: Cluster;
beforeAll(async () => {
  cluster = await Cluster.start();
});
afterAll(() => cluster?.stop());

describe("echo", () => {
  let servers: Background[];

  beforeAll(async () => {
    // All on one node and on one port: each has its own.
    servers = await Promise.all(
      LANGUAGES.map(({ name, serve }) =>
        cluster.start({ node: "node-2", name, ready: { ports: [ECHO_PORT] } }, [...serve, String(ECHO_PORT)]),
      ),
    );
  });

  describe.each<[string, string, TierChoice]>([
    ["another node", "node-1", "auto"],
    ["another node", "node-1", "notify"],
    ["the same node", "node-2", "auto"],
    ["the same node", "node-2", "notify"],
  ])("clients on %s (%s, %s)", (_where, node, tier) => {
    it.each(LANGUAGES)("$name talks to the servers of all languages", async ({ connect, connections }) => {
      const targets = servers.map(({ address }) => `${address}:${ECHO_PORT}`);
      const output = await cluster.output({ node, tier }, [...connect, ...targets]);
      const conversations = output
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line) as Conversation);
      const peers = conversations.map(({ peer }) => peer).sort();
      expect(peers).toEqual(targets.flatMap((target) => Array(connections).fill(target)).sort());
      for (const { local, seen } of conversations) {
        expect(local).toMatch(/^10\.32\.\d+\.\d+:\d+$/);
        expect(plain(seen)).toBe(local);
      }
    });
  });
});

describe("nginx and curl", () => {
  let directory: string;
  let server: Background;

  beforeAll(async () => {
    directory = mkdtempSync(join(tmpdir(), "slimfast-e2e-nginx-"));
    writeFileSync(join(directory, "large"), Buffer.alloc(8 * 1024 * 1024, "slimfast"));
    const configuration = join(directory, "nginx.conf");
    // Several workers share the listeners; reuseport gives each one its own.
    writeFileSync(
      configuration,
      `daemon off; user root; worker_processes 2; pid ${directory}/pid; error_log stderr;
      events { worker_connections 128; }
      http {
        access_log off; sendfile on;
        client_body_temp_path ${directory}/body; proxy_temp_path ${directory}/proxy;
        fastcgi_temp_path ${directory}/fastcgi; uwsgi_temp_path ${directory}/uwsgi; scgi_temp_path ${directory}/scgi;
        server {
          listen 80; listen [::]:80 ipv6only=on; listen 81 reuseport;
          root ${directory};
          location = /names { return 200 "$remote_addr:$remote_port $server_addr:$server_port"; }
        }
      }`,
    );
    const command = ["nginx", "-c", configuration, "-e", "stderr"];
    server = await cluster.start({ node: "node-2", name: "nginx", ready: { ports: [80, 81] } }, command);
  });

  afterAll(async () => {
    await server?.stop();
    rmSync(directory, { recursive: true, force: true });
  });

  describe.each<[string, TierChoice]>([
    ["node-1", "preload"],
    ["node-1", "notify"],
    ["node-2", "preload"],
    ["node-2", "notify"],
  ])("from %s, %s", (node, tier) => {
    it("see each other's overlay addresses, on each of many connections", async () => {
      const format = "\\n%{local_ip}:%{local_port} %{remote_ip}:%{remote_port}\\n";
      const urls = [80, 81].flatMap((port) => Array(10).fill(`http://${server.address}:${port}/names`) as string[]);
      const options = ["-sS", "-m", "10", "-H", "Connection: close", "-w", format];
      const output = await cluster.output({ node, tier }, ["curl", ...options, ...urls]);
      const lines = output.trim().split("\n");
      expect(lines).toHaveLength(2 * urls.length);
      for (let index = 0; index < lines.length; index += 2) {
        expect(lines[index]).toBe(lines[index + 1]);
        expect(lines[index]).toMatch(new RegExp(`^10\\.32\\.\\d+\\.\\d+:\\d+ ${server.address}:8[01]$`));
      }
    });

    it("transfer a large file unharmed", async () => {
      const pipeline = `curl -sS -m 30 http://${server.address}/large | cmp - ${directory}/large && echo same`;
      expect(await cluster.output({ node, tier }, ["sh", "-c", pipeline])).toBe("same\n");
    });
  });
});

/** Stores and reads values over several connections that are open at the same time. */
const MEMCACHED_CLIENT = `
import socket, sys
clients = [socket.create_connection((sys.argv[1], 11211), timeout=10) for _ in range(20)]
for number, client in enumerate(clients):
    client.sendall(b"set key%d 0 60 %d\\r\\n%s\\r\\n" % (number, 50000, b"v" * 50000))
for number, client in enumerate(clients):
    assert client.makefile("rb").readline() == b"STORED\\r\\n"
for number, client in enumerate(reversed(clients)):
    client.sendall(b"get key%d\\r\\n" % number)
    lines = client.makefile("rb")
    assert lines.readline() == b"VALUE key%d 0 50000\\r\\n" % number
    assert lines.readline() == b"v" * 50000 + b"\\r\\n"
print("done")
`;

describe("memcached", () => {
  it.each(["auto", "notify"] as const)("serves clients of both nodes (%s)", async (tier) => {
    // It drops its privileges, and listens on an IPv4 and an IPv6-only socket beside each other.
    const command = ["memcached", "-u", "nobody", "-U", "0", "-t", "2"];
    const server = await cluster.start({ node: "node-2", tier, ready: { ports: [11_211] } }, command);
    for (const node of ["node-1", "node-2"]) {
      const output = await cluster.output({ node, tier }, ["python3", "-c", MEMCACHED_CLIENT, server.address]);
      expect(output).toBe("done\n");
    }
    await server.stop();
  });
});
