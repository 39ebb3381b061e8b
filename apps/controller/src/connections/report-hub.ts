/**
 * The open Report streams: one for each node that reports to this controller, with the commands that wait for it.
 *
 * What a node reports goes to the registry; when its stream ends, its live connections are forgotten, since nobody
 * knows any more what becomes of them.
 */
import * as proto from "@slimfast/proto";
import type { Logger } from "pino";
import { ClusterError, notFound } from "../errors.js";
import { MAX_WAITING_COMMANDS } from "./limits.js";
import type { ConnectionRegistry } from "./registry.js";

interface Waiter {
  readonly cookie: bigint;
  readonly settle: (error?: ClusterError) => void;
}

export class ReportStream {
  readonly node: string;
  readonly waiters = new Set<Waiter>();
  #commands: proto.ReportResponse[] = [];
  #wake: (() => void) | undefined;
  #isEnded = false;
  #failure: Error | undefined;

  constructor(node: string) {
    this.node = node;
  }

  /** Ends the stream, with an error or without. Only the first call counts. */
  end(failure?: Error): void {
    if (this.#isEnded) return;
    this.#isEnded = true;
    this.#failure = failure;
    this.#wake?.();
    for (const { settle } of this.waiters) settle(notReporting(this.node));
    this.waiters.clear();
  }

  send(command: proto.ReportResponse): void {
    if (this.#commands.length >= MAX_WAITING_COMMANDS) {
      throw new ClusterError("resource_exhausted", `node ${this.node} has ${MAX_WAITING_COMMANDS} commands waiting`);
    }
    this.#commands.push(command);
    this.#wake?.();
  }

  /** Commands as they are given, until the stream ends. */
  async *commands(): AsyncGenerator<proto.ReportResponse, void, undefined> {
    while (!this.#isEnded) {
      const commands = this.#commands;
      this.#commands = [];
      yield* commands;
      if (this.#isEnded || this.#commands.length > 0) continue;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
    if (this.#failure) throw this.#failure;
  }
}

function notReporting(node: string): ClusterError {
  return new ClusterError("unavailable", `node ${node} is not connected: its connections cannot be reached`, {
    resource: { type: "node", name: node },
  });
}

export class ReportHub {
  readonly #registry: ConnectionRegistry;
  readonly #log: Logger;
  readonly #streams = new Map<string, ReportStream>();
  #isClosed = false;
  #hasWarnedOfUnkept = false;

  constructor(registry: ConnectionRegistry, log: Logger) {
    this.#registry = registry;
    this.#log = log;
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  isReporting(node: string): boolean {
    return this.#streams.has(node);
  }

  /** Opens the stream of a registered node. One that the node still had is ended: its agent has come back. */
  open(node: string): ReportStream {
    if (this.#isClosed) throw shuttingDown();
    const stream = new ReportStream(node);
    const former = this.#streams.get(node);
    this.#streams.set(node, stream);
    if (former) this.#registry.forget(node);
    former?.end(new ClusterError("aborted", `node ${node} has opened another Report stream`));
    this.#log.debug({ node }, "node reports");
    return stream;
  }

  /** To be called once the stream is over, whatever ended it. */
  closed(stream: ReportStream): void {
    stream.end();
    if (!this.isPresent(stream)) return;
    this.#streams.delete(stream.node);
    this.#registry.forget(stream.node);
    this.#log.debug({ node: stream.node }, "node reports no longer");
  }

  /** Whether it is not a former stream, of an agent that has opened another one. */
  isPresent(stream: ReportStream): boolean {
    return this.#streams.get(stream.node) === stream;
  }

  /** @throws ClusterError `invalid_argument` if the report is malformed. */
  take(stream: ReportStream, request: proto.ReportRequest): void {
    // Of a former stream that still had something on the way: the present one has begun with a snapshot.
    if (!this.isPresent(stream)) return;
    this.#registry.report(stream.node, request, Date.now());
    const { dropped } = request;
    if (dropped > 0n) this.#log.warn({ node: stream.node, dropped: String(dropped) }, "connection events were lost");
    if (this.#registry.totals.unkept > 0 && !this.#hasWarnedOfUnkept) {
      this.#hasWarnedOfUnkept = true;
      this.#log.warn({ live: this.#registry.liveCount }, "too many live connections: further ones are not listed");
    }
    for (const { kind, connection } of request.events) {
      if (kind !== proto.ConnectionEventKind.CONNECTION_EVENT_KIND_CLOSED) continue;
      for (const waiter of stream.waiters) if (waiter.cookie === connection?.cookie) waiter.settle();
    }
  }

  /**
   * Cuts a live connection. Resolves when its node has reported it as closed.
   *
   * @throws ClusterError `not_found`, or `unavailable` if the node is not connected or does not confirm in time.
   */
  async cut(node: string, cookie: bigint, timeoutMs: number): Promise<void> {
    const stream = this.#streams.get(node);
    if (!stream) throw notReporting(node);
    if (!this.#registry.node(node)?.has(cookie)) throw notFound("connection", `${node}/${cookie}`);
    let waiter: Waiter | undefined;
    let timer: NodeJS.Timeout | undefined;
    const confirmed = new Promise<void>((resolve, reject) => {
      waiter = { cookie, settle: (error) => (error ? reject(error) : resolve()) };
      stream.waiters.add(waiter);
      const tooLate = `node ${node} did not confirm within ${timeoutMs} ms that it has cut the connection`;
      timer = setTimeout(() => reject(new ClusterError("unavailable", tooLate)), timeoutMs);
    });
    try {
      stream.send({ cutCookie: cookie });
      await confirmed;
    } finally {
      clearTimeout(timer);
      if (waiter) stream.waiters.delete(waiter);
    }
  }

  /** Ends all streams and refuses new ones. */
  close(): void {
    this.#isClosed = true;
    for (const stream of this.#streams.values()) stream.end(shuttingDown());
  }
}

function shuttingDown(): ClusterError {
  return new ClusterError("unavailable", "the controller is shutting down");
}
