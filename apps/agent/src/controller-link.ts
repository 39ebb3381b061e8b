/**
 * Keeps this node registered and its share of the cluster's state up to date, for as long as the agent runs.
 *
 * One stream at a time. When it ends, whatever was known stays in force (the node is static), and the next stream's hello
 * says what is known, so that only the difference comes. What the core refuses is answered with a NACK and asked for again
 * on a new stream, after a pause. Endpoints that are attached here and that the cluster has dropped are detached before the
 * core hears of it.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, SlimFastError } from "@slimfast/client";
import type { Core, EndpointKey } from "@slimfast/core";
import {
  AGENT_PROTOCOL_VERSION,
  type EndpointRef,
  type Node,
  type SyncRequest,
  type SyncResponse,
} from "@slimfast/proto";
import type { Logger } from "pino";
import { Backoff } from "./backoff.js";
import { type ClusterState, isEmptyChange } from "./cluster-state.js";
import type { Controllers } from "./controllers.js";
import { messageOf, unavailable } from "./errors.js";
import type { Limits } from "./limits.js";
import type { PolicyEnforcement } from "./policy/enforcement.js";
import { PushQueue } from "./push-queue.js";
import { RevisionGate } from "./waiters.js";

export interface LinkOptions {
  controller: Pick<Controllers, "agent" | "learn" | "addresses">;
  core: Pick<Core, "applyState" | "reservePorts" | "settle">;
  state: ClusterState;
  policies: Pick<PolicyEnforcement, "prepare" | "settle">;
  /** What is announced: name, underlay address, front ports. */
  node: Node;
  /** Endpoints that the node has now: the controller deletes all others of the node. */
  attached: () => EndpointRef[];
  /** Called when the first state of all is known: what a former agent has left can be compared with it. */
  onFirstState: () => Promise<void>;
  /** Called before the core drops these endpoints. */
  onRemoved: (keys: readonly EndpointKey[]) => Promise<void>;
  /** Called when a controller does not accept the node's certificate. */
  onRefused?: (() => void) | undefined;
  limits: Limits;
  log: Logger;
}

/** The core has refused a change; the stream starts anew after a longer pause. */
class Refused extends Error {}

/** Codes with which trying again cannot help: somebody has to change the configuration. */
const FINAL_CODES: ReadonlySet<ErrorCode> = new Set(["already_exists", "invalid_argument", "permission_denied"]);

export class ControllerLink {
  readonly #options: LinkOptions;
  readonly #applied = new RevisionGate();
  readonly #stop = new AbortController();
  #connected = false;
  /** Ends our half of the open stream; undefined if there is none. */
  #endStream: (() => void) | undefined;
  /** The stream that ends now is followed by another at once: it ends because we want it to. */
  #isMoving = false;
  /** Why the last stream ended, for who waits for one in vain. */
  #lastFailure = "";
  #running: Promise<void> | undefined;
  /** What a former agent has left in the core was compared with the state. */
  #isSettled = false;

  constructor(options: LinkOptions) {
    this.#options = options;
  }

  get connected(): boolean {
    return this.#connected;
  }

  /** Names the store that gives out the ids. */
  get storeId(): string {
    return this.#options.state.storeId;
  }

  get appliedRevision(): bigint {
    return this.#applied.revision;
  }

  /**
   * Resolves when everything up to `revision` is in force on this node.
   *
   * @throws the signal's reason; SlimFastError `deadline_exceeded` after `endpointSyncTimeoutMs`.
   */
  applied(revision: bigint, what: string, signal: AbortSignal): Promise<void> {
    return this.#applied.reached(revision, { timeoutMs: this.#options.limits.endpointSyncTimeoutMs, what, signal });
  }

  /**
   * Registers and starts. Resolves when the first state is in force. Fails when {@link stop} is called meanwhile.
   *
   * @throws SlimFastError if the controller refuses the node, or does not answer within `startupTimeoutMs`.
   */
  async start(): Promise<void> {
    const { limits } = this.#options;
    const deadlineMs = performance.now() + limits.startupTimeoutMs;
    const remainingMs = () => Math.max(1, Math.ceil(deadlineMs - performance.now()));
    const backoff = new Backoff(limits.reconnectMinMs, limits.reconnectMaxMs);
    let before: unknown;
    for (;;) {
      try {
        await this.#register(remainingMs());
        break;
      } catch (error) {
        const code = error instanceof SlimFastError ? error.code : undefined;
        const isOver = this.#stop.signal.aborted || performance.now() >= deadlineMs;
        // That the time ran out in the midst of an attempt says less than how the attempt before it ended.
        if (isOver) throw code === "deadline_exceeded" ? (before ?? error) : error;
        if (code !== undefined && FINAL_CODES.has(code)) throw error;
        before = error;
        await this.#pause(Math.min(backoff.nextMs(Math.random()), remainingMs()));
      }
    }
    this.#running = this.#run(true);
    await this.#firstState(remainingMs());
  }

