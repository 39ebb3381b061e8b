/**
 * One run of the benchmark: a controller, its agents on real streams, and a load, in processes of their own.
 *
 * The agents connect at once, as after a restart of the controller; then changes go on at a fixed rate, first alone, then
 * while further nodes join. All processes share the machine: what the generators take of it is part of the result.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { connectController } from "@slimfast/client";
import { AuthorityState, Role } from "@slimfast/proto";
import { CliError } from "../../exit-codes.js";
import type { Step } from "../../progress.js";
import { AgentsLoad } from "./agents-load.js";
import { monotonicMs } from "./clock.js";
import { type ControllerMemory, ControllerProcess } from "./controller-process.js";
import type { Joining } from "./enrollment.js";
import { LoadProcess } from "./load-process.js";
import type { Changes, Usage } from "./messages.js";
import { type PropagationReport, propagation, type Times, times } from "./propagation.js";
import { agentsOfNetworks, type ClusterShape, type Load } from "./shape.js";

/** Pause between two joins. */
const JOIN_PAUSE_MS = 500;
/** The load runs for so long before it counts. */
const WARM_UP_MS = 2_000;
/** What is under way when the load stops arrives within this time, or counts as missing. */
const SETTLE_MS = 1_000;

export interface ControlReport {
  readonly populateSeconds: number;
  /** All agents connect at the same moment: until the first and until the last has its full state. */
  readonly connect: { readonly firstMs: number; readonly allMs: number };
  /** Changes alone. */
  readonly steady: PropagationReport;
  /** Changes while nodes join; null without joins. */
  readonly joining: PropagationReport | null;
  /** From the asking for a new node's certificate until it has all that it needs; null without joins. */
  readonly join: (Times & { readonly resources: number }) | null;
  readonly controller: ControllerMemory & { readonly cpuShare: number };
  /** Processes that were the agents. */
  readonly agentProcesses: number;
  /** Of the steady part: shares of one CPU. */
  readonly generators: { readonly agents: GeneratorUse; readonly changes: GeneratorUse };
  /** What did not work as it should: empty, or the figures mean nothing. */
  readonly failures: readonly string[];
}

export interface GeneratorUse {
  readonly cpuShare: number;
  /** How late its event loop was, the latest of several: the agents' part of it is in the times of propagation. */
  readonly loopDelayP99Ms: number;
  readonly residentMib: number;
}

interface Parts {
  readonly controller: ControllerProcess;
  readonly agents: AgentsLoad;
  readonly changes: LoadProcess;
}

interface Found {
  populateSeconds?: number;
  connect?: { firstMs: number; allMs: number };
  steadyFromMs?: number;
  joiningFromMs?: number;
  untilMs?: number;
  use?: { agents: GeneratorUse; changes: GeneratorUse; controllerShare: number };
  joins: number[];
  resources: number;
  changes?: Changes;
  memory?: ControllerMemory;
  receipts?: Float64Array;
  wrong: readonly string[];
}

export class ControlBenchmark {
  readonly #shape: ClusterShape;
  readonly #load: Load;
  readonly #store: string | undefined;
  readonly #signal: AbortSignal;
  readonly #found: Found = { joins: [], resources: 0, wrong: [] };
  #parts: Parts | undefined;

  constructor(shape: ClusterShape, load: Load, store: string | undefined, signal: AbortSignal) {
    this.#shape = shape;
    this.#load = load;
    this.#store = store;
    this.#signal = signal;
  }

  get #running(): Parts {
    if (!this.#parts) throw new CliError("failed", "the benchmark's controller is not running");
    return this.#parts;
  }

