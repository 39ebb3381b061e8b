/**
 * The open Sync streams of this controller: wakes those that a change is for, and tells who waits for a change when all
 * nodes of a network have acknowledged it, wherever their streams are.
 *
 * Everything here runs between two turns of the event loop, so no lock is needed. A change of a network costs only the
 * streams of the nodes that have endpoints in it.
 */
import type { SyncHello, SyncResponse } from "@slimfast/proto";
import type { Logger } from "pino";
import { ClusterError } from "../errors.js";
import {
  ACK_CHECK_MS,
  ACK_TIMEOUT_MS,
  ADDRESSES_COLLECTED_MS,
  FIRST_STATE_TURN_MS,
  FIRST_STATES_AT_A_TIME,
  STREAMS_PER_TURN,
} from "../limits.js";
import type { Change, Commit, Store } from "../store/store.js";
import { SyncKeys } from "./keys.js";
import { SyncMessages } from "./messages.js";
import { NetworkContents } from "./network-contents.js";
import { NodeAddressBook } from "./node-addresses.js";
import { PeerQuestions } from "./peer-questions.js";
import { NodePresenceKeeper } from "./presence.js";
import { Refusals, syncErrorOf } from "./refusals.js";
import { Subscription } from "./subscription.js";
import { type Turn, Turns } from "./turns.js";

/** One change that one stream has yet to acknowledge. */
interface Waiter {
  readonly revision: bigint;
  readonly settle: (known: boolean) => void;
}

export class SyncStream {
  readonly subscription: Subscription;
  readonly waiters = new Set<Waiter>();
  /** Given up when the node has its first state. */
  readonly #turn: Turn;
  #wake: (() => void) | undefined;
  #ended = false;
  #failure: Error | undefined;
  #isTurn = false;
  /** Since when a response waits for its answer. */
  #unansweredSinceMs: number | undefined;
  /** Everything up to this revision has been answered; up to the other, not all of it was applied. */
  #answered = 0n;
  #refused = 0n;

  constructor(subscription: Subscription, turn: Turn) {
    this.subscription = subscription;
    this.#turn = turn;
    void turn.come.then(() => {
      this.#isTurn = true;
      this.wake();
    });
  }

  /** Ends the stream, with an error or without. Only the first call counts. */
  end(failure?: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    // A stream that is gone is not a connected node: nobody has to wait for it.
    for (const { settle } of this.waiters) settle(true);
    this.waiters.clear();
    this.#turn.end();
    this.wake();
  }

  wake(): void {
    this.#wake?.();
    this.#wake = undefined;
  }

