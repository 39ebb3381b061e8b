/**
 * The HTTP server: the built console, the bridge to the services, sessions, /metrics.
 *
 * In the clear it listens on loopback addresses only, everywhere else with TLS. Whoever calls needs a token, either as a session (POST /session with
 * the token; from then on a cookie) or with each call as `authorization: Bearer TOKEN`.
 */
import { existsSync } from "node:fs";
import type { IncomingMessage } from "node:http";
import type { Server as TlsServer } from "node:tls";
import { AccessServiceDefinition, WhoAmIRequest } from "@slimfast/proto";
import Fastify, { type FastifyInstance, type FastifyReply, type FastifyRequest } from "fastify";
import { Status } from "nice-grpc";
import type { Logger } from "pino";
import { StartupError } from "../errors.js";
import { DEFAULT_CONSOLE_DIRECTORY } from "../installation.js";
import { MAX_LOGIN_BYTES, MAX_WEB_REQUEST_BYTES } from "../limits.js";
import { formatListenAddress, isLoopback } from "../listen.js";
import type { ServerTls } from "../security/server-credentials.js";
import type { Registry } from "../services/registry.js";
import { Bridge } from "./bridge.js";
import { GRPC_WEB_CONTENT_TYPE, messageFrame } from "./grpc-web.js";
import { foreignOrigin } from "./request-origin.js";
import { CONTENT_SECURITY_POLICY, securityHeaders } from "./security-headers.js";
import { Sessions } from "./sessions.js";
import { encodingFor, readStaticFiles } from "./static-files.js";
import { parseWebAddress, type WebAddress } from "./web-address.js";

/** A certificate that may be replaced while the server listens. */
export interface WebTls {
  current(): ServerTls;
  /** @returns What ends it. */
  onRenewed(listener: (tls: ServerTls) => void): () => void;
}

export interface WebServerOptions {
  /** HOST:PORT, several by commas; port 0 takes any free one. Or fd:N, a socket on loopback that listens already. */
  readonly listen: string;
  readonly registry: Registry;
  readonly log: Logger;
  /** The built console. Default: the one of this checkout. */
  readonly consoleDirectory?: string;
  /** For addresses that are not loopback, which need it. */
  readonly tls?: WebTls | undefined;
  /** What GET /metrics answers; without it there is no such path. */
  readonly metrics?: () => Promise<{ readonly contentType: string; readonly body: string }>;
}

export interface WebServer {
  /** For example http://127.0.0.1:7080, with the real port. */
  readonly url: string;
  close(): Promise<void>;
}

/**
 * Listens on the first of the addresses, parted by commas, that is free.
 *
 * @throws StartupError if it cannot listen on any.
 */
export async function startWebServer(options: WebServerOptions): Promise<WebServer> {
  const addresses = options.listen.split(",");
  for (const [index, listen] of addresses.entries()) {
    try {
      return await startOn({ ...options, listen });
    } catch (error) {
      const isTaken = error instanceof StartupError && error.code === "address_in_use";
      if (!isTaken || index === addresses.length - 1) throw error;
    }
  }
  throw new StartupError("address_refused", "--http needs HOST:PORT");
}