  steps(): Step[] {
    const { agents, networks, endpoints } = this.#shape;
    const { seconds, joins, changesPerSecond } = this.#load;
    const steps: Step[] = [
      { title: "starting a controller", run: () => this.#start() },
      { title: `enrolling ${agents} agents`, run: (note) => this.#enroll(note) },
      {
        title: `creating ${networks} networks, ${agents} nodes and ${endpoints} endpoints`,
        run: (note) => this.#populate(note),
      },
      { title: `connecting ${agents} agents`, run: (note) => this.#connect(note) },
      { title: `${changesPerSecond} changes/s for ${seconds} s`, run: () => this.#steady() },
    ];
    if (joins > 0) {
      steps.push({ title: `${joins} nodes join while changes go on`, run: (note) => this.#join(note) });
    }
    steps.push({ title: "collecting what the agents have heard", run: () => this.#collect() });
    return steps;
  }

  async #start(): Promise<void> {
    const controller = await ControllerProcess.start(this.#store);
    const agents = new AgentsLoad(this.#load.generators, this.#shape, this.#signal);
    this.#parts = { controller, agents, changes: new LoadProcess("changes") };
  }

  async #enroll(note: (text: string) => void): Promise<void> {
    const { controller, agents } = this.#running;
    const joining = await openToJoin(controller);
    await agents.enroll(joining, (done) => note(`${done}`));
  }

  async #populate(note: (text: string) => void): Promise<void> {
    const { controller, changes } = this.#running;
    const startMs = monotonicMs();
    const command = { kind: "populate", listen: controller.listen, shape: this.#shape } as const;
    await changes.ask(command, "done", this.#signal, (done) => note(`${done}`));
    this.#found.populateSeconds = (monotonicMs() - startMs) / 1_000;
  }

  async #connect(note: (text: string) => void): Promise<void> {
    const { agents } = this.#running;
    this.#found.connect = await agents.connect((done) => note(`${done} have their state`));
  }

  async #steady(): Promise<void> {
    const { controller, agents, changes } = this.#running;
    const signal = this.#signal;
    const perSecond = this.#load.changesPerSecond;
    await changes.ask({ kind: "change", listen: controller.listen, shape: this.#shape, perSecond }, "done", signal);
    await sleep(WARM_UP_MS, undefined, { signal });
    await agents.usage();
    await changes.usage(signal);
    const cpuBefore = controller.cpuSeconds();
    const fromMs = monotonicMs();
    this.#found.steadyFromMs = fromMs;
    await sleep(this.#load.seconds * 1_000, undefined, { signal });
    const seconds = (monotonicMs() - fromMs) / 1_000;
    const use = ({ cpuSeconds, loopDelayP99Ms, residentMib }: Usage): GeneratorUse => ({
      cpuShare: share(cpuSeconds / seconds),
      loopDelayP99Ms,
      residentMib,
    });
    this.#found.use = {
      agents: use(await agents.usage()),
      changes: use(await changes.usage(signal)),
      controllerShare: share((controller.cpuSeconds() - cpuBefore) / seconds),
    };
    this.#found.joiningFromMs = monotonicMs();
  }

  async #join(note: (text: string) => void): Promise<void> {
    const { agents } = this.#running;
    for (let index = 0; index < this.#load.joins; index += 1) {
      note(`${index} of ${this.#load.joins}`);
      const agent = this.#shape.agents + index;
      const network = index % this.#shape.networks;
      const { elapsedMs, resources } = await agents.join(agent, network);
      this.#found.joins.push(elapsedMs);
      this.#found.resources = Math.max(this.#found.resources, resources);
      await sleep(JOIN_PAUSE_MS, undefined, { signal: this.#signal });
    }
  }

  async #collect(): Promise<void> {
    const { controller, agents, changes } = this.#running;
    this.#found.untilMs = monotonicMs();
    this.#found.changes = (await changes.ask({ kind: "stop" }, "changes", this.#signal)).changes;
    await sleep(SETTLE_MS, undefined, { signal: this.#signal });
    this.#found.memory = controller.memory();
    const { receipts, wrong } = await agents.collect();
    this.#found.receipts = receipts;
    this.#found.wrong = wrong;
  }

  /** @throws CliError if a step is missing. */
  report(): ControlReport {
    const { populateSeconds, connect, steadyFromMs, joiningFromMs, untilMs, use, changes, memory, receipts } =
      this.#found;
    if (!populateSeconds || !connect || !steadyFromMs || !joiningFromMs || !untilMs || !use) throw incomplete();
    if (!changes || !memory || !receipts) throw incomplete();
    const counts = agentsOfNetworks(this.#shape).map(({ length }) => length);
    const agentsOf = (network: number) => counts[network] ?? 0;
    const inWindow = (fromMs: number, toMs: number) =>
      propagation(changes, receipts, agentsOf, { fromMs, untilMs: toMs });
    const steady = inWindow(steadyFromMs, joiningFromMs);
    const { joins, resources, wrong } = this.#found;
    const failures = [...wrong, ...new Set(changes.failures)];
    if (steady.missing > 0) failures.push(`${steady.missing} changes did not reach an agent`);
    return {
      populateSeconds: Math.round(populateSeconds * 10) / 10,
      connect: { firstMs: Math.round(connect.firstMs), allMs: Math.round(connect.allMs) },
      steady,
      joining: joins.length === 0 ? null : inWindow(joiningFromMs, untilMs),
      join: joins.length === 0 ? null : { ...times(joins), resources },
      controller: { ...memory, cpuShare: use.controllerShare },
      agentProcesses: this.#load.generators,
      generators: { agents: use.agents, changes: use.changes },
      failures,
    };
  }

  /** Ends all processes and removes the state. May be called twice. */
  async close(): Promise<void> {
    if (!this.#parts) return;
    const { controller, agents, changes } = this.#parts;
    this.#parts = undefined;
    await Promise.all([agents.end(), changes.end()]);
    await controller.end();
  }
}

/** A join token for any number of nodes, and the authority by which they recognise the controller. */
async function openToJoin({ listen, address }: ControllerProcess): Promise<Joining> {
  const client = connectController({ address: listen });
  try {
    const { secret } = await client.access.createToken({ token: { name: "bench", role: Role.ROLE_JOIN } });
    const { authorities } = await client.access.listAuthorities({});
    const signing = authorities.find(({ state }) => state === AuthorityState.AUTHORITY_STATE_SIGNING);
    if (!signing) throw new CliError("failed", "the controller has no authority");
    return { address, authority: signing.certificate, secret: secret.split(".")[0] ?? "" };
  } finally {
    client.close();
  }
}

function share(value: number): number {
  return Math.round(value * 1_000) / 1_000;
}

function incomplete(): CliError {
  return new CliError("failed", "the benchmark was not run to its end");
}
