/** The console's server on addresses that are not loopback, and on a socket that somebody else has opened. */
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import { request } from "node:https";
import { type AddressInfo, createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import type { TLSSocket } from "node:tls";
import { fileURLToPath } from "node:url";
import * as proto from "@slimfast/proto";
import { afterEach, expect, it, vi } from "vitest";
import { startController } from "../controller.js";
import { createAuthority } from "../security/x509.js";
import { SecureController } from "../testing/secure-controller.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000 });

const MAIN = fileURLToPath(new URL("../../bundle/main.js", import.meta.url));

let controller: SecureController | undefined;

afterEach(async () => {
  await controller?.remove();
  controller = undefined;
});

interface Page {
  readonly status: number | undefined;
  readonly cookie: string;
  readonly serial: string;
}

/** A call whose server has to have a certificate of this authority for its address. */
function call(url: string, ca: string, options: { method?: string; body?: string } = {}): Promise<Page> {
  const { method = "GET", body } = options;
  return new Promise((resolve, reject) => {
    const headers = { "content-type": "application/json", "x-slimfast-console": "1", origin: new URL(url).origin };
    const sent = request(url, { ca, method, headers, agent: false, servername: "" }, (response) => {
      const serial = (response.socket as TLSSocket).getPeerCertificate().serialNumber;
      response.resume();
      response.on("end", () =>
        resolve({ status: response.statusCode, cookie: String(response.headers["set-cookie"] ?? ""), serial }),
      );
    });
    sent.on("error", reject);
    sent.end(body);
  });
}

it("has TLS wherever it is not on loopback, with the cluster's certificate as it is renewed", async () => {
  controller = await SecureController.start({ http: "0.0.0.0:0", certificateLifetimeMs: 3_000 });
  const { authorities } = await controller.join("node-1");
  const url = (controller.controller.http ?? "").replace("0.0.0.0", "127.0.0.1");
  expect(url).toMatch(/^https:/);
  const first = await call(`${url}/metrics`, authorities);
  expect(first.status).toBe(200);
  const token = await controller.token("view", proto.Role.ROLE_VIEWER);
  const login = await call(`${url}/session`, authorities, { method: "POST", body: JSON.stringify({ token }) });
  expect(login.status).toBe(200);
  expect(login.cookie).toMatch(/^__Host-slimfast-\d+=.*; Secure$/);
  const deadlineMs = performance.now() + 60_000;
  while ((await call(`${url}/metrics`, authorities)).serial === first.serial) {
    expect(performance.now()).toBeLessThan(deadlineMs);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
  await expect(call(url, (await createAuthority(Date.now())).certificate)).rejects.toThrow(
    /self-signed certificate|unable to/,
  );
});

it("stays in the clear on loopback, and is nowhere else without TLS", async () => {
  controller = await SecureController.start({ http: "127.0.0.1:0" });
  expect(controller.controller.http).toMatch(/^http:\/\/127\.0\.0\.1:\d+$/);
  const exposed = startController({
    http: "0.0.0.0:0",
    listen: "127.0.0.1:0",
    stateDirectory: join(controller.directory, "other"),
  });
  await expect(exposed).rejects.toThrow(/--http 0\.0\.0\.0:0 is not a loopback address.*add --tls/);
});

it("listens on a socket that was opened for it, on loopback only", async () => {
  const directory = mkdtempSync(join(tmpdir(), "slimfast-web-fd-"));
  const start = async (host: string) => {
    const socket = createServer().listen(0, host);
    await once(socket, "listening");
    const { fd } = (socket as unknown as { _handle: { fd: number } })._handle;
    const args = ["--listen", `unix:${directory}/x.sock`, "--state-dir", join(directory, "state"), "--http", "fd:3"];
    const child = spawn(process.execPath, [MAIN, ...args], { stdio: ["ignore", "pipe", "pipe", fd] });
    let stderr = "";
    child.stderr?.on("data", (data: Buffer) => {
      stderr += data;
    });
    const closed = once(child, "close");
    const { port } = socket.address() as AddressInfo;
    socket.close();
    return { child, port, closed, stderr: () => stderr };
  };
  try {
    const near = await start("127.0.0.1");
    if (!near.child.stdout) throw new Error("no output");
    const [line] = await once(createInterface(near.child.stdout), "line");
    expect(JSON.parse(String(line))).toMatchObject({ http: `http://127.0.0.1:${near.port}` });
    expect((await fetch(`http://127.0.0.1:${near.port}/metrics`)).status).toBe(200);
    near.child.kill("SIGTERM");
    expect(await near.closed).toEqual([0, null]);
    const far = await start("0.0.0.0");
    expect(await far.closed).toEqual([1, null]);
    expect(far.stderr()).toMatch(/is at 0\.0\.0\.0, which is not a loopback address/);
  } finally {
    rmSync(directory, { recursive: true, force: true });
  }
});
