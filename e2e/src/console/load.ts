/**
 * The tail of connections under load, measured: 100,000 rows on the page, 5,000 events in a second more, and somebody who
 * works with it meanwhile. `npx nx run e2e:console-load` prints the figures; docs/console.md has those of a quiet machine.
 *
 * Controller, bridge and browser are the real ones. Agents cannot make so many events, since they pass over connections
 * beyond 1,000 in a second: what they would report is made here, and reported as they do.
 */
import { join } from "node:path";
import type { Page } from "@playwright/test";
import { type ControllerClient, connectController } from "@slimfast/client";
import { type ConnectionEvent, ConnectionEventKind, Direction, ReportRequest, Tier } from "@slimfast/proto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { until } from "../fixture/until.js";
import { Site } from "./site.js";

const ROWS = 100_000;
const FILL_PER_TICK = 800;
const EVENTS_PER_SECOND = 5_000;
const TICK_MS = 100;
const STEADY_MS = 20_000;
const ENDPOINTS = 40;

let site: Site;
let controller: ControllerClient;

beforeAll(async () => {
  site = await Site.open();
  controller = connectController({ address: `unix:${join(site.cluster.runDir, "controller.sock")}` });
});
afterAll(async () => {
  controller?.close();
  await site?.close();
});

/** An agent that reports what it is told to. */
class Reporter {
  readonly node: string;
  #sequence = 0;
  #wake: (() => void) | undefined;
  readonly #requests: ReportRequest[] = [];
  readonly #end = new AbortController();
  readonly ended: Promise<void>;

  constructor(node: string) {
    this.node = node;
    this.#requests.push(ReportRequest.fromPartial({ node, snapshot: { connections: [] } }));
    this.ended = this.#run().catch((error: unknown) => {
      if (!this.#end.signal.aborted) throw error;
    });
  }

  async #run(): Promise<void> {
    const requests = this.#requests;
    const self = this;
    async function* sent() {
      for (;;) {
        while (requests.length > 0) yield requests.shift() as ReportRequest;
        await new Promise<void>((resolve) => {
          self.#wake = resolve;
        });
      }
    }
    for await (const _ of controller.agent.report(sent(), { signal: this.#end.signal }));
  }

  get waiting(): number {
    return this.#requests.length;
  }

  report(count: number, endpoint?: string): void {
    const events = Array.from({ length: count }, () => this.#event(endpoint));
    this.#requests.push(ReportRequest.fromPartial({ events }));
    this.#wake?.();
  }

  /** One that was refused: each is a row of its own. */
  #event(endpoint: string | undefined): ConnectionEvent {
    this.#sequence += 1;
    const number = this.#sequence;
    return {
      kind: ConnectionEventKind.CONNECTION_EVENT_KIND_REFUSED,
      time: new Date(),
      error: "ECONNREFUSED",
      connection: {
        ...ReportRequest.fromPartial({ updates: [{}] }).updates[0],
        cookie: BigInt(number),
        network: "default",
        endpoint: endpoint ?? `load-${number % ENDPOINTS}`,
        peerEndpoint: `service-${number % 7}`,
        direction: Direction.DIRECTION_OUTBOUND,
        tier: number % 3 === 0 ? Tier.TIER_NOTIFY : Tier.TIER_PRELOAD,
        local: { address: "10.32.1.1", port: 1_024 + (number % 60_000) },
        peer: { address: "10.32.2.1", port: 80 + (number % 5) },
        setupUs: 40 + (number % 100),
      } as ConnectionEvent["connection"],
    };
  }

  async close(): Promise<void> {
    this.#end.abort();
    await this.ended;
  }
}

interface Timing {
  readonly name: string;
  readonly durationMs: number;
}

/** What each press took until the page had shown its effect, as the browser measures it. */
async function timings(page: Page): Promise<Timing[]> {
  return page.evaluate("globalThis.timings.splice(0)") as Promise<Timing[]>;
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)] ?? 0;
}

