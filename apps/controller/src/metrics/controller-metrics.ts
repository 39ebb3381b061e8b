/**
 * The controller's Prometheus metrics. Names follow the convention: base units, `_total` for counters; no label has more
 * values than the code or the API defines. Most are read from where they are kept anyway, at the time of the scrape.
 */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { ConnectionRegistry } from "../connections/registry.js";
import type { ReportHub } from "../connections/report-hub.js";

export interface MetricSources {
  readonly store: { readonly revision: bigint };
  /** How many resources of each kind there are. */
  readonly resourceCounts: () => Readonly<Record<string, number>>;
  readonly syncStreams: () => number;
  readonly registry: ConnectionRegistry;
  readonly reports: Pick<ReportHub, "streamCount">;
  readonly tailDrops: { readonly count: number };
  readonly version: string;
}

export interface Scrape {
  readonly contentType: string;
  readonly body: string;
}

/** From a fast in-memory read to a call that waits for peers. */
const CALL_SECONDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10];
const FAST_SECONDS = [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 0.15, 0.25, 0.5, 1, 2.5];

export class ControllerMetrics {
  readonly registry = new Registry();
  readonly calls: Counter<"service" | "method" | "code">;
  readonly callSeconds: Histogram<"service" | "method">;
  readonly openStreams: Gauge<"service" | "method">;
  readonly accessRefusals: Counter<"code">;
  readonly transactionSeconds: Histogram<"result">;
  readonly propagationSeconds: Histogram;

  constructor() {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.calls = new Counter({
      name: "slimfast_grpc_server_calls_total",
      help: "Calls that ended, by method and gRPC status code.",
      labelNames: ["service", "method", "code"],
      registers,
    });
    this.callSeconds = new Histogram({
      name: "slimfast_grpc_server_call_duration_seconds",
      help: "Time from the beginning to the end of calls that are no streams.",
      labelNames: ["service", "method"],
      buckets: CALL_SECONDS,
      registers,
    });
    this.openStreams = new Gauge({
      name: "slimfast_grpc_server_open_streams",
      help: "Streams that are open now.",
      labelNames: ["service", "method"],
      registers,
    });
    this.accessRefusals = new Counter({
      name: "slimfast_access_refusals_total",
      help: "Calls that were refused for want of a valid credential or of the right.",
      labelNames: ["code"],
      registers,
    });
    this.transactionSeconds = new Histogram({
      name: "slimfast_store_transaction_duration_seconds",
      help: "Time that transactions of the store took, by how they ended: committed or refused.",
      labelNames: ["result"],
      buckets: FAST_SECONDS,
      registers,
    });
    this.propagationSeconds = new Histogram({
      name: "slimfast_sync_propagation_seconds",
      help: "Time from a commit to its acknowledgement by a node that it concerns.",
      buckets: FAST_SECONDS,
      registers,
    });
  }

  /** Adds what is read at each scrape. */
  observe(sources: MetricSources): void {
    const { store, registry, reports, tailDrops } = sources;
    this.#info(sources.version);
    this.#gauge("slimfast_store_revision", "Revision of the last commit that this controller knows.", () =>
      Number(store.revision),
    );
    this.#gauges("slimfast_store_resources", "Resources of the cluster.", "kind", sources.resourceCounts);
    this.#gauge("slimfast_sync_streams", "Nodes whose Sync stream is open at this controller.", sources.syncStreams);
    this.#gauge(
      "slimfast_report_streams",
      "Nodes that report their connections to this controller.",
      () => reports.streamCount,
    );
    this.#gauge(
      "slimfast_live_connections",
      "Live connections of the nodes that report to this controller.",
      () => registry.liveCount,
    );
    this.#counters(
      "slimfast_connection_events_total",
      "Events of connections that nodes reported. Denied ones are among the refused.",
      "kind",
      () => {
        const { opened, closed, refused, denied } = registry.totals;
        return { opened, closed, refused, denied };
      },
    );
    this.#counters(
      "slimfast_connection_events_dropped_total",
      "Events of connections that were lost, by where: on the agents' side, or at a tail that was not read.",
      "where",
      () => ({ agent: registry.totals.dropped, tail: tailDrops.count }),
    );
    this.#counters(
      "slimfast_live_connections_unkept_total",
      "Live connections that were not kept because there were too many.",
      undefined,
      () => ({ "": registry.totals.unkept }),
    );
    this.#counters(
      "slimfast_data_path_events_total",
      "Kernel counters of all nodes that reported to this controller, added up while they did.",
      "counter",
      () => Object.fromEntries([...registry.dataPathCounters].map(([name, value]) => [name, Number(value)])),
    );
  }

  /** What GET /metrics answers. */
  async scrape(): Promise<Scrape> {
    return { contentType: this.registry.contentType, body: await this.registry.metrics() };
  }

  #info(version: string): void {
    const registers = [this.registry];
    const help = "1, with the controller's version.";
    new Gauge({ name: "slimfast_controller_info", help, labelNames: ["version"], registers }).set({ version }, 1);
  }

  #gauge(name: string, help: string, read: () => number): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      collect() {
        this.set(read());
      },
    });
  }

  #gauges(name: string, help: string, label: string, read: () => Readonly<Record<string, number>>): void {
    new Gauge({
      name,
      help,
      labelNames: [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [value, number] of Object.entries(read())) this.set({ [label]: value }, number);
      },
    });
  }

  /** @param label Undefined: one counter, under the empty key. */
  #counters(name: string, help: string, label: string | undefined, read: () => Readonly<Record<string, number>>): void {
    new Counter({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.registry],
      collect() {
        this.reset();
        for (const [value, number] of Object.entries(read())) {
          if (label === undefined) this.inc(number);
          else this.inc({ [label]: value }, number);
        }
      },
    });
  }
}
