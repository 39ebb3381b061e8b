/** What a scrape of a real agent's listener says, checked by promtool, and which addresses it may have. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { attachment, TestBed } from "../testing/agent.js";
import { connectionEvent, connectionState } from "../testing/samples.js";
import { parseMetricsAddress } from "./metrics-server.js";

let bed: TestBed;

beforeEach(async () => {
  bed = await TestBed.create();
});
afterEach(() => bed.remove());

/** An agent with a listener for metrics, and what it says. */
async function scraped(prepare: () => Promise<void> | void = () => {}): Promise<string> {
  const { metricsAddress } = await bed.startAgent({}, { metricsAddress: "127.0.0.1:0" });
  await prepare();
  const response = await fetch(`http://${metricsAddress}/metrics`);
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toContain("text/plain; version=0.0.4");
  return response.text();
}

it("counts connections, verdicts, the kernel's counters and what is attached", async () => {
  const text = await scraped(async () => {
    await bed.connect().local.attachEndpoint(attachment("web"));
    bed.core.usage = { ...bed.core.usage, sockets: 12, listeners: 2 };
    bed.core.setListeners({ vni: 7, id: 1 }, 1);
    const inbound = connectionState({ direction: "inbound", tier: "preload" });
    bed.core.emit(
      [
        connectionEvent(),
        connectionEvent({ kind: "closed" }),
        connectionEvent({ kind: "accepted", connection: inbound }),
        connectionEvent({ kind: "refused", error: "ECONNREFUSED" }),
        connectionEvent({ kind: "refused", error: "EPERM" }),
        { kind: "admissionRefused", reason: "unknown endpoint" },
      ],
      4n,
      [
        { kind: "opened", direction: "outbound", tier: "preload", error: null, count: 3 },
        { kind: "refused", direction: "outbound", tier: "notify", error: "EPERM", count: 5 },
      ],
    );
  });
  expect(text.split("\n")).toEqual(
    expect.arrayContaining([
      'slimfast_agent_connections_total{direction="outbound",tier="notify",result="opened"} 1',
      'slimfast_agent_connections_total{direction="inbound",tier="preload",result="accepted"} 1',
      'slimfast_agent_connections_total{direction="outbound",tier="notify",result="refused"} 7',
      'slimfast_agent_connections_total{direction="outbound",tier="preload",result="opened"} 3',
      'slimfast_agent_connection_setup_seconds_count{tier="notify"} 1',
      'slimfast_agent_connection_setup_seconds_bucket{le="0.00007",tier="notify"} 1',
      'slimfast_agent_connection_setup_seconds_bucket{le="0.00005",tier="notify"} 0',
      'slimfast_agent_policy_verdicts_total{direction="outbound",verdict="denied"} 6',
      'slimfast_agent_policy_verdicts_total{direction="outbound",verdict="allowed"} 4',
      'slimfast_agent_policy_verdicts_total{direction="inbound",verdict="allowed"} 1',
      'slimfast_agent_data_path_events_total{counter="syn_seen"} 3',
      "slimfast_agent_events_dropped_total 4",
      "slimfast_agent_refused_containers_total 1",
      "slimfast_agent_endpoints 1",
      "slimfast_agent_sockets 12",
      "slimfast_agent_listeners 2",
      "slimfast_agent_controller_connected 1",
      'slimfast_agent_info{version="1.2.3"} 1',
    ]),
  );
  expect(Number(/^slimfast_agent_applied_revision (\d+)$/m.exec(text)?.[1])).toBeGreaterThan(0);
});

it("follows the conventions, as promtool sees them", async () => {
  const { stdout, stderr, error } = spawnSync("promtool", ["check", "metrics"], {
    input: await scraped(),
    encoding: "utf8",
  });
  expect(error).toBeUndefined();
  expect(`${stdout}${stderr}`.split("\n").filter((line) => line.includes("slimfast_"))).toEqual([]);
  expect(`${stdout}${stderr}`).not.toContain("error while linting");
});

it("has every metric in the table of docs/observability.md, and no other", async () => {
  const document = readFileSync(new URL("../../../../docs/observability.md", import.meta.url), "utf8");
  const documented = [...document.matchAll(/^\| `(slimfast_agent_\w+)` +\| (\w+) +\|/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  const real = [...(await scraped()).matchAll(/^# TYPE (slimfast_agent_\w+) (\w+)$/gm)].map(
    ([, name, type]) => `${name} ${type}`,
  );
  expect(documented.toSorted()).toEqual(real.toSorted());
});

it("answers nothing else, and nowhere without being asked to", async () => {
  const { metricsAddress } = await bed.startAgent({}, { metricsAddress: "[::1]:0" });
  expect(metricsAddress).toMatch(/^\[::1\]:\d+$/);
  expect((await fetch(`http://${metricsAddress}/`)).status).toBe(404);
  expect((await fetch(`http://${metricsAddress}/metrics`, { method: "POST" })).status).toBe(405);
});

it("does not listen unless it is told where", async () => {
  expect((await bed.startAgent()).metricsAddress).toBeUndefined();
});

it("is for this machine only", () => {
  expect(parseMetricsAddress("127.0.0.2:9100")).toEqual({ host: "127.0.0.2", port: 9100 });
  expect(parseMetricsAddress("[::1]:0")).toEqual({ host: "::1", port: 0 });
  for (const wrong of ["0.0.0.0:1", "10.0.0.1:1", "[::]:1", "127.0.0.1", "127.0.0.1:99999", "::1:1", "host:1", ":1"]) {
    expect(() => parseMetricsAddress(wrong), wrong).toThrow(RangeError);
  }
});
