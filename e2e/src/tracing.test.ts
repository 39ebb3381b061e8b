/**
 * One trace over three processes as they are shipped: `slimfast run` on the machine, the agent in its node's namespace, and the
 * controller. Each sends to a collector on the loopback of the namespace that it is in.
 */
import { type ChildProcess, spawn } from "node:child_process";
import { createServer } from "node:net";
import { createInterface } from "node:readline";
import { type Span, spansOf } from "@slimfast/telemetry/testing";
import { afterAll, beforeAll, expect, it } from "vitest";
import { Cluster } from "./fixture/cluster.js";
import { until } from "./fixture/until.js";

/** Takes OTLP over HTTP (JSON) on a port of loopback, and prints what it was sent, a line for each request. */
const COLLECTOR = `
require("node:http").createServer((request, response) => {
  const chunks = [];
  request.on("data", (chunk) => chunks.push(chunk));
  request.on("end", () => {
    console.log(Buffer.concat(chunks).toString());
    response.writeHead(200, { "content-type": "application/json" }).end("{}");
  });
}).listen(Number(process.argv[1]), "127.0.0.1", () => console.log("ready"));
`;

const spans: Span[] = [];
const collectors: ChildProcess[] = [];
let cluster: Cluster;

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  const address = server.address();
  await new Promise((resolve) => server.close(resolve));
  if (address === null || typeof address === "string") throw new Error("a TCP listener has a port");
  return address.port;
}

/** Resolves when it listens. */
async function collect(port: number, within: readonly string[]): Promise<void> {
  const [program = "", ...args] = [...within, process.execPath, "-e", COLLECTOR, String(port)];
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"] });
  collectors.push(child);
  await new Promise<void>((resolve) => {
    createInterface({ input: child.stdout }).on("line", (line) => {
      if (line === "ready") resolve();
      else spans.push(...spansOf(line));
    });
  });
}

beforeAll(async () => {
  const port = await freePort();
  process.env.OTEL_EXPORTER_OTLP_ENDPOINT = `http://127.0.0.1:${port}`;
  await collect(port, []);
  cluster = await Cluster.start({ nodes: 1 });
  await collect(port, ["ip", "netns", "exec", cluster.netnsOf("node-1")]);
}, 120_000);

afterAll(async () => {
  delete process.env.OTEL_EXPORTER_OTLP_ENDPOINT;
  await cluster?.stop();
  for (const collector of collectors) collector.kill("SIGKILL");
});

it("slimfast run, the agent and the controller are one trace", async () => {
  await cluster.output({ name: "traced" }, ["true"]);
  const find = (service: string, name: string, parent?: Span) =>
    spans.find(
      (one) => one.service === service && one.name === name && (!parent || one.parentSpanId === parent.spanId),
    );
  const [cli, agent, controller] = ["slimfast-cli", "slimfast-agent", "slimfast-controller"];
  const attachment = "slimfast.v1.LocalService/AttachEndpoint";
  const creation = "slimfast.v1.AgentService/CreateEndpoint";
  const path = await until(() => {
    const root = spans.find(({ service, name }) => service === cli && name === "slimfast run");
    const attach = find(cli, attachment, root);
    const attached = find(agent, attachment, attach);
    const create = find(agent, creation, attached);
    const created = find(controller, creation, create);
    const found = [root, attach, attached, create, created];
    return found.every((span) => span !== undefined) ? found : undefined;
  }, "all spans of the way from the command to the controller");
  const [root, ...others] = path;
  expect(root?.traceId).toMatch(/^[0-9a-f]{32}$/);
  expect(root?.parentSpanId ?? "").toBe("");
  for (const span of others) expect(span?.traceId).toBe(root?.traceId);
  // Names of endpoints are nobody's business who runs a collector.
  expect(JSON.stringify(spans)).not.toContain("traced");
});
