/**
 * Tells the controller what happens to this node's connections, and carries out its commands to cut one, for as long as
 * the agent runs.
 *
 * A stream begins with all live connections; events, changed values and counters follow. Nothing here waits for a slow
 * controller but its own stream: events queue up to a bound, then the oldest go, are counted, and all live connections
 * are told again. While there is no stream nothing is kept, since the next one begins with what is.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { ConnectionState, Core } from "@slimfast/core";
import { type ConnectionEvent, ReportRequest } from "@slimfast/proto";
import type { Logger } from "pino";
import { Backoff } from "./backoff.js";
import type { Controller } from "./controllers.js";
import type { Converter } from "./convert.js";
import type { Endpoints } from "./endpoints.js";
import { messageOf } from "./errors.js";
import type { Limits } from "./limits.js";
import { liveConnections } from "./live-connections.js";
import { UnguardedNews } from "./unguarded.js";

export interface ReporterOptions {
  controller: Pick<Controller, "agent">;
  core: Pick<Core, "connections" | "counters" | "cutConnection">;
  convert: Pick<Converter, "connection">;
  endpoints: Pick<Endpoints, "list">;
  /** Name of this node. */
  node: string;
  limits: Limits;
  log: Logger;
}

/** What was last told of a live connection. */
type Told = Pick<ConnectionState, "bytesSent" | "bytesReceived" | "rttUs" | "state">;

/** Events that wait for one stream. */
class Outbox {
  #events: ConnectionEvent[] = [];
  #dropped = 0n;
  readonly #max: number;

  constructor(max: number) {
    this.#max = max;
  }

  push(events: readonly ConnectionEvent[]): void {
    for (const event of events) this.#events.push(event);
    const excess = this.#events.length - this.#max;
    if (excess <= 0) return;
    this.#events.splice(0, excess);
    this.#dropped += BigInt(excess);
  }

  /** They were lost before they came here. */
  lose(count: bigint): void {
    this.#dropped += count;
  }

  take(max: number): { events: ConnectionEvent[]; dropped: bigint } {
    const events = this.#events.length <= max ? this.#events : this.#events.splice(0, max);
    if (events === this.#events) this.#events = [];
    const dropped = this.#dropped;
    this.#dropped = 0n;
    return { events, dropped };
  }
}

export class Reporter {
  readonly #options: ReporterOptions;
  readonly #stop = new AbortController();
  /** Of the stream that is open, if one is. */
  #outbox: Outbox | undefined;
  #droppedBefore = 0n;
  #hasUnguardedNews = false;
  #running: Promise<void> | undefined;

  constructor(options: ReporterOptions) {
    this.#options = options;
  }

  /** Whether the controller listens: nothing needs to be converted otherwise. */
  get isReporting(): boolean {
    return this.#outbox !== undefined;
  }

  /** @param droppedBefore - events lost on their way here, since the agent started */
  publish(events: readonly ConnectionEvent[], droppedBefore: bigint): void {
    if (droppedBefore > this.#droppedBefore) {
      this.#outbox?.lose(droppedBefore - this.#droppedBefore);
      this.#droppedBefore = droppedBefore;
    }
    this.#outbox?.push(events);
  }

  /** A process was let in that may use io_uring. */
  noteUnguarded(): void {
    this.#hasUnguardedNews = true;
  }

  /** To be called when the node is registered. */
  start(): void {
    this.#running ??= this.#run();
  }

  /** May be called twice. */
  async stop(): Promise<void> {
    this.#stop.abort();
    await this.#running;
  }

  async #run(): Promise<void> {
    const { limits, log } = this.#options;
    const { signal } = this.#stop;
    const backoff = new Backoff(limits.reconnectMinMs, limits.reconnectMaxMs);
    let said = "";
    while (!signal.aborted) {
      const startedMs = performance.now();
      let reason = "the controller ended the stream";
      try {
        await this.#stream();
      } catch (error) {
        reason = messageOf(error);
      }
      this.#outbox = undefined;
      if (signal.aborted) return;
      if (performance.now() - startedMs >= limits.streamHealthyMs) {
        backoff.reset();
        said = "";
      }
      // While the controller is away the link says so already, again and again.
      if (reason !== said) log.info({ reason }, "connections are not reported for now");
      said = reason;
      await sleep(backoff.nextMs(Math.random()), undefined, { signal }).catch(() => undefined);
    }
  }

