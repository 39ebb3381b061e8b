import { expect, it } from "vitest";
import { compareHoldings } from "./holdings.js";
import type { SetupReport } from "./setup.js";
import { evaluateTargets } from "./targets.js";

const times = (p50Us: number) => ({ p50Us, p99Us: 2 * p50Us, perSecond: 1_000 });
const ratio = (setup: number, requestResponse: number | null = null, bulk: number | null = null) => ({
  setup,
  requestResponse,
  bulk,
});

const setup: SetupReport = {
  setup: { host: times(30), vxlan: times(40), notify: times(51), preload: times(33) },
  requestResponse: null,
  bulk: null,
  ratios: { host: ratio(1), vxlan: ratio(1.333), notify: ratio(1.7), preload: ratio(1.1) },
};

const misses = (measured: Parameters<typeof evaluateTargets>[0]) =>
  evaluateTargets(measured)
    .filter(({ met }) => !met)
    .map(({ name }) => name);

it("a limit itself is met, where the target says at most", () => {
  const results = evaluateTargets({ setup, hooks: null, leaks: null });
  expect(results.map(({ figure, met }) => [figure, met])).toEqual([
    [1.1, true],
    [1.7, true],
    [0.825, true],
  ]);
});

it("as fast as VXLAN is not faster", () => {
  const even = { ...setup, setup: { ...setup.setup, preload: times(40) } };
  expect(misses({ setup: even, hooks: null, leaks: null })).toEqual(["setup p50, preload to VXLAN"]);
});

it("what was measured has targets, what was left out has none", () => {
  const ratios = { ...setup.ratios, preload: ratio(1.1, 1.06, 0.98), notify: ratio(1.7, 1.05, 0.96) };
  const syn = { connectNs: 300, sockopsNs: 400, ingressNs: 400, dispatchNs: 401, totalNs: 1_501 };
  const hooks = { emptyNs: { onPackets: 60, onSockets: 60 }, ingressNonSynNs: 50.4, syn, perConnection: [] };
  const before = { descriptors: 9, sockets: 4, maps: [{ pid: 1, name: "ports", entries: 1 }] };
  const after = { ...before, descriptors: 10, maps: [{ pid: 1, name: "ports", entries: 0 }] };
  const measured = { setup: { ...setup, ratios }, hooks, leaks: compareHoldings(before, after, 100, [7, 8, 9]) };
  expect(misses(measured)).toEqual([
    "round trip p50, preload to host",
    "throughput, notify to host",
    "all hooks, SYN",
    "descriptors left by 100 connections",
  ]);
});
