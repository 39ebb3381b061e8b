/** All the agents of a run: one process, or several that have a part of them each, and what these say as one. */
import { availableParallelism } from "node:os";
import type { Joining } from "./enrollment.js";
import { LoadProcess } from "./load-process.js";
import type { Usage } from "./messages.js";
import type { ClusterShape, Part } from "./shape.js";

/** Agents for which one process is enough. */
const AGENTS_PER_PROCESS = 1_500;

/** As many processes as the agents need, if there are CPUs for them. */
export function defaultGenerators(agents: number): number {
  return Math.max(1, Math.min(availableParallelism(), Math.ceil(agents / AGENTS_PER_PROCESS)));
}

export interface Receipts {
  /** Pairs of operation and time, of all agents. */
  readonly receipts: Float64Array;
  readonly wrong: readonly string[];
}

export class AgentsLoad {
  readonly #processes: readonly LoadProcess[];
  readonly #shape: ClusterShape;
  readonly #signal: AbortSignal;

  constructor(processes: number, shape: ClusterShape, signal: AbortSignal) {
    const name = (index: number) => (processes === 1 ? "agents" : `agents, process ${index + 1}`);
    this.#processes = Array.from({ length: processes }, (_, index) => new LoadProcess("agents", name(index)));
    this.#shape = shape;
    this.#signal = signal;
  }

  /** @param note Told how many of all have done it. */
  async enroll(joining: Joining, note: (done: number) => void): Promise<void> {
    await this.#each(note, (process, part, progress) =>
      process.ask({ kind: "enroll", joining, shape: this.#shape, part }, "done", this.#signal, progress),
    );
  }

  async connect(note: (done: number) => void): Promise<{ firstMs: number; allMs: number }> {
    const answers = await this.#each(note, (process, part, progress) =>
      process.ask({ kind: "connect", shape: this.#shape, part }, "connected", this.#signal, progress),
    );
    return {
      firstMs: Math.min(...answers.map(({ firstMs }) => firstMs)),
      allMs: Math.max(...answers.map(({ elapsedMs }) => elapsedMs)),
    };
  }

  async join(agent: number, network: number): Promise<{ elapsedMs: number; resources: number }> {
    const process = this.#processes[agent % this.#processes.length];
    if (!process) throw new RangeError("there is no process that could be the agent");
    return process.ask({ kind: "join", shape: this.#shape, agent, network }, "joined", this.#signal);
  }

  async usage(): Promise<Usage> {
    const all = await Promise.all(this.#processes.map((process) => process.usage(this.#signal)));
    const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
    return {
      cpuSeconds: sum(all.map(({ cpuSeconds }) => cpuSeconds)),
      loopDelayP99Ms: Math.max(...all.map(({ loopDelayP99Ms }) => loopDelayP99Ms)),
      residentMib: sum(all.map(({ residentMib }) => residentMib)),
    };
  }

  async collect(): Promise<Receipts> {
    const answers = await this.#each(
      () => undefined,
      (process) => process.ask({ kind: "collect", shape: this.#shape }, "collected", this.#signal),
    );
    const receipts = new Float64Array(answers.reduce((sum, { receipts: own }) => sum + own.length, 0));
    let length = 0;
    for (const { receipts: own } of answers) {
      receipts.set(own, length);
      length += own.length;
    }
    return { receipts, wrong: answers.flatMap(({ wrong }) => wrong) };
  }

  #each<Answer>(
    note: (done: number) => void,
    ask: (process: LoadProcess, part: Part, progress: (done: number) => void) => Promise<Answer>,
  ): Promise<Answer[]> {
    const done = this.#processes.map(() => 0);
    return Promise.all(
      this.#processes.map((process, index) =>
        ask(process, { index, of: this.#processes.length }, (count) => {
          done[index] = count;
          note(done.reduce((sum, one) => sum + one, 0));
        }),
      ),
    );
  }

  async end(): Promise<void> {
    await Promise.all(this.#processes.map((process) => process.end()));
  }
}