const rowsOf = async (page: Page): Promise<number> =>
  Number((await page.getByTestId("tail-count").textContent())?.match(/of ([\d,]+)/)?.[1]?.replaceAll(",", "") ?? 0);

it("5,000 events in a second more, with 100,000 rows: each interaction", async () => {
  const { agent } = controller;
  await agent.registerNode({
    node: { name: "load-1", underlayAddress: "192.0.2.1", frontPorts: { first: 7_000, count: 16 } },
  });
  const reporter = new Reporter("load-1");
  const page = await site.pageOf("viewer", "connections");
  await page.getByTestId("stream-state").getByText("live").waitFor();
  await page.evaluate(`
    globalThis.timings = [];
    new PerformanceObserver((list) => {
      for (const { name, duration, interactionId } of list.getEntries())
        if (interactionId > 0) globalThis.timings.push({ name, durationMs: duration });
    }).observe({ type: "event", durationThreshold: 16 });
  `);
  await until(
    async () => {
      if (reporter.waiting < 3) reporter.report(FILL_PER_TICK);
      await page.waitForTimeout(TICK_MS);
      return (await rowsOf(page)) >= ROWS;
    },
    `${ROWS} rows`,
    240_000,
  );
  await timings(page);

  let sent = 0;
  const begun = performance.now();
  const load = setInterval(() => {
    const due = Math.floor(((performance.now() - begun) / 1_000) * EVENTS_PER_SECOND) - sent;
    sent += due;
    reporter.report(due);
  }, TICK_MS);
  const measured: Record<string, Timing[]> = {};
  const act = async (what: string, run: () => Promise<unknown>): Promise<void> => {
    await run();
    // An interaction shorter than the observer's threshold is not told of: it counts as none.
    await page.waitForTimeout(300);
    measured[what] = [...(measured[what] ?? []), ...(await timings(page))];
  };
  const rows = page.getByRole("region", { name: "Connections" }).getByRole("button");
  while (performance.now() - begun < STEADY_MS) {
    await act("type into the filter", () => page.getByLabel("endpoint").pressSequentially("load-7", { delay: 60 }));
    await act("clear it", () => page.getByRole("button", { name: "Clear" }).click());
    await act("pause", () => page.getByRole("button", { name: "Pause" }).click());
    await act("open a connection", () => rows.nth(3).click());
    await act("close it", () => page.keyboard.press("Escape"));
    await act("resume", () => page.getByRole("button", { name: "Resume" }).click());
    await act("group", () => page.getByRole("button", { name: "Group" }).click());
    await act("flat again", () => page.getByRole("button", { name: "Group" }).click());
  }
  clearInterval(load);
  const seconds = (performance.now() - begun) / 1_000;
  const lastSent = performance.now();
  reporter.report(1, "the-last-one");
  await page.getByLabel("endpoint").fill("the-last-one");
  await rows.first().waitFor();
  const lagMs = performance.now() - lastSent;
  const dropped = await page.getByText(/ dropped$/).textContent();

  const durations = Object.values(measured).flatMap((each) => each.map(({ durationMs }) => durationMs));
  const lines = Object.entries(measured).map(([what, each]) => {
    const times = each.map(({ durationMs }) => durationMs);
    return `${what}: ${each.length} events of 16 ms or more, median ${median(times)} ms, longest ${Math.max(0, ...times)} ms`;
  });
  console.info(
    [
      `${Math.round(sent / seconds)} events/s for ${seconds.toFixed(0)} s, ${await rowsOf(page)} rows; ${dropped}; the last event was seen after ${Math.round(lagMs)} ms`,
      ...lines,
      `all: median ${median(durations)} ms, longest ${Math.max(0, ...durations)} ms, ${durations.filter((each) => each >= 100).length} of ${durations.length} took 100 ms or more`,
    ].join("\n"),
  );
  // A page that works, on whatever machine: the figures are above.
  expect(median(durations)).toBeLessThan(1_000);
  await reporter.close();
});
