/** deploy/observability: promtool accepts it, its alerts fire as they should, and every metric that it names exists. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { expect, it } from "vitest";
import { TestController } from "../testing/controller.js";
import { parseMetrics } from "../testing/prometheus.js";

const ROOT = new URL("../../../../", import.meta.url);
const FOLDER = fileURLToPath(new URL("deploy/observability/", ROOT));
const read = (path: string) => readFileSync(new URL(path, ROOT), "utf8");

/** Name and type, as the tables of the document have them. The agent's own test compares its half with the real thing. */
const DOCUMENTED = new Map(
  [...read("docs/observability.md").matchAll(/^\| `(slimfast_\w+)` +\| (\w+) +\|/gm)].map(
    ([, name = "", type = ""]) => [name, type],
  ),
);

function promtool(...args: string[]): string {
  const { status, stdout, stderr, error } = spawnSync("promtool", args, { cwd: FOLDER, encoding: "utf8" });
  if (error) throw new Error("promtool is needed; it is in Debian's package prometheus", { cause: error });
  if (status !== 0) throw new Error(`promtool ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

/** Metrics in an expression, by the names under which they are exported. */
function metricsIn(expression: string): string[] {
  return [...expression.matchAll(/\bslimfast_[a-z_]+\b/g)].map(([name]) => {
    const base = name.replace(/_(bucket|sum|count)$/, "");
    return DOCUMENTED.get(base) === "histogram" ? base : name;
  });
}

function unknownIn(expressions: readonly string[]): string[] {
  expect(expressions.length).toBeGreaterThan(5);
  return expressions.flatMap(metricsIn).filter((name) => !DOCUMENTED.has(name));
}

it("has rules and a configuration that promtool accepts, and alerts that fire when they should", () => {
  expect(promtool("check", "rules", "alerts.yaml")).toContain("SUCCESS");
  expect(promtool("check", "config", "prometheus.yaml")).toContain("SUCCESS");
  expect(promtool("test", "rules", "alerts.test.yaml")).toContain("SUCCESS");
});

it("has alerts on metrics that exist, each with a severity and a description", () => {
  const rules = read("deploy/observability/alerts.yaml");
  expect(unknownIn([...rules.matchAll(/expr: (.*)/g)].map(([, expression = ""]) => expression))).toEqual([]);
  const alerts = rules.match(/- alert:/g)?.length;
  for (const part of [/severity: (page|ticket)/g, /summary: /g, /description: /g]) {
    expect(rules.match(part)).toHaveLength(alerts ?? 0);
  }
});

it("has a dashboard on metrics that exist", () => {
  const dashboard = JSON.parse(read("deploy/observability/grafana-dashboard.json")) as {
    panels: { id: number; title: string; targets?: { expr: string }[] }[];
  };
  const expressions = dashboard.panels.flatMap(({ targets = [] }) => targets.map(({ expr }) => expr));
  expect(unknownIn(expressions)).toEqual([]);
  const ids = dashboard.panels.map(({ id }) => id);
  expect(new Set(ids).size).toBe(ids.length);
  // All of them are shown somewhere.
  const shown = new Set(expressions.flatMap(metricsIn));
  const hidden = [...DOCUMENTED.keys()].filter((name) => !shown.has(name) && !name.endsWith("_info"));
  // Three are for alerts; the kernel's counters are shown as the controllers add them up.
  expect(hidden.toSorted()).toEqual([
    "slimfast_agent_data_path_events_total",
    "slimfast_agent_refused_containers_total",
    "slimfast_agent_unguarded_listeners",
    "slimfast_live_connections_unkept_total",
  ]);
});

it("has every metric of the controller in the table of the document, and no other", async () => {
  const controller = await TestController.start();
  try {
    const families = [...parseMetrics((await controller.metrics()).body).values()];
    const real = families.filter(({ name }) => name.startsWith("slimfast_")).map(({ name, type }) => `${name} ${type}`);
    const documented = [...DOCUMENTED].filter(([name]) => !name.startsWith("slimfast_agent_"));
    expect(documented.map((entry) => entry.join(" ")).toSorted()).toEqual(real.toSorted());
  } finally {
    await controller.remove();
  }
});
