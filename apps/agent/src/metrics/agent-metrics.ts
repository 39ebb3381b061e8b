/**
 * The agent's Prometheus metrics. Names follow the convention: base units, `_total` for counters; labels have only the
 * values that code and core define. Counters of the core are read at each scrape. Connections are counted as they happen, all of
 * them; setup times are those of the connections that the core tells of one by one.
 */
import type { AttachedState, Core, EventBatch, PassedOver } from "@slimfast/core";
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";

export interface AgentMetricSources {
  readonly core: Pick<Core, "counters" | "attached">;
  readonly link: { readonly connected: boolean; readonly appliedRevision: bigint };
  readonly endpoints: { readonly count: number };
  readonly version: string;
}

/** From 20 us, which is less than a handshake on one machine takes, to a handshake with a lost SYN. */
const SETUP_SECONDS = [
  0.00002, 0.00003, 0.00004, 0.00005, 0.00007, 0.0001, 0.00015, 0.00025, 0.0005, 0.001, 0.0025, 0.01, 0.1, 1, 3,
];
const MICROSECONDS = 1e6;

type Entries = readonly (readonly [string, bigint])[];

export class AgentMetrics {
  readonly registry = new Registry();
  readonly #connections: Counter<"direction" | "tier" | "result">;
  readonly #setupSeconds: Histogram<"tier">;
  readonly #verdicts: Counter<"direction" | "verdict">;
  readonly #refusedContainers: Counter;
  /** As the core counts them. */
  #dropped = 0n;

  constructor(sources: AgentMetricSources) {
    const { core, link, endpoints, version } = sources;
    const registers = [this.registry];
    // One listing for all that read it in one scrape.
    let listing: Promise<AttachedState[]> | undefined;
    const sum = async (of: (state: AttachedState) => number) => {
      listing ??= core.attached().finally(() => {
        listing = undefined;
      });
      return (await listing).reduce((total, state) => total + of(state), 0);
    };
    collectDefaultMetrics({ register: this.registry });
    this.#connections = new Counter({
      name: "slimfast_agent_connections_total",
      help: "Connections of this node's endpoints that were opened, accepted, refused or closed, by tier.",
      labelNames: ["direction", "tier", "result"],
      registers,
    });
    this.#setupSeconds = new Histogram({
      name: "slimfast_agent_connection_setup_seconds",
      help: "Time that the handshake of outbound connections took, by tier; a sample at high rates.",
      labelNames: ["tier"],
      buckets: SETUP_SECONDS,
      registers,
    });
    this.#verdicts = new Counter({
      name: "slimfast_agent_policy_verdicts_total",
      help: "Connections that policies allowed or denied.",
      labelNames: ["direction", "verdict"],
      registers,
    });
    this.#refusedContainers = new Counter({
      name: "slimfast_agent_refused_containers_total",
      help: "Containers that were refused at the seccomp socket.",
      registers,
    });
    this.#counters(
      "slimfast_agent_data_path_events_total",
      "Kernel counters of the data path since the agent started.",
      "counter",
      async () => Object.entries(await core.counters()),
    );
    this.#counters(
      "slimfast_agent_events_dropped_total",
      "Events of connections that were not told one by one.",
      undefined,
      () => [["", this.#dropped]],
    );
    this.#gauge("slimfast_agent_endpoints", "Endpoints that are attached on this node.", () => endpoints.count);
    this.#gauge("slimfast_agent_seccomp_listeners", "Containers and execs whose sockets this agent supervises.", () =>
      sum(({ seccompListeners }) => seccompListeners),
    );
    this.#gauge(
      "slimfast_agent_unguarded_listeners",
      "Of these, those that may use io_uring, or of which that is not known.",
      () => sum(({ unguardedListeners }) => unguardedListeners),
    );
    this.#gauge("slimfast_agent_dispensers", "Open dispensers of the preload tier.", () =>
      sum(({ dispensers }) => dispensers),
    );
    this.#gauge(
      "slimfast_agent_sockets",
      "TCP sockets that the node's endpoints have, or that are ready for them.",
      () => sum(({ usage }) => usage.sockets),
    );
    this.#gauge("slimfast_agent_listeners", "Listening sockets of the node's endpoints.", () =>
      sum(({ usage }) => usage.listeners),
    );
    this.#gauge(
      "slimfast_agent_controller_connected",
      "1 while the Sync stream to a controller is open, else 0.",
      () => (link.connected ? 1 : 0),
    );
    this.#gauge("slimfast_agent_applied_revision", "Store revision up to which the cluster's state is in force.", () =>
      Number(link.appliedRevision),
    );
    const help = "1, with the agent's version.";
    new Gauge({ name: "slimfast_agent_info", help, labelNames: ["version"], registers }).set({ version }, 1);
  }

  /** Counts what a batch tells of. */
  note({ events, dropped, passedOver }: EventBatch): void {
    this.#dropped = dropped;
    for (const event of events) {
      if (event.kind === "idle" || event.kind === "keeperEnded" || event.kind === "unguarded") continue;
      if (event.kind === "admissionRefused") {
        this.#refusedContainers.inc();
        continue;
      }
      const { direction, tier, setupUs } = event.connection;
      this.#count({ kind: event.kind, direction, tier, error: event.error, count: 1 });
      if (event.kind === "opened" && setupUs > 0) this.#setupSeconds.observe({ tier }, setupUs / MICROSECONDS);
    }
    for (const alike of passedOver) this.#count(alike);
  }

  #count({ kind, direction, tier, error, count }: PassedOver): void {
    this.#connections.inc({ direction, tier, result: kind }, count);
    const isDenied = kind === "refused" && error === "EPERM";
    if (isDenied) this.#verdicts.inc({ direction, verdict: "denied" }, count);
    else if (kind === "opened" || kind === "accepted") this.#verdicts.inc({ direction, verdict: "allowed" }, count);
  }

  #gauge(name: string, help: string, read: () => number | Promise<number>): void {
    new Gauge({
      name,
      help,
      registers: [this.registry],
      async collect() {
        this.set(await read());
      },
    });
  }

  #counters(name: string, help: string, label: string | undefined, read: () => Entries | Promise<Entries>): void {
    new Counter({
      name,
      help,
      labelNames: label === undefined ? [] : [label],
      registers: [this.registry],
      async collect() {
        const entries = await read();
        this.reset();
        for (const [value, number] of entries) this.inc(label === undefined ? {} : { [label]: value }, Number(number));
      },
    });
  }
}