  /**
   * As {@link start}, of a node that goes on in any case with what it has: waits `adoptedStartMs` for the first state, and
   * leaves the rest to the background.
   */
  async resume(): Promise<void> {
    const { limits, log } = this.#options;
    this.#running = this.#run(false);
    try {
      await this.#firstState(limits.adoptedStartMs);
    } catch (error) {
      if (this.#stop.signal.aborted) throw error;
      log.warn({ reason: messageOf(error) }, "the node goes on with what a former agent has left");
    }
  }

  async #firstState(timeoutMs: number): Promise<void> {
    const { signal } = this.#stop;
    try {
      await this.#applied.reached(1n, { timeoutMs, what: "the first state", signal });
    } catch (cause) {
      if (signal.aborted || this.#lastFailure === "") throw cause;
      throw new SlimFastError("deadline_exceeded", `${messageOf(cause)}: ${this.#lastFailure}`, { cause });
    }
  }

  /** Ends the stream. Everything stays in force. May be called twice. */
  async stop(): Promise<void> {
    this.#stop.abort(unavailable("the agent is stopping"));
    await this.#running;
  }

  /** Goes over to a new stream of the client that there is now; the difference comes with its first response. */
  reconnect(): void {
    if (!this.#endStream) return;
    this.#isMoving = true;
    this.#endStream();
  }

  async #register(deadline?: number): Promise<void> {
    const { controller, node } = this.#options;
    const { signal } = this.#stop;
    const request = { node, protocolVersion: AGENT_PROTOCOL_VERSION };
    await controller.agent.registerNode(request, deadline === undefined ? { signal } : { signal, deadline });
  }

  async #run(wasRegistered: boolean): Promise<void> {
    const { controller, limits, log } = this.#options;
    const lost = new Backoff(limits.reconnectMinMs, limits.reconnectMaxMs);
    const refused = new Backoff(limits.refusedRetryMinMs, limits.refusedRetryMaxMs);
    let isRegistered = wasRegistered;
    while (!this.#stop.signal.aborted) {
      const startedMs = performance.now();
      let pauses = lost;
      try {
        if (!isRegistered) await this.#register();
        isRegistered = false;
        await this.#stream();
        this.#lastFailure = "the controller ended the stream";
      } catch (error) {
        if (error instanceof Refused) pauses = refused;
        else if (error instanceof SlimFastError && error.code === "unauthenticated") this.#options.onRefused?.();
        this.#lastFailure = messageOf(error);
      }
      const isMoving = this.#isMoving;
      this.#isMoving = false;
      if (isMoving && !this.#stop.signal.aborted) {
        log.debug({ controllers: controller.addresses }, "the stream goes on over another connection");
        continue;
      }
      this.#connected = false;
      if (this.#stop.signal.aborted) return;
      log.warn({ reason: this.#lastFailure }, "the stream to the controller ended");
      if (performance.now() - startedMs >= limits.streamHealthyMs) {
        lost.reset();
        refused.reset();
      }
      await this.#pause(pauses.nextMs(Math.random()));
    }
  }

  /** @throws Refused when the core has refused a change; whatever ends the stream otherwise. */
  async #stream(): Promise<void> {
    const { controller, state, node, attached, limits, log } = this.#options;
    const requests = new PushQueue<SyncRequest>();
    this.#endStream = () => requests.end();
    const hello = {
      node: node.name,
      known: state.known(),
      attached: attached(),
      storeId: state.storeId,
      readsNodeAddresses: true,
    };
    requests.push({ kind: { $case: "hello", value: hello } });
    const cut = new AbortController();
    const onStop = () => cut.abort();
    this.#stop.signal.addEventListener("abort", onStop);
    let cutTimer: NodeJS.Timeout | undefined;
    let isFirst = true;
    let refused: Refused | undefined;
    try {
      for await (const response of controller.agent.sync(requests, { signal: cut.signal })) {
        if (refused) continue;
        this.#connected = true;
        if (isFirst) state.beginStream(response.storeId);
        // Those of an earlier stream are none of this one.
        if (isFirst) response.nodeAddresses ??= { isComplete: true, added: [], removed: [] };
        const error = await this.#apply(response);
        requests.push({ kind: { $case: "ack", value: { nonce: response.nonce, error } } });
        if (error !== "") {
          log.error({ revision: response.revision, reason: error }, "the core refused a change of the cluster's state");
          refused = new Refused(error);
          // Ending our half lets the NACK arrive; the controller then ends the other half.
          requests.end();
          cutTimer = setTimeout(onStop, limits.refusalFlushMs);
        } else if (isFirst) this.#applied.restart(response.revision);
        else this.#applied.advance(response.revision);
        isFirst = false;
        // A new stream of a client that knows them all, when the ack is on its way.
        if (response.controllers.length > 0 && controller.learn(response.controllers)) this.reconnect();
      }
    } catch (error) {
      throw refused ?? error;
    } finally {
      clearTimeout(cutTimer);
      this.#stop.signal.removeEventListener("abort", onStop);
      this.#endStream = undefined;
      requests.end();
    }
    if (refused) throw refused;
  }

  /** Returns why it was refused; empty if it is in force. */
  async #apply(response: SyncResponse): Promise<string> {
    const { core, state, policies, onRemoved } = this.#options;
    try {
      // All of them, whenever one has changed; an older controller never says anything of them.
      if (response.reservedPorts) await core.reservePorts(response.reservedPorts.ranges);
      const { steps, networks } = state.plan(response);
      for (const step of steps) {
        await onRemoved(step.change.removedEndpoints);
        await policies.prepare(step);
        if (!isEmptyChange(step.change)) await core.applyState(step.change);
        step.commit();
      }
      await policies.settle(networks);
      // A revision of the store: it has told everything.
      if (!this.#isSettled && response.revision > 0n) await this.#settle();
      return "";
    } catch (error) {
      return messageOf(error) || "unknown error";
    }
  }

  async #settle(): Promise<void> {
    const { core, onFirstState, log } = this.#options;
    await onFirstState();
    const cut = await core.settle();
    this.#isSettled = true;
    if (cut > 0) log.info({ cut }, "connections of a former agent's time are not allowed any more");
  }

  async #pause(ms: number): Promise<void> {
    await sleep(ms, undefined, { signal: this.#stop.signal }).catch(() => undefined);
  }
}