  /** Responses as they become due, until the stream ends. */
  async *responses(): AsyncGenerator<SyncResponse, void, undefined> {
    while (!this.#isTurn && !this.#ended) await this.#sleep();
    while (!this.#ended) {
      const response = this.subscription.next();
      if (response) {
        this.#unansweredSinceMs = performance.now();
        yield response;
        continue;
      }
      if (this.subscription.isUpToDate()) {
        this.#turn.end();
        // The difference may have come to nothing, for example for an endpoint that is already gone again.
        this.settle(undefined, true);
      }
      await this.#sleep();
    }
    if (this.#failure) throw this.#failure;
  }

  #sleep(): Promise<void> {
    return new Promise((resolve) => {
      this.#wake = resolve;
    });
  }

  /** How long a response has been waiting for its answer; 0 if none is. */
  unansweredMs(nowMs: number): number {
    return this.#unansweredSinceMs === undefined ? 0 : nowMs - this.#unansweredSinceMs;
  }

  answered(): void {
    this.#unansweredSinceMs = undefined;
  }

  /** Whether the node knows the revision; undefined if it has not answered yet. */
  knows(revision: bigint): boolean | undefined {
    if (this.#answered < revision && !this.subscription.isUpToDate()) return undefined;
    return revision > this.#refused;
  }

  /** Answers those who wait for a change up to the revision (undefined: for any). */
  settle(revision: bigint | undefined, known: boolean): void {
    if (revision !== undefined) {
      this.#answered = revision;
      if (!known) this.#refused = revision;
    }
    for (const waiter of this.waiters) {
      if (revision !== undefined && waiter.revision > revision) continue;
      this.waiters.delete(waiter);
      waiter.settle(known);
    }
  }
}

export class SyncHub {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #streams = new Map<string, SyncStream>();
  /** Streams of the nodes that need a network. */
  readonly #streamsOfNetwork = new Map<string, Set<SyncStream>>();
  /** Streams of agents that are told of all nodes. */
  readonly #streamsOfAllNodes = new Set<SyncStream>();
  readonly #addresses: NodeAddressBook;
  #addressTimer: NodeJS.Timeout | undefined;
  readonly #keys = new SyncKeys();
  readonly #contents: NetworkContents;
  readonly #messages: SyncMessages;
  readonly #presence: NodePresenceKeeper;
  readonly #questions: PeerQuestions;
  readonly #stopListening: () => void;
  readonly #onAcknowledged: (revision: bigint) => void;
  readonly #refusals: Refusals;
  readonly #firstStates = new Turns(FIRST_STATES_AT_A_TIME, FIRST_STATE_TURN_MS);
  /** Streams that are to be woken, some in each turn of the event loop. */
  readonly #toWake = new Set<SyncStream>();
  readonly #ackCheck: NodeJS.Timeout;
  #closed = false;

  readonly #ackTimeoutMs: number;

  /** @param onAcknowledged Told that a node has acknowledged everything up to the revision, whether it applied it or not. */
  constructor(
    store: Store,
    log: Logger,
    onAcknowledged: (revision: bigint) => void = () => {},
    ackTimeoutMs = ACK_TIMEOUT_MS,
  ) {
    this.#ackTimeoutMs = ackTimeoutMs;
    this.#onAcknowledged = onAcknowledged;
    this.#store = store;
    this.#log = log;
    this.#presence = new NodePresenceKeeper(store, log);
    this.#addresses = new NodeAddressBook(store);
    this.#contents = new NetworkContents(store, this.#keys);
    this.#messages = new SyncMessages((node) => this.isConnected(node));
    this.#questions = new PeerQuestions(store, log, (network, revision, timeoutMs) =>
      this.#waitForStreams(network, revision, timeoutMs),
    );
    this.#refusals = new Refusals(store, log);
    this.#stopListening = store.onCommit((commit) => this.#note(commit));
    this.#ackCheck = setInterval(() => this.#endOverdue(performance.now()), Math.min(ACK_CHECK_MS, ackTimeoutMs));
    this.#ackCheck.unref();
  }

  get streamCount(): number {
    return this.#streams.size;
  }

  /** Whether the node's stream is open, on any controller. */
  isConnected(node: string): boolean {
    return this.#streams.has(node) || this.#presence.isElsewhere(node);
  }

  /** Why the node does not have its present state; empty if it does. */
  syncError(node: string): string {
    return syncErrorOf(this.#store, node);
  }

  #note({ changes }: Commit): void {
    this.#contents.noteChanges(changes);
    const concerned = new Set<SyncStream>();
    let isControllers = false;
    for (const change of changes) {
      for (const stream of this.#streamsFor(change)) {
        try {
          stream.subscription.noteChange(change);
          concerned.add(stream);
        } catch (error) {
          // The change is committed and its caller must not hear of this; the agent gets in step again by reconnecting.
          stream.end(error instanceof Error ? error : new Error(String(error)));
        }
      }
      if (this.#addresses.note(change))
        this.#addressTimer ??= setTimeout(() => this.#tellAddresses(), ADDRESSES_COLLECTED_MS);
      if (change.kind === "presence") this.#notePresence(change.key, change.after?.controller);
      isControllers ||= change.kind === "controller";
    }
    this.#keys.noteChanges(changes);
    if (isControllers) {
      const addresses = this.#controllers();
      for (const stream of this.#streams.values()) {
        stream.subscription.noteControllers(addresses);
        concerned.add(stream);
      }
    }
    this.#wake(concerned);
  }

  #tellAddresses(): void {
    this.#addressTimer = undefined;
    const changes = this.#addresses.take();
    this.#wake(new Set([...this.#streams.values()].filter(({ subscription }) => subscription.noteAddresses(changes))));
  }

  /** A few at once; many by and by, so that what concerns few does not wait for them. */
  #wake(streams: ReadonlySet<SyncStream>): void {
    if (streams.size <= STREAMS_PER_TURN) {
      for (const stream of streams) stream.wake();
      return;
    }
    const isWaking = this.#toWake.size > 0;
    for (const stream of streams) this.#toWake.add(stream);
    if (!isWaking) setImmediate(() => this.#wakeSome());
  }

  #wakeSome(): void {
    let woken = 0;
    for (const stream of this.#toWake) {
      if (woken === STREAMS_PER_TURN) break;
      this.#toWake.delete(stream);
      stream.wake();
      woken += 1;
    }
    if (this.#toWake.size > 0) setImmediate(() => this.#wakeSome());
  }

  /** Ends the streams of agents that do not answer: what they hold is asked for again with their next hello. */
  #endOverdue(nowMs: number): void {
    for (const [node, stream] of this.#streams) {
      if (stream.unansweredMs(nowMs) < this.#ackTimeoutMs) continue;
      const reason = `has not acknowledged changes for ${this.#ackTimeoutMs / 1_000} s`;
      this.#log.warn({ node }, `agent ${reason}`);
      this.#refusals.note(node, reason);
      stream.end(new ClusterError("aborted", `the agent of node ${node} ${reason}: open another stream`));
      // Not by its end alone: one that does not read keeps its call from ending.
      this.closed(stream);
    }
  }

  #streamsFor(change: Change): Iterable<SyncStream> {
    switch (change.kind) {
      case "node":
        return this.#streamsForNode(change.key);
      case "network":
        return this.#streamsOf(change.key);
      case "policy":
        return this.#streamsOf((change.after ?? change.before)?.network ?? "");
      case "reservation": {
        const own = this.#streams.get((change.after ?? change.before)?.node ?? "");
        return own ? [own] : [];
      }
      case "endpoint": {
        const { network = "", node = "" } = change.after ?? change.before ?? {};
        const own = this.#streams.get(node);
        // The node's own stream may not need the network yet.
        return own ? new Set([own, ...this.#streamsOf(network)]) : this.#streamsOf(network);
      }
      default:
        return [];
    }
  }

  #streamsForNode(node: string): Iterable<SyncStream> {
    const own = this.#streams.get(node);
    const networks = this.#store.networksOfNode(node);
    return new Set([
      ...(own ? [own] : []),
      ...this.#streamsOfAllNodes,
      ...networks.flatMap((name) => [...this.#streamsOf(name)]),
    ]);
  }

  #streamsOf(network: string): Iterable<SyncStream> {
    // A copy: a stream may leave the network while it hears of it.
    return [...(this.#streamsOfNetwork.get(network) ?? [])];
  }

  /** The node's agent has gone to another controller before we noticed. */
  #notePresence(node: string, controller: string | undefined): void {
    if (controller === undefined || controller === this.#store.controllerId) return;
    const stream = this.#streams.get(node);
    if (!stream || this.#presence.isClaiming(node)) return;
    this.#presence.lost(node);
    stream.end(new ClusterError("aborted", `node ${node} has opened another Sync stream, at another controller`));
  }

  /** Where agents can reach the controllers, this one first. */
  #controllers(): readonly string[] {
    const members = this.#store.list("controller", { limit: -1 });
    const isOwn = ({ id }: { id: string }) => id === this.#store.controllerId;
    const inOrder = [...members.filter(isOwn), ...members.filter((member) => !isOwn(member))];
    return inOrder.flatMap(({ addresses }) => addresses);
  }

  /**
   * Opens the stream of a registered node. A stream that the node still had is ended: its agent has restarted, or lost
   * the connection before we did.
   */
  open(hello: Pick<SyncHello, "node" | "known" | "storeId" | "readsNodeAddresses">): SyncStream {
    const { node, known, storeId } = hello;
    if (this.#closed) throw new ClusterError("unavailable", "the controller is shutting down");
    const needed = new Set<string>();
    let opened: SyncStream | undefined;
    const subscription = new Subscription({
      node,
      known,
      knownStoreId: storeId,
      store: this.#store,
      storeId: this.#store.storeId,
      keys: this.#keys,
      contents: this.#contents,
      messages: this.#messages,
      allAddresses: hello.readsNodeAddresses ? () => this.#addresses.all() : undefined,
      onNetwork: (network, isNeeded) => {
        if (opened) this.#index(opened, network, isNeeded);
        else needed.add(network);
      },
    });
    const stream = new SyncStream(subscription, this.#firstStates.take());
    opened = stream;
    for (const network of needed) this.#index(stream, network, true);
    if (!subscription.readsAddresses) this.#streamsOfAllNodes.add(stream);
    subscription.noteControllers(this.#controllers());
    const former = this.#streams.get(node);
    this.#streams.set(node, stream);
    if (former) {
      this.#unindex(former);
      former.end(new ClusterError("aborted", `node ${node} has opened another Sync stream`));
    }
    this.#presence.claim(node);
    this.#log.info({ node, known: known.length }, "agent connected");
    return stream;
  }

  #index(stream: SyncStream, network: string, isNeeded: boolean): void {
    const streams = this.#streamsOfNetwork.get(network) ?? new Set();
    if (isNeeded) streams.add(stream);
    else streams.delete(stream);
    if (streams.size > 0) this.#streamsOfNetwork.set(network, streams);
    else this.#streamsOfNetwork.delete(network);
  }

  #unindex(stream: SyncStream): void {
    this.#streamsOfAllNodes.delete(stream);
    for (const network of stream.subscription.networks) this.#index(stream, network, false);
  }

  /** To be called once the stream is over, whatever ended it. */
  closed(stream: SyncStream): void {
    stream.end();
    const { node } = stream.subscription;
    if (this.#streams.get(node) !== stream) return;
    this.#unindex(stream);
    this.#streams.delete(node);
    this.#presence.release(node);
    this.#log.info({ node }, "agent disconnected");
  }

  acknowledge(stream: SyncStream, nonce: bigint, error: string): void {
    const { revision, isApplied } = stream.subscription.acknowledge(nonce, error);
    stream.answered();
    this.#onAcknowledged(revision);
    const { node } = stream.subscription;
    if (error === "" && stream.subscription.isInStep) this.#refusals.clear(node);
    if (error !== "") {
      this.#refusals.note(node, error);
      this.#log.warn(
        { node, nonce: String(nonce), revision: String(revision), reason: error },
        "agent refused changes",
      );
    }
    stream.settle(revision, isApplied);
    stream.wake();
  }

  /**
   * Waits until the connected nodes of the network have acknowledged the revision, at whichever controller they are.
   *
   * @returns Whether all of them have applied it within the time.
   */
  async waitForNetwork(network: string, revision: bigint, timeoutMs: number): Promise<boolean> {
    const others = this.#presence.otherHolders(network);
    const here = this.#waitForStreams(network, revision, timeoutMs);
    if (others.length === 0) return await here;
    const answers = await Promise.all([here, this.#questions.ask(others, network, revision, timeoutMs)]);
    return answers.every(Boolean);
  }

  async #waitForStreams(network: string, revision: bigint, timeoutMs: number): Promise<boolean> {
    const answers: Promise<boolean>[] = [];
    const waiting: { stream: SyncStream; waiter: Waiter }[] = [];
    for (const stream of this.#streamsOf(network)) {
      const known = stream.knows(revision);
      if (known !== undefined) {
        answers.push(Promise.resolve(known));
        continue;
      }
      answers.push(
        new Promise((resolve) => {
          const waiter = { revision, settle: resolve };
          stream.waiters.add(waiter);
          waiting.push({ stream, waiter });
        }),
      );
    }
    let timer: NodeJS.Timeout | undefined;
    const timeout = new Promise<boolean>((resolve) => {
      timer = setTimeout(() => resolve(false), timeoutMs);
    });
    try {
      return await Promise.race([Promise.all(answers).then((all) => all.every(Boolean)), timeout]);
    } finally {
      clearTimeout(timer);
      for (const { stream, waiter } of waiting) stream.waiters.delete(waiter);
    }
  }

  /** Ends all streams and refuses new ones. */
  close(): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#stopListening();
    clearInterval(this.#ackCheck);
    clearTimeout(this.#addressTimer);
    this.#questions.close();
    for (const stream of this.#streams.values()) {
      stream.end(new ClusterError("unavailable", "the controller is shutting down"));
    }
    this.#presence.close();
  }
}
