import { execFile, spawn } from "node:child_process";
import { connect, createServer, type Socket } from "node:net";
import { join } from "node:path";
import { promisify } from "node:util";
import { expect, it } from "vitest";
import { ROOT } from "../../../paths.js";

const PROGRAM = join(ROOT, "tools/bench/grpc-unary.mjs");
const CALLERS = 3;

/** A port of the system's choice, free again. */
async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("no port");
  return address.port;
}

/** Counts the connections that pass through it. */
async function counter(to: number): Promise<{ port: number; connections(): number; close(): void }> {
  let connections = 0;
  const sockets: Socket[] = [];
  const proxy = createServer((inbound) => {
    connections += 1;
    const outbound = connect(to, "127.0.0.1");
    for (const socket of [inbound, outbound]) socket.on("error", () => undefined);
    inbound.pipe(outbound).pipe(inbound);
    sockets.push(inbound, outbound);
  });
  const port = await freePort();
  await new Promise<void>((resolve) => proxy.listen(port, "127.0.0.1", resolve));
  const close = () => {
    for (const socket of sockets) socket.destroy();
    proxy.close();
  };
  return { port, connections: () => connections, close };
}

it("the load makes the connections that it says", { timeout: 60_000 }, async () => {
  const port = await freePort();
  const server = spawn(process.execPath, [PROGRAM, "serve", String(port)], { stdio: "inherit" });
  const through = await counter(port);
  const load = async (...more: string[]) => {
    const args = [PROGRAM, "load", `127.0.0.1:${through.port}`, "0.3", String(CALLERS), ...more];
    const { stdout } = await promisify(execFile)(process.execPath, args);
    return JSON.parse(stdout) as { calls: number; perSecond: number; elapsedSeconds: number; p50Us: number };
  };
  try {
    await expect.poll(() => reachable(port), { timeout: 20_000 }).toBe(true);
    const kept = await load();
    expect(through.connections()).toBe(1);
    expect(kept.calls).toBeGreaterThanOrEqual(CALLERS);
    expect(kept.perSecond).toBeCloseTo(kept.calls / kept.elapsedSeconds, 6);
    const perCall = await load("per-call");
    // Two shared ones, whose first call warms up.
    expect(through.connections()).toBe(perCall.calls + 2);
  } finally {
    through.close();
    server.kill("SIGKILL");
  }
});

function reachable(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => {
      socket.destroy();
      resolve(true);
    }).on("error", () => resolve(false));
  });
}
