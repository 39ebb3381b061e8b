import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { brotliCompressSync, gzipSync } from "node:zlib";
import {
  AccessServiceDefinition,
  type AccessServiceImplementation,
  ClusterServiceDefinition,
  type ClusterServiceImplementation,
  ListNodesRequest,
  ListNodesResponse,
  Role,
} from "@slimfast/proto";
import { type CallContext, ServerError, type ServerMiddlewareCall, Status } from "nice-grpc";
import { pino } from "pino";
import { afterEach, beforeEach, expect, test } from "vitest";
import { served } from "../services/registry.js";
import { withUnimplemented } from "../testing/unimplemented.js";
import { messageFrame } from "./grpc-web.js";
import { startWebServer, type WebServer } from "./web-server.js";

const TOKEN = "sf_known";
const CONSOLE = { "x-slimfast-console": "1" };
const NODES = "/slimfast.v1.ClusterService/ListNodes";

/** As the real one does: by the call's metadata, before the service sees it. */
async function* authenticate<Request, Response>(call: ServerMiddlewareCall<Request, Response>, context: CallContext) {
  if (context.metadata.get("authorization") !== `Bearer ${TOKEN}`) {
    throw new ServerError(Status.UNAUTHENTICATED, "a token is needed: größer");
  }
  return yield* call.next(call.request, context);
}

const cluster = withUnimplemented<ClusterServiceImplementation>(ClusterServiceDefinition, {
  listNodes: async () => ({ nodes: [{ name: "<script>" }] }),
  async *watchResources(_, { signal }) {
    yield { revision: 1n };
    await new Promise((resolve) => signal.addEventListener("abort", resolve));
  },
});
const access = withUnimplemented<AccessServiceImplementation>(AccessServiceDefinition, {
  whoAmI: async () => ({ actor: "token/x", role: Role.ROLE_ADMIN }),
});

let server: WebServer;
let folder: string;

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "slimfast-web-test-"));
  await writeFile(join(folder, "index.html"), "<!doctype html><title>x</title>");
  await writeFile(join(folder, "compressed.js"), "// plain");
  await writeFile(join(folder, "compressed.js.br"), brotliCompressSync("// by brotli"));
  await writeFile(join(folder, "compressed.js.gz"), gzipSync("// by gzip"));
  server = await startWebServer({
    listen: "127.0.0.1:0",
    registry: {
      services: [served(ClusterServiceDefinition, cluster), served(AccessServiceDefinition, access)],
      middleware: [authenticate],
    },
    log: pino({ enabled: false }),
    consoleDirectory: folder,
  });
});

afterEach(async () => {
  await server.close();
  await rm(folder, { recursive: true });
});

function call(path: string, headers: Record<string, string>, signal?: AbortSignal): Promise<Response> {
  return fetch(server.url + path, {
    method: "POST",
    headers: { "content-type": "application/grpc-web+proto", ...headers },
    body: new Uint8Array(messageFrame(ListNodesRequest.encode(ListNodesRequest.fromPartial({})).finish())),
    ...(signal ? { signal } : {}),
  });
}

async function logIn(token = TOKEN): Promise<Response> {
  return fetch(`${server.url}/session`, {
    method: "POST",
    headers: { "content-type": "application/json", ...CONSOLE },
    body: JSON.stringify({ token }),
  });
}

function cookieOf(response: Response): string {
  return response.headers.get("set-cookie")?.split(";")[0] ?? "";
}

test("a token opens a session whose cookie no script can read", async () => {
  const response = await logIn();
  expect(response.status).toBe(200);
  expect(response.headers.get("set-cookie")).toMatch(/^slimfast-\d+=[\w-]{43}; Path=\/; HttpOnly; SameSite=Strict$/);
  expect(response.headers.get("set-cookie")).not.toContain(TOKEN);
  const answer = await call(NODES, { cookie: cookieOf(response), ...CONSOLE });
  const body = Buffer.from(await answer.arrayBuffer());
  const length = body.readUInt32BE(1);
  expect(ListNodesResponse.decode(body.subarray(5, 5 + length)).nodes[0]?.name).toBe("<script>");
  expect(body.subarray(10 + length).toString()).toBe("grpc-status: 0\r\n");
});

