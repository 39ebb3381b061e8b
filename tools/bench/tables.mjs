#!/usr/bin/env node
/**
 * The tables of docs/performance.md out of a result of `slimfast bench --json FILE`, as Markdown, so that no figure is typed.
 *
 *   node tools/bench/tables.mjs FILE
 *
 * Needs a build (./slimfast build). Nothing is measured.
 */
import { readFileSync } from "node:fs";
import { formatFigure, METRICS } from "../../apps/cli/dist/bench/suite/metrics.js";
import { NETWORKS } from "../../apps/cli/dist/bench/suite/networks/network.js";
import { parseResult } from "../../apps/cli/dist/bench/suite/result.js";
import { NETWORK_LABELS } from "../../apps/cli/dist/bench/suite/suite-table.js";

const [path] = process.argv.slice(2);
if (path === undefined) {
  console.error("usage: node tools/bench/tables.mjs FILE, a result of: slimfast bench --json FILE");
  process.exit(2);
}
const result = parseResult(readFileSync(path, "utf8"), path);
const networks = NETWORKS.filter((name) => result.networks.includes(name));

function table(header, rows) {
  const line = (cells) => `| ${cells.join(" | ")} |`;
  return [line(header), line(header.map(() => "---")), ...rows.map(line)].join("\n");
}

const nameOf = (one) => `${one.scenario}.${one.case}`;
const median = (one, network, key) => one.networks[network]?.[key]?.median;
const figure = (value) => (value === undefined ? "" : formatFigure(value));

/** Each case's own figure, and how far its rounds lay apart where they did most. */
function figures(cases) {
  const rows = cases.map((one) => {
    const { label, unit } = METRICS[one.primary];
    const spreads = networks.flatMap((name) => {
      const summary = one.networks[name]?.[one.primary];
      return summary && summary.median > 0 ? [(100 * summary.mad) / summary.median] : [];
    });
    const figuresOf = networks.map((name) => figure(median(one, name, one.primary)));
    return [`${nameOf(one)}, ${label}, ${unit}`, ...figuresOf, `${Math.max(...spreads).toFixed(1)} %`];
  });
  return table(["case", ...networks.map((name) => NETWORK_LABELS[name]), "largest spread"], rows);
}

/** One kind of figure, of all cases that have it. */
function further(key) {
  const rows = result.cases
    .filter((one) => one.primary !== key && networks.some((name) => median(one, name, key) !== undefined))
    .map((one) => [nameOf(one), ...networks.map((name) => figure(median(one, name, key)))]);
  const { label, unit } = METRICS[key];
  return rows.length === 0
    ? []
    : [`${label}, ${unit}:`, table(["case", ...networks.map((name) => NETWORK_LABELS[name])], rows)];
}

function growth(cases) {
  const percent = (ratio) => (ratio ? `${ratio.value.toFixed(2)} x` : "");
  const rows = cases.map((one) => [
    nameOf(one),
    ...networks.map((name) => figure(median(one, name, one.primary))),
    ...networks.filter((name) => name !== "host").map((name) => percent(one.growth?.[name]?.beyondHost)),
  ]);
  const beyond = networks
    .filter((name) => name !== "host")
    .map((name) => `${NETWORK_LABELS[name]}, beyond the host's, to the smallest`);
  return table(["case", ...networks.map((name) => NETWORK_LABELS[name]), ...beyond], rows);
}

const targets = result.targets.map(({ name, figure: measured, relation, limit, unit, outcome }) => [
  name,
  measured === null ? "" : `${measured.toFixed(2)} ${unit}`,
  `${relation} ${limit} ${unit}`,
  outcome === "missed" ? "**missed**" : outcome,
]);
const [plain, growing] = [
  result.cases.filter(({ size }) => size === undefined),
  result.cases.filter(({ size }) => size !== undefined),
];
const { machine, revision, startedAt, elapsedSeconds, rounds, profile, loadBefore } = result;
console.log(
  [
    `${startedAt}, revision ${revision ?? "unknown"}, profile ${profile}, ${rounds} rounds in ${elapsedSeconds} s, load before ${loadBefore.toFixed(2)}; ${JSON.stringify(machine)}`,
    ...(plain.length > 0 ? [figures(plain)] : []),
    ...["p99Us", "p999Us", "cpuNetworkUs", "cpuMachineUs", "cpuMachineMsPerGib"].flatMap(further),
    ...(growing.length > 0 ? [growth(growing)] : []),
    table(["target", "measured", "limit", ""], targets),
  ].join("\n\n"),
);