async function startOn(options: WebServerOptions): Promise<WebServer> {
  const { log, tls } = options;
  const address = parseWebAddress(options.listen, tls !== undefined);
  const bridge = new Bridge(options.registry, log);
  const server = createServer(options, bridge, address.isSecure);
  let url: string;
  try {
    url = await listen(server, address);
  } catch (error) {
    await server.close();
    if (error instanceof StartupError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("address_in_use", `cannot listen on ${options.listen}: ${reason}`, error);
  }
  const secured = address.isSecure ? (server.server as unknown as TlsServer) : undefined;
  const stopRenewing = secured && tls?.onRenewed((next) => secured.setSecureContext(secureContext(next)));
  log.info({ url }, "web server started");
  return {
    url,
    close: async () => {
      stopRenewing?.();
      bridge.close();
      await server.close();
    },
  };
}

/** @returns The URL. */
async function listen(server: FastifyInstance, address: WebAddress): Promise<string> {
  if (address.kind === "tcp") {
    await server.listen({ host: address.host.replace(/^\[|\]$/g, ""), port: address.port });
  } else {
    await server.ready();
    await new Promise<void>((resolve, reject) => {
      server.server.once("error", reject);
      server.server.listen({ fd: address.descriptor }, resolve);
    });
  }
  const bound = server.server.address();
  if (typeof bound !== "object" || bound === null)
    throw new StartupError("address_refused", "--http fd:N is no TCP socket");
  const host = bound.family === "IPv6" ? `[${bound.address}]` : bound.address;
  if (!address.isSecure && !isLoopback(host)) {
    throw new StartupError(
      "address_refused",
      `the socket of --http fd:N is at ${host}, which is not a loopback address`,
    );
  }
  const shown = address.kind === "tcp" ? address.host : host;
  const text = formatListenAddress({ kind: "tcp", host: shown, port: bound.port });
  return `${address.isSecure ? "https" : "http"}://${text}`;
}

function secureContext({ chain, privateKey }: ServerTls) {
  return { cert: chain, key: privateKey, minVersion: "TLSv1.2" } as const;
}

function createServer(options: WebServerOptions, bridge: Bridge, isSecure: boolean): FastifyInstance {
  const common = { bodyLimit: MAX_WEB_REQUEST_BYTES, forceCloseConnections: true, trustProxy: false } as const;
  const tls = isSecure ? options.tls?.current() : undefined;
  const server = (tls
    ? Fastify({ ...common, http2: true, https: { allowHTTP1: true, ...secureContext(tls) } })
    : Fastify(common)) as unknown as FastifyInstance;
  const sessions = new Sessions();
  server.removeAllContentTypeParsers();
  server.addContentTypeParser([GRPC_WEB_CONTENT_TYPE, "application/grpc-web"], { parseAs: "buffer" }, (_, body, done) =>
    done(null, body),
  );
  server.addContentTypeParser(
    "application/json",
    { parseAs: "string", bodyLimit: MAX_LOGIN_BYTES },
    (_, body, done) => {
      try {
        done(null, JSON.parse(body as string));
      } catch {
        done(Object.assign(new Error("the body is no JSON"), { statusCode: 400 }));
      }
    },
  );
  server.addHook("onRequest", async (_, reply) => void reply.headers(securityHeaders(isSecure)));
  server.setErrorHandler((error: { statusCode?: number; message: string }, request, reply) => {
    const status = error.statusCode ?? 500;
    if (status >= 500) options.log.error({ err: error, path: request.url }, "request failed");
    void reply.code(status).send({ error: status >= 500 ? "internal error" : error.message });
  });
  addBridge(server, bridge, sessions, isSecure);
  addSessions(server, bridge, sessions, isSecure);
  addConsole(server, options);
  const { metrics } = options;
  if (metrics) {
    server.get("/metrics", async (_, reply) => {
      const { contentType, body } = await metrics();
      return reply.header("content-type", contentType).header("cache-control", "no-store").send(body);
    });
  }
  return server;
}

/** Cookies are shared by all ports of a host; so that two clusters on one machine do not log each other out. */
function cookieName(request: FastifyRequest, isSecure: boolean): string {
  const port = request.raw.socket.localPort ?? 0;
  return isSecure ? `__Host-slimfast-${port}` : `slimfast-${port}`;
}

function sessionCookie(request: FastifyRequest, isSecure: boolean): string | undefined {
  const wanted = `${cookieName(request, isSecure)}=`;
  const found = (request.headers.cookie ?? "").split(/; */).find((part) => part.startsWith(wanted));
  return found?.slice(wanted.length);
}

function setCookie(request: FastifyRequest, reply: FastifyReply, isSecure: boolean, id: string | null): void {
  const parts = [`${cookieName(request, isSecure)}=${id ?? ""}`, "Path=/", "HttpOnly", "SameSite=Strict"];
  if (isSecure) parts.push("Secure");
  if (id === null) parts.push("Max-Age=0");
  reply.header("set-cookie", parts.join("; "));
}

function peerOf(request: IncomingMessage): string {
  const { remoteAddress = "", remotePort = 0 } = request.socket;
  return remoteAddress.includes(":") ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`;
}

function addBridge(server: FastifyInstance, bridge: Bridge, sessions: Sessions, isSecure: boolean): void {
  for (const path of bridge.paths) {
    server.post(path, async (request, reply) => {
      const bearer = /^Bearer (\S+)$/.exec(request.headers.authorization ?? "")?.[1];
      let token = bearer;
      // A token that the caller sends itself is no browser's doing; a cookie is, so it must be ours that asks for it.
      if (bearer === undefined) {
        const reason = foreignOrigin(request.headers);
        if (reason !== undefined) return reply.code(403).send({ error: reason });
        token = sessions.tokenOf(sessionCookie(request, isSecure));
      }
      if (!Buffer.isBuffer(request.body)) return reply.code(415).send({ error: `send ${GRPC_WEB_CONTENT_TYPE}` });
      const call = { path, body: request.body, token, peer: peerOf(request.raw), headers: request.headers };
      reply.hijack();
      for (const [name, value] of Object.entries(securityHeaders(isSecure))) reply.raw.setHeader(name, value);
      await bridge.serve(call, reply.raw);
    });
  }
}

/** POST: log in. GET: whether there is a session, with a fresh id where due. DELETE: log out. */
function addSessions(server: FastifyInstance, bridge: Bridge, sessions: Sessions, isSecure: boolean): void {
  server.addHook("preHandler", async (request, reply) => {
    if (request.url.split("?")[0] !== "/session") return;
    const reason = foreignOrigin(request.headers);
    if (reason !== undefined) await reply.code(403).send({ error: reason });
  });
  server.post("/session", async (request, reply) => {
    const { body } = request;
    const token = typeof body === "object" && body !== null && "token" in body ? body.token : undefined;
    if (typeof token !== "string" || !/^[\x21-\x7e]{1,512}$/.test(token)) {
      return reply.code(400).send({ error: "a token is needed" });
    }
    const code = await statusOfToken(bridge, token, peerOf(request.raw));
    if (code !== Status.OK) {
      const error =
        code === Status.UNAUTHENTICATED
          ? "the controller does not know this token, or it has expired"
          : "the token may not log in";
      return reply.code(401).send({ error });
    }
    sessions.close(sessionCookie(request, isSecure));
    setCookie(request, reply, isSecure, sessions.open(token));
    return reply.header("cache-control", "no-store").send({ ok: true });
  });
  server.get("/session", async (request, reply) => {
    const id = sessionCookie(request, isSecure);
    const isOpen = sessions.tokenOf(id) !== undefined;
    if (isOpen && id !== undefined) {
      const next = sessions.rotate(id);
      if (next !== undefined) setCookie(request, reply, isSecure, next);
    }
    return reply.header("cache-control", "no-store").send({ ok: isOpen });
  });
  server.delete("/session", async (request, reply) => {
    sessions.close(sessionCookie(request, isSecure));
    setCookie(request, reply, isSecure, null);
    return reply.header("cache-control", "no-store").send({ ok: true });
  });
}

/** What AccessService.WhoAmI says to the token. */
async function statusOfToken(bridge: Bridge, token: string, peer: string): Promise<Status> {
  const path = `/${AccessServiceDefinition.fullName}/${AccessServiceDefinition.methods.whoAmI.name}`;
  const body = messageFrame(WhoAmIRequest.encode(WhoAmIRequest.fromPartial({})).finish());
  return bridge.statusOf({ path, body, token, peer, headers: {} });
}

function addConsole(server: FastifyInstance, options: WebServerOptions): void {
  const folder = options.consoleDirectory ?? DEFAULT_CONSOLE_DIRECTORY;
  const files = readStaticFiles(folder);
  if (files.size === 0) {
    const reason = existsSync(folder) ? "has no index.html" : "does not exist";
    options.log.warn({ folder, reason }, "the console is not built: only the API is served");
  }
  server.get("/*", async (request, reply) => {
    const path = decodePath(request.url);
    const isPage = !/\.[a-z0-9]+$/.test(path);
    // Every view of the console has a path of its own; all are the same page.
    const file = files.get(path) ?? (isPage ? files.get("/index.html") : undefined);
    if (!file) {
      const error = files.size === 0 ? "the console is not built: run ./slimfast build" : `there is no ${path}`;
      return reply.code(404).send({ error });
    }
    const { body, encoding } = encodingFor(file, String(request.headers["accept-encoding"] ?? ""));
    void reply.headers({
      "content-type": file.contentType,
      "cache-control": file.cacheControl,
      etag: file.etag,
      vary: "accept-encoding",
    });
    if (encoding !== undefined) void reply.header("content-encoding", encoding);
    if (file.contentType.startsWith("text/html")) void reply.header("content-security-policy", CONTENT_SECURITY_POLICY);
    if (request.headers["if-none-match"] === file.etag) return reply.code(304).send();
    return reply.send(body);
  });
}

function decodePath(url: string): string {
  const path = url.split("?")[0] ?? "/";
  try {
    return decodeURIComponent(path);
  } catch {
    return path;
  }
}