  async #stream(): Promise<void> {
    const { controller, core, limits, log } = this.#options;
    const outbox = new Outbox(limits.reportBufferEvents);
    this.#outbox = outbox;
    const end = new AbortController();
    const onStop = () => end.abort();
    this.#stop.signal.addEventListener("abort", onStop);
    try {
      const requests = this.#requests(outbox, end.signal);
      for await (const { cutCookie } of controller.agent.report(requests, { signal: end.signal })) {
        if (cutCookie === 0n) continue;
        core.cutConnection(cutCookie).then(
          (isCut) => log.info({ cookie: String(cutCookie), isCut }, "told to cut a connection"),
          (error) => log.warn({ cookie: String(cutCookie), reason: messageOf(error) }, "cannot cut a connection"),
        );
      }
    } finally {
      this.#stop.signal.removeEventListener("abort", onStop);
      end.abort();
    }
  }

  /** Pulled as fast as the controller reads, and no faster. */
  async *#requests(outbox: Outbox, signal: AbortSignal): AsyncGenerator<ReportRequest, void, undefined> {
    const { core, endpoints, node, limits } = this.#options;
    const told = new Map<bigint, Told>();
    const unguarded = new UnguardedNews(() => endpoints.list());
    const begin = { ...ReportRequest.create(), node, ...(await this.#snapshot(told)) };
    yield { ...begin, counters: await core.counters(), unguarded: await unguarded.next() };
    let nextCountersMs = performance.now() + limits.reportCountersMs;
    let nextValuesMs = performance.now() + limits.reportValuesMs;
    let isLossy = false;
    while (!signal.aborted) {
      await sleep(limits.reportIntervalMs, undefined, { signal }).catch(() => undefined);
      if (signal.aborted) return;
      const nowMs = performance.now();
      const request = { ...ReportRequest.create(), ...outbox.take(limits.reportBatchEvents) };
      if (request.dropped > 0n) isLossy = true;
      if (nowMs >= nextCountersMs) {
        request.counters = await core.counters();
        if (this.#hasUnguardedNews || unguarded.isAnyKnown) {
          this.#hasUnguardedNews = false;
          request.unguarded = await unguarded.next();
        }
        nextCountersMs = nowMs + limits.reportCountersMs;
      }
      if (nowMs >= nextValuesMs) {
        if (isLossy) Object.assign(request, await this.#snapshot(told));
        else request.updates = await this.#updates(told);
        isLossy = false;
        nextValuesMs = performance.now() + limits.reportValuesMs;
      }
      if (!isEmpty(request)) yield request;
    }
  }

  async #snapshot(told: Map<bigint, Told>): Promise<Pick<ReportRequest, "snapshot">> {
    const { core, convert, limits, log } = this.#options;
    const { connections, more } = await liveConnections(core, limits.messageConnections);
    if (more) log.warn({ reported: connections.length }, "more connections than a report can tell of");
    told.clear();
    for (const connection of connections) told.set(connection.cookie, connection);
    return { snapshot: { connections: connections.map((connection) => convert.connection(connection)) } };
  }

  /** Of the connections that a report can tell of, those whose values are not the ones that were told. */
  async #updates(told: Map<bigint, Told>): Promise<ReportRequest["updates"]> {
    const { core, convert, limits } = this.#options;
    const live = await core.connections(limits.messageConnections);
    const present = new Set(live.map(({ cookie }) => cookie));
    for (const cookie of told.keys()) if (!present.has(cookie)) told.delete(cookie);
    const changed = live.filter((connection) => isChanged(told.get(connection.cookie), connection));
    for (const connection of changed) told.set(connection.cookie, connection);
    return changed.map((connection) => convert.connection(connection));
  }
}

function isChanged(told: Told | undefined, now: Told): boolean {
  return (
    told === undefined ||
    told.bytesSent !== now.bytesSent ||
    told.bytesReceived !== now.bytesReceived ||
    told.rttUs !== now.rttUs ||
    told.state !== now.state
  );
}

function isEmpty({ snapshot, events, dropped, counters, updates, unguarded }: ReportRequest): boolean {
  const isQuiet = events.length === 0 && updates.length === 0 && Object.keys(counters).length === 0;
  return isQuiet && snapshot === undefined && unguarded === undefined && dropped === 0n;
}
