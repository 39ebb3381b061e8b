/** One trace over three programs: a command line's call, this agent, and a real controller in a process of its own. */
import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { createRequire } from "node:module";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { connectController } from "@slimfast/client";
import { startTracing } from "@slimfast/telemetry";
import { type Span, spansOf } from "@slimfast/telemetry/testing";
import { afterEach, expect, it } from "vitest";
import { attachment, TestBed } from "./testing/agent.js";
import { eventually } from "./testing/eventually.js";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).toReversed()) await cleanup();
});

/** An OTLP receiver (HTTP, JSON) on loopback. */
async function startReceiver(spans: Span[]): Promise<string> {
  const server: Server = createServer((request, response) => {
    const chunks: Buffer[] = [];
    request.on("data", (chunk: Buffer) => chunks.push(chunk));
    request.on("end", () => {
      expect(request.url).toBe("/v1/traces");
      spans.push(...spansOf(Buffer.concat(chunks).toString()));
      response.writeHead(200, { "content-type": "application/json" }).end("{}");
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  cleanups.push(() => {
    server.closeAllConnections();
    server.close();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** The controller's program, which has no API of its own for other projects. */
async function startControllerProcess(directory: string, endpoint: string): Promise<string> {
  const main = join(createRequire(import.meta.url).resolve("@slimfast/controller"), "../../bundle/main.js");
  const listen = `unix:${directory}/real-controller.sock`;
  const child: ChildProcess = spawn(
    process.execPath,
    [main, "--listen", listen, "--state-dir", join(directory, "state"), "--log-level", "silent"],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } },
  );
  cleanups.push(async () => {
    if (child.exitCode === null && child.kill("SIGTERM")) await once(child, "exit");
  });
  if (!child.stdout) throw new Error("the controller has no output");
  for await (const line of createInterface({ input: child.stdout })) if (line.includes('"ready":true')) return listen;
  throw new Error("the controller has ended");
}

it("follows CreateEndpoint from the command line through the agent to the controller", {
  timeout: 60_000,
}, async () => {
  const spans: Span[] = [];
  const endpoint = await startReceiver(spans);
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = endpoint;
  cleanups.push(() => delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT);
  // One SDK per process: here it stands for both the command line and the agent.
  const tracing = await startTracing({ service: "cli-and-agent", version: "1.2.3" });
  cleanups.push(() => tracing.stop());
  const bed = await TestBed.create(false);
  cleanups.push(() => bed.remove());
  const controllerAddress = await startControllerProcess(bed.directory, endpoint);
  const controller = connectController({ address: controllerAddress });
  cleanups.push(() => controller.close());
  await controller.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  await bed.startAgent({}, { controllerAddresses: [controllerAddress] });

  await tracing.run("slimfast run", () => bed.connect().local.attachEndpoint(attachment("web")));

  const find = (name: string, service: string, parent: Span | undefined) =>
    spans.find(
      (span) => span.name === name && span.service === service && (!parent || span.parentSpanId === parent.spanId),
    );
  await eventually(() =>
    expect(find("slimfast.v1.AgentService/CreateEndpoint", "slimfast-controller", undefined)).toBeDefined(),
  );
  await eventually(() => expect(find("slimfast run", "cli-and-agent", undefined)).toBeDefined());
  const root = find("slimfast run", "cli-and-agent", undefined);
  const attach = find("slimfast.v1.LocalService/AttachEndpoint", "cli-and-agent", root);
  const attachServed = find("slimfast.v1.LocalService/AttachEndpoint", "cli-and-agent", attach);
  const create = find("slimfast.v1.AgentService/CreateEndpoint", "cli-and-agent", attachServed);
  const created = find("slimfast.v1.AgentService/CreateEndpoint", "slimfast-controller", create);
  const path = [root, attach, attachServed, create, created];
  expect(path.map((span) => span?.traceId)).toEqual(path.map(() => root?.traceId));
  expect(root?.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(root?.parentSpanId ?? "").toBe("");
});

it("costs nothing and loads nothing where it is not asked for", async () => {
  const script = `
    import { startTracing } from "@slimfast/telemetry";
    const tracing = await startTracing({ service: "x", version: "1", env: {} });
    console.log(await tracing.run("x", async () => 7));
    await tracing.stop();
    console.log(process.getActiveResourcesInfo().filter((name) => name === "Timeout").length);
    console.log(Object.keys(globalThis[Symbol.for("opentelemetry.js.api.1")] ?? {}).join());`;
  const child = spawn(process.execPath, ["--input-type=module", "-e", script], {
    cwd: new URL("..", import.meta.url),
    stdio: ["ignore", "pipe", "inherit"],
  });
  let output = "";
  child.stdout.on("data", (chunk) => {
    output += chunk;
  });
  await once(child, "close");
  expect(output).toBe("7\n0\n\n");
});
