/** The metrics of a real controller after real calls: values, names, units and help; its log of calls. */
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { TestAgent } from "../testing/agent.js";
import { opened, ReportingAgent, refused } from "../testing/connections.js";
import { registerNode, TestController } from "../testing/controller.js";
import { eventually } from "../testing/operations.js";
import { conventionViolations, parseMetrics, sampleValue } from "../testing/prometheus.js";

// Only a test that hangs takes this long.
vi.setConfig({ testTimeout: 120_000 });

let controller: TestController;

beforeEach(async () => {
  controller = await TestController.start();
});

afterEach(async () => {
  await controller.remove();
});

async function scrape() {
  const { contentType, body } = await controller.metrics();
  expect(contentType).toContain("text/plain; version=0.0.4");
  return parseMetrics(body);
}

it("follow the conventions", async () => {
  const families = await scrape();
  expect(conventionViolations(families)).toEqual([]);
  expect(families.size).toBeGreaterThan(20);
});

it("count calls, streams, resources, commits and connections", async () => {
  const { client } = controller;
  await client.cluster.createNetwork({ network: { name: "blue", prefix: "10.32.0.0/16" } });
  await registerNode(client, 1);
  await client.cluster.getNetwork({ name: "red" }).catch(() => undefined);
  const agent = new TestAgent(client, "node-1");
  const reporting = new ReportingAgent(client, "node-1");
  reporting.report({ events: [opened(1, 1), refused("EPERM", 1)], dropped: 3n, counters: { dispatched: 5n } });
  reporting.report({ counters: { dispatched: 12n } });
  await client.agent.createEndpoint({ endpoint: { name: "web", network: "blue", node: "node-1" }, waitForPeers: true });
  await eventually("the report has come", async () => sampleValue(await scrape(), "slimfast_live_connections") === 1);
  const families = await scrape();
  const value = (name: string, labels: Record<string, string> = {}) => sampleValue(families, name, labels);
  const service = "slimfast.v1.ClusterService";
  expect(value("slimfast_grpc_server_calls_total", { service, method: "CreateNetwork", code: "OK" })).toBe(1);
  expect(value("slimfast_grpc_server_calls_total", { service, method: "GetNetwork", code: "NOT_FOUND" })).toBe(1);
  expect(value("slimfast_grpc_server_call_duration_seconds_count", { method: "CreateNetwork" })).toBe(1);
  expect(value("slimfast_grpc_server_open_streams", { method: "Sync" })).toBe(1);
  expect(value("slimfast_sync_streams")).toBe(1);
  expect(value("slimfast_report_streams")).toBe(1);
  expect(value("slimfast_store_resources", { kind: "endpoint" })).toBe(1);
  expect(value("slimfast_store_revision")).toBeGreaterThan(0);
  expect(value("slimfast_store_transaction_duration_seconds_count", { result: "committed" })).toBeGreaterThanOrEqual(3);
  expect(value("slimfast_sync_propagation_seconds_count")).toBeGreaterThanOrEqual(1);
  expect(value("slimfast_connection_events_total", { kind: "opened" })).toBe(1);
  expect(value("slimfast_connection_events_total", { kind: "refused" })).toBe(1);
  expect(value("slimfast_connection_events_total", { kind: "denied" })).toBe(1);
  expect(value("slimfast_connection_events_dropped_total", { where: "agent" })).toBe(3);
  expect(value("slimfast_data_path_events_total", { counter: "dispatched" })).toBe(7);
  await reporting.vanish();
  await agent.vanish();
  await eventually("the streams are gone", async () => {
    const after = await scrape();
    return sampleValue(after, "slimfast_sync_streams") === 0 && sampleValue(after, "slimfast_live_connections") === 0;
  });
});

it("have no label whose values callers make up", async () => {
  const { client } = controller;
  for (const name of ["a", "b", "c"]) await client.cluster.getNetwork({ name }).catch(() => undefined);
  const families = await scrape();
  const labels = new Set(
    [...families.values()].flatMap(({ samples }) => samples.flatMap((sample) => Object.keys(sample.labels))),
  );
  for (const label of labels) {
    // Those of ours, of histograms, and of the process' own metrics.
    expect([
      "service",
      "method",
      "code",
      "result",
      "kind",
      "where",
      "counter",
      "version",
      "le",
      "quantile",
      "type",
      "space",
      "major",
      "minor",
      "patch",
    ]).toContain(label);
  }
});

it("come with a line of the log for each call, at debug, with stable fields", async () => {
  const { client } = controller;
  await client.cluster.listNodes({});
  await client.cluster.getNode({ name: "nobody" }).catch(() => undefined);
  const calls = controller.log.filter(({ msg }) => msg === "call");
  expect(calls).toMatchObject([
    {
      level: 20,
      service: "slimfast.v1.ClusterService",
      method: "ListNodes",
      code: "OK",
      durationMs: expect.any(Number),
    },
    { method: "GetNode", code: "NOT_FOUND", actor: "local", peer: expect.any(String) },
  ]);
});
