/** nginx: static files, and as a reverse proxy between two nodes (client -> proxy -> upstream, each leg over the wire). */
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type { Network, Server } from "../networks/network.js";
import { startListening, untilListening } from "./own-load.js";
import type { Case, OpenScenario, Scenario } from "./scenario.js";
import { runWrk } from "./wrk.js";

const STATIC_PORT = 8_080;
/** The proxy listens twice: without and with kept connections to its upstream. */
const PROXY_PORT = 8_081;
const KEEPING_PROXY_PORT = 8_082;
const WORKERS = 2;
const SIZES = { "1k": 1024, "100k": 100 * 1024 } as const;
type Size = keyof typeof SIZES;

interface NginxCase extends Case {
  readonly file: Size;
  readonly port: number;
  /** A client connection for each request. */
  readonly isShort: boolean;
}

const STATIC_CASES: readonly NginxCase[] = (["1k", "100k"] as const).flatMap((size) =>
  [true, false].map((isShort) => ({
    name: `${isShort ? "short" : "keepalive"}-${size}`,
    title: `nginx, ${spell(size)} file, ${isShort ? "a connection per request" : "kept connections"}`,
    primary: "perSecond" as const,
    file: size,
    port: STATIC_PORT,
    isShort,
  })),
);

const PROXY_CASES: readonly NginxCase[] = (["1k", "100k"] as const).flatMap((size) =>
  [PROXY_PORT, KEEPING_PROXY_PORT].map((port) => ({
    name: `short-${port === PROXY_PORT ? "upstream-short" : "upstream-kept"}-${size}`,
    title: `nginx proxy, ${spell(size)}, short client connections, upstream connections ${port === PROXY_PORT ? "short" : "kept"}`,
    primary: "perSecond" as const,
    file: size,
    port,
    isShort: true,
  })),
);

export const NGINX_STATIC: Scenario = {
  name: "nginx-static",
  description: "nginx serving files to wrk",
  programs: ["nginx", "wrk"],
  cases: STATIC_CASES,
  open: async (network, directory) => {
    const files = writeFiles(directory);
    const command = nginx(directory, "static", staticServer(files));
    const server = await startListening(network, "nginx", STATIC_PORT, command);
    return measuring(network, [server], STATIC_CASES, server);
  },
};

export const NGINX_PROXY: Scenario = {
  name: "nginx-proxy",
  description: "nginx as reverse proxy: wrk on one node, nginx on the other, its upstream on the first again",
  programs: ["nginx", "wrk"],
  cases: PROXY_CASES,
  open: async (network, directory) => {
    const files = writeFiles(directory);
    const servers: Server[] = [];
    try {
      const upstream = await network.start("client", "upstream", nginx(directory, "upstream", staticServer(files)));
      servers.push(upstream);
      await untilListening(network, upstream, STATIC_PORT);
      const proxying = nginx(directory, "proxy", proxyServers(upstream.address));
      const proxy = await network.start("server", "proxy", proxying);
      servers.push(proxy);
      await untilListening(network, proxy, KEEPING_PROXY_PORT);
      return measuring(network, servers, PROXY_CASES, proxy);
    } catch (error) {
      for (const server of servers) await server.stop();
      throw error;
    }
  },
};

function measuring(
  network: Network,
  servers: readonly Server[],
  cases: readonly NginxCase[],
  { address }: Server,
): OpenScenario {
  return {
    servers,
    measure: (name, { seconds }) => {
      const one = cases.find((it) => it.name === name);
      if (!one) throw new RangeError(`no case ${name}`);
      return runWrk(network, { url: `http://${address}:${one.port}/${one.file}`, seconds, isShort: one.isShort });
    },
  };
}

function spell(size: Size): string {
  return size === "1k" ? "1 KiB" : "100 KiB";
}

function writeFiles(directory: string): string {
  const files = join(directory, "files");
  mkdirSync(files, { recursive: true });
  for (const [name, bytes] of Object.entries(SIZES)) writeFileSync(join(files, name), "x".repeat(bytes));
  return files;
}

/** Writes the configuration and gives the command. */
function nginx(directory: string, name: string, http: string): string[] {
  const prefix = join(directory, name);
  mkdirSync(prefix, { recursive: true });
  const configuration = `
user root;
daemon off;
worker_processes ${WORKERS};
pid ${prefix}/nginx.pid;
error_log stderr warn;
worker_rlimit_nofile 65536;
events { worker_connections 16384; }
http {
  access_log off;
  sendfile on;
  tcp_nopush on;
  keepalive_requests 1000000;
  client_body_temp_path ${prefix}/body;
  proxy_temp_path ${prefix}/proxy;
  fastcgi_temp_path ${prefix}/fastcgi;
  uwsgi_temp_path ${prefix}/uwsgi;
  scgi_temp_path ${prefix}/scgi;
${http}
}
`;
  writeFileSync(join(prefix, "nginx.conf"), configuration);
  return ["nginx", "-p", prefix, "-c", join(prefix, "nginx.conf"), "-e", "stderr"];
}

function staticServer(files: string): string {
  return `  server { listen ${STATIC_PORT} backlog=4096; root ${files}; open_file_cache max=16; }`;
}

function proxyServers(upstream: string): string {
  return `
  proxy_buffers 16 16k;
  upstream short { server ${upstream}:${STATIC_PORT} max_fails=0; }
  upstream kept { server ${upstream}:${STATIC_PORT} max_fails=0; keepalive 64; keepalive_requests 1000000; }
  server { listen ${PROXY_PORT} backlog=4096; location / { proxy_pass http://short; } }
  server {
    listen ${KEEPING_PROXY_PORT} backlog=4096;
    location / { proxy_pass http://kept; proxy_http_version 1.1; proxy_set_header Connection ""; }
  }`;
}