test("a file of the console comes in the form that its build has and the client takes", async () => {
  const form = async (path: string, accepted: string) => {
    const response = await fetch(server.url + path, { headers: { "accept-encoding": accepted } });
    return `${response.headers.get("content-encoding")}: ${await response.text()}`;
  };
  expect(await form("/compressed.js", "gzip, br")).toBe("br: // by brotli");
  expect(await form("/compressed.js", "gzip")).toBe("gzip: // by gzip");
  expect(await form("/compressed.js", "br;q=0, identity")).toBe("null: // plain");
  expect(await form("/index.html", "gzip, br")).toBe("null: <!doctype html><title>x</title>");
});

test("an unknown token opens none", async () => {
  const response = await logIn("sf_other");
  expect(response.status).toBe(401);
  expect(response.headers.get("set-cookie")).toBeNull();
});

test("a call without a session is refused by the services' own middleware", async () => {
  const body = await (await call(NODES, CONSOLE)).text();
  expect(body).toContain(`grpc-status: 16\r\ngrpc-message: ${encodeURIComponent("a token is needed: größer")}`);
});

test("a cookie alone is not enough: requests of other pages are refused", async () => {
  const cookie = cookieOf(await logIn());
  expect((await call(NODES, { cookie })).status).toBe(403);
  expect((await call(NODES, { cookie, ...CONSOLE, origin: "http://evil.example" })).status).toBe(403);
  expect((await call(NODES, { cookie, ...CONSOLE, "sec-fetch-site": "same-site" })).status).toBe(403);
  expect((await call(NODES, { cookie, ...CONSOLE, origin: server.url })).status).toBe(200);
});

test("logging out ends the session", async () => {
  const cookie = cookieOf(await logIn());
  await fetch(`${server.url}/session`, { method: "DELETE", headers: { cookie, ...CONSOLE } });
  expect(await (await call(NODES, { cookie, ...CONSOLE })).text()).toContain("grpc-status: 16");
});

test("a stream is sent as it comes, and ends when its reader goes", async () => {
  const abort = new AbortController();
  const path = "/slimfast.v1.ClusterService/WatchResources";
  const response = await call(path, { authorization: `Bearer ${TOKEN}` }, abort.signal);
  const first = await response.body?.getReader().read();
  expect(first?.value?.[0]).toBe(0);
  abort.abort();
});

test("malformed bodies and other content types are refused", async () => {
  const headers = { authorization: `Bearer ${TOKEN}`, "content-type": "application/grpc-web+proto" };
  const response = await fetch(server.url + NODES, { method: "POST", headers, body: "xx" });
  expect(await response.text()).toContain("grpc-status: 3");
  expect((await call(NODES, { "content-type": "text/plain", authorization: `Bearer ${TOKEN}` })).status).toBe(415);
});

test("every view is the one page, under a policy that allows nothing inline or from elsewhere", async () => {
  for (const path of ["/", "/connections?node=a", "/%2e%2e/%2e%2e/etc/passwd"]) {
    const response = await fetch(server.url + path);
    expect(await response.text()).toContain("<!doctype html>");
    const policy = response.headers.get("content-security-policy") ?? "";
    expect(policy).toContain("default-src 'none'");
    expect(policy).not.toContain("unsafe");
  }
  expect((await fetch(`${server.url}/assets/none.js`)).status).toBe(404);
});

test("without TLS only loopback addresses are listened on", async () => {
  const registry = { services: [], middleware: [] };
  const log = pino({ enabled: false });
  await expect(startWebServer({ listen: "0.0.0.0:0", registry, log })).rejects.toThrow(/loopback/);
});

test("takes the first address that is free", async () => {
  const options = {
    registry: { services: [], middleware: [] },
    log: pino({ enabled: false }),
    consoleDirectory: folder,
  };
  const taken = new URL(server.url).host;
  const second = await startWebServer({ ...options, listen: `${taken},127.0.0.1:0` });
  expect(new URL(second.url).host).not.toBe(taken);
  await second.close();
  await expect(startWebServer({ ...options, listen: taken })).rejects.toMatchObject({ code: "address_in_use" });
});
