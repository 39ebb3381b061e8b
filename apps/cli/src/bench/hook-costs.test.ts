import { expect, it } from "vitest";
import { deriveHookCosts, type HookPasses, medianHookCosts, type StatisticsSnapshot } from "./hook-costs.js";

const CLIENT = 10;
const SERVER = 20;

/** [runs, ns of each without the statistics] by side and program; each run costs `EMPTY_NS` more. */
type Runs = Readonly<Record<string, readonly [number, number]>>;
const EMPTY_NS = 60;

function snapshot(client: Runs, server: Runs, emptyRuns: number): StatisticsSnapshot {
  const of = (pid: number, runs: Runs) =>
    ["sf_connect4", "sf_sockops", "sf_ingress", "sf_dispatch"].map((name) => {
      const [runCount, eachNs] = runs[name] ?? [0, 0];
      return { pid, name, runCount, runTimeNs: runCount * (eachNs + EMPTY_NS) };
    });
  return {
    programs: [...of(CLIENT, client), ...of(SERVER, server)],
    emptyOnPackets: { runCount: emptyRuns, runTimeNs: emptyRuns * EMPTY_NS },
    emptyOnSockets: { runCount: emptyRuns, runTimeNs: emptyRuns * EMPTY_NS },
  };
}

const nothing = snapshot({}, {}, 0);

const passes: HookPasses = {
  roundTrips: { before: nothing, after: snapshot({}, { sf_ingress: [1000, 12] }, 1000) },
  connections: {
    count: 100,
    before: nothing,
    // 4 packets per connection: a SYN of 232 ns and three others of 12 ns, 67 ns on average.
    after: snapshot(
      { sf_connect4: [100, 300], sf_sockops: [900, 50] },
      { sf_ingress: [400, 67], sf_dispatch: [100, 200], sf_sockops: [300, 70] },
      400,
    ),
  },
  syns: { count: 50, before: nothing, after: snapshot({ sf_connect4: [50, 310], sf_sockops: [300, 40] }, {}, 300) },
};

it("subtracts what the statistics cost from every run", () => {
  const costs = deriveHookCosts(passes, { clientPid: CLIENT, serverPid: SERVER });
  expect(costs.emptyNs).toEqual({ onPackets: 60, onSockets: 60 });
  expect(costs.ingressNonSynNs).toBe(12);
});

it("takes a SYN apart from the other packets and calls of its connection", () => {
  const { syn } = deriveHookCosts(passes, { clientPid: CLIENT, serverPid: SERVER });
  expect(syn).toEqual({ connectNs: 310, sockopsNs: 240, ingressNs: 232, dispatchNs: 200, totalNs: 982 });
});

it("lists what ran for every connection, by node", () => {
  const { perConnection } = deriveHookCosts(passes, { clientPid: CLIENT, serverPid: SERVER });
  expect(perConnection.map(({ side, program }) => `${side} ${program}`)).toEqual([
    "client sf_connect4",
    "client sf_sockops",
    "server sf_sockops",
    "server sf_ingress",
    "server sf_dispatch",
  ]);
  expect(perConnection[1]).toEqual({
    side: "client",
    program: "sf_sockops",
    runsPerConnection: 9,
    grossNsPerConnection: 990,
    netNsPerConnection: 450,
  });
});

it("says which program did not run", () => {
  const idle = { before: nothing, after: nothing };
  expect(() => deriveHookCosts({ ...passes, roundTrips: idle }, { clientPid: CLIENT, serverPid: SERVER })).toThrow(
    "sf_ingress did not run",
  );
});

it("says which process lacks a program", () => {
  expect(() => deriveHookCosts(passes, { clientPid: 99, serverPid: SERVER })).toThrow(
    "process 99 has no program sf_connect4",
  );
});

it("takes the median of each figure by itself", () => {
  const costs = deriveHookCosts(passes, { clientPid: CLIENT, serverPid: SERVER });
  const slow = { ...costs, ingressNonSynNs: 90, syn: { ...costs.syn, totalNs: 5_000 }, perConnection: [] };
  const fast = { ...costs, ingressNonSynNs: 3, emptyNs: { onPackets: 50, onSockets: 50 } };
  const median = medianHookCosts([costs, slow, fast]);
  expect([median.ingressNonSynNs, median.syn.totalNs, median.emptyNs.onSockets]).toEqual([12, 982, 60]);
  expect(median.perConnection).toEqual(costs.perConnection);
});
