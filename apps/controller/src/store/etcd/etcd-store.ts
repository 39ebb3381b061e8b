/**
 * The store in etcd, for several controllers side by side.
 *
 * A transaction runs on this controller's memory, which follows etcd by a watch, and is undone; what it read and wrote
 * becomes one etcd transaction that is applied only if what it read is still so. Otherwise it runs again. Those that wait
 * at the same time go together. One of more operations than etcd takes at a time goes alone, as transactions inside one:
 * it is whole or not at all, like any other. One that is more than etcd takes in any way is refused.
 *
 * Each batch has a number that is written with it, so that one whose answer was lost is never applied twice, and it can
 * be known whether it was applied.
 */
import { randomUUID } from "node:crypto";
import type { ICompare, IRangeRequest, IRequestOp } from "etcd3";
import { ClusterError, StartupError } from "../../errors.js";
import {
  ETCD_COMMIT_MS,
  ETCD_CONFLICT_ATTEMPTS,
  ETCD_CONFLICT_PAUSE_MS,
  ETCD_CONFLICTS_BEFORE_HOLD,
  ETCD_HOLD_S,
  ETCD_NESTED_OPERATIONS,
  ETCD_RETRY_MS,
  ETCD_TRANSACTION_OPERATIONS,
} from "../../limits.js";
import { CommitLog } from "../commit-log.js";
import { isVolatile } from "../kinds.js";
import { StateReader } from "../reader.js";
import { State } from "../state.js";
import type { Commit, Store, StoreTransaction } from "../store.js";
import { collapse, Transaction, type Write } from "../transaction.js";
import type { EtcdAccess } from "./etcd-access.js";
import { BatchNotes, LAST_BATCH, NOT_HELD, nested, noteWrite, nothingWrittenSince, operations } from "./etcd-batch.js";
import { EtcdClient } from "./etcd-client.js";
import { connectionProblem } from "./etcd-diagnosis.js";
import { EtcdFeed } from "./etcd-feed.js";
import { batchKey, batchNumber, documentKey, HOLD_KEY } from "./etcd-keys.js";
import { BlockNeeded, EtcdNumbers } from "./etcd-numbers.js";
import { EtcdSession } from "./etcd-session.js";

interface Pending {
  readonly change: (tx: StoreTransaction) => unknown;
  readonly resolve: (result: unknown) => void;
  readonly reject: (error: unknown) => void;
  conflicts: number;
}

interface Evaluated {
  readonly pending: Pending;
  readonly result: unknown;
  /** As written, also what was written over in the same transaction: its callers may have it. */
  readonly writes: readonly Write[];
}

interface Batch {
  readonly evaluated: readonly Evaluated[];
  readonly writes: readonly Write[];
  readonly compare: readonly ICompare[];
  /** Whether it is compared with everything: any change of another controller is in its way. */
  readonly isSweeping: boolean;
}

/** A batch was not applied: something it depends on has changed, at this revision or before. */
interface Conflict {
  readonly changed: bigint;
  /** Whether another controller holds all others up. */
  readonly isHeld: boolean;
}

function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** etcd takes one operation for a key: a claim that went from one document to another in a batch has two. */
function lastOfEach(all: readonly IRequestOp[]): IRequestOp[] {
  const byKey = new Map<string, IRequestOp>();
  for (const operation of all) {
    const key = (operation.request_put ?? operation.request_delete_range)?.key;
    byKey.set(String(key), operation);
  }
  return [...byKey.values()];
}

/** What must still be so when the writes are applied. */
function comparisons(notes: BatchNotes, state: State, writes: readonly Write[]) {
  if (writes.length === 0) return { compare: [], isSweeping: false };
  const count = writes.flatMap((write) => operations(write, () => "0")).length;
  const isNested = count > ETCD_TRANSACTION_OPERATIONS;
  const room = isNested ? ETCD_NESTED_OPERATIONS : ETCD_TRANSACTION_OPERATIONS;
  const isSweeping = notes.size > room;
  return { compare: isSweeping ? [nothingWrittenSince(state.revision)] : notes.comparisons(state), isSweeping };
}

/** What etcd and gRPC say of a request beyond `--max-txn-ops` and `--max-request-bytes`. */
const TOO_LARGE = /too many operations|request is too large|larger than max/;

function tooLarge(keys: number, cause: Error): ClusterError {
  return new ClusterError(
    "failed_precondition",
    `the change touches ${keys} keys at a time, which is more than etcd takes in one transaction (${cause.message}): ` +
      "nothing was changed; make it in smaller steps (for example, delete a node's endpoints before the node), or raise " +
      "etcd's --max-request-bytes and --max-txn-ops",
    {},
    cause,
  );
}

function noQuorum(cause: unknown): ClusterError {
  const reason = cause instanceof Error ? cause.message : String(cause);
  return new ClusterError(
    "unavailable",
    `the state cannot be written: etcd is out of reach or has lost its quorum (${reason}); reading goes on, and the ` +
      "change may or may not have been made",
    {},
    cause,
  );
}

class EtcdStore extends StateReader implements Store {
  readonly controllerId: string;
  readonly #client: EtcdClient;
  readonly #feed: EtcdFeed;
  readonly #session: EtcdSession;
  readonly #log: CommitLog;
  readonly #numbers = new EtcdNumbers();
  readonly #blocks = new Map<number, Promise<void>>();
  #queue: Pending[] = [];
  #batch = 0;
  /** Whether all other controllers wait for our next batch, as far as we know. */
  #isHolding = false;
  /** Whether a batch of ours has left its number in etcd. */
  #hasMark = false;
  #running: Promise<void> | undefined;
  #isClosed = false;

  constructor(
    readonly storeId: string,
    parts: {
      controllerId: string;
      client: EtcdClient;
      feed: EtcdFeed;
      session: EtcdSession;
      log: CommitLog;
      state: State;
    },
  ) {
    super(parts.state);
    this.controllerId = parts.controllerId;
    this.#client = parts.client;
    this.#feed = parts.feed;
    this.#session = parts.session;
    this.#log = parts.log;
  }

  transaction<Result>(change: (tx: StoreTransaction) => Result): Promise<Result> {
    if (this.#isClosed) return Promise.reject(new ClusterError("unavailable", "the controller is shutting down"));
    return new Promise((resolve, reject) => {
      this.#queue.push({ change, resolve: resolve as (result: unknown) => void, reject, conflicts: 0 });
      this.#running ??= this.#run();
    });
  }

  async #run(): Promise<void> {
    // Those of one turn of the event loop go together.
    await new Promise((resolve) => setImmediate(resolve));
    while (this.#queue.length > 0) {
      const batch = this.#evaluate();
      if (batch.evaluated.length === 0) continue;
      try {
        await this.#commit(batch);
      } catch (error) {
        for (const { pending } of batch.evaluated) pending.reject(error);
      }
    }
    this.#running = undefined;
  }

  /** Runs as many as fit into one plain etcd transaction, or a single one, and undoes them. */
  #evaluate(): Batch {
    const { state, controllerId } = this;
    const evaluated: Evaluated[] = [];
    const notes = new BatchNotes();
    const revision = state.revision + 1n;
    let auditOrdinal = 0;
    let size = 1;
    while (this.#queue.length > 0) {
      const pending = this.#queue[0] as Pending;
      const own = new BatchNotes();
      const options = { state, revision, numbers: this.#numbers, controllerId, auditOrdinal, notes: own };
      const tx = new Transaction(options);
      try {
        const result = pending.change(tx);
        const writes = collapse(tx.writes);
        for (const write of writes) noteWrite(own, write);
        const count = writes.flatMap((write) => operations(write, () => "0")).length;
        size += Math.max(count, own.size);
        if (size > ETCD_TRANSACTION_OPERATIONS && evaluated.length > 0) {
          state.undo(tx.writes);
          break;
        }
        this.#queue.shift();
        // One that only read is answered from what is known here.
        if (tx.writes.length > 0) notes.add(own);
        auditOrdinal += tx.auditEntries;
        evaluated.push({ pending, result, writes: tx.writes });
      } catch (error) {
        state.undo(tx.writes);
        this.#queue.shift();
        if (error instanceof BlockNeeded) this.#awaitBlock(error.vni, pending);
        else pending.reject(error);
      }
    }
    const writes = collapse(evaluated.flatMap((transaction) => transaction.writes));
    for (const transaction of evaluated.toReversed()) state.undo(transaction.writes);
    return { evaluated, writes, ...comparisons(notes, state, writes) };
  }

  /** Runs the transaction again once this controller has ids for it. */
  #awaitBlock(vni: number, pending: Pending): void {
    let block = this.#blocks.get(vni);
    if (!block) {
      block = this.transaction((tx) => this.#numbers.takeBlock(tx, vni))
        .then((taken) => this.#numbers.giveBlock(vni, taken))
        .finally(() => this.#blocks.delete(vni));
      this.#blocks.set(vni, block);
    }
    block.then(
      () => {
        this.#queue.push(pending);
        this.#running ??= this.#run();
      },
      (error: unknown) => pending.reject(error),
    );
  }

  async #commit(batch: Batch): Promise<void> {
    const { evaluated, writes, compare } = batch;
    let revision = this.state.revision;
    if (writes.length > 0) {
      const lease = await this.#leases(writes);
      const applied = await this.#apply(compare, lastOfEach(writes.flatMap((write) => operations(write, lease))));
      if ("changed" in applied) {
        await this.#conflict(batch, applied);
        return;
      }
      revision = applied.revision;
      await this.#feed.reached(revision);
    }
    for (const { pending, result, writes: own } of evaluated) {
      for (const { after } of own) if (after) (after as { revision: bigint }).revision = revision;
      pending.resolve(result);
    }
  }

  /** Puts the transactions back to where they were, to run once the others' changes are known here. */
  async #conflict({ evaluated, isSweeping }: Batch, { changed, isHeld }: Conflict): Promise<void> {
    const again: Pending[] = [];
    let conflicts = 0;
    for (const { pending } of evaluated) {
      // Whoever holds others up does so for one transaction, or for a few seconds at most.
      if (!isHeld) pending.conflicts += 1;
      conflicts = Math.max(conflicts, pending.conflicts);
      if (pending.conflicts < ETCD_CONFLICT_ATTEMPTS) again.push(pending);
      else pending.reject(new ClusterError("aborted", "what the change depends on kept changing: try again"));
    }
    this.#queue = [...again, ...this.#queue];
    if (isSweeping && conflicts >= ETCD_CONFLICTS_BEFORE_HOLD && !this.#isHolding) await this.#holdOthers();
    await Promise.race([this.#feed.reached(changed), pause(ETCD_RETRY_MS)]);
    if (isHeld) await pause(ETCD_CONFLICT_PAUSE_MS);
    else await pause(Math.random() * Math.min(ETCD_CONFLICT_PAUSE_MS, 2 + conflicts));
  }

  /**
   * A transaction that depends on everything would never be made while others write all the time: all other controllers
   * wait for our next batch, and no longer than the lease of the hold, which nobody prolongs.
   */
  async #holdOthers(): Promise<void> {
    try {
      const { ID: lease } = await this.#client.lease.leaseGrant({ TTL: ETCD_HOLD_S });
      const put = { request_put: { key: HOLD_KEY, value: Buffer.from(this.controllerId), lease } };
      this.#isHolding = (await this.#client.txn({ compare: [NOT_HELD], success: [put], failure: [] })).succeeded;
    } catch {
      // The next attempt goes without.
    }
  }

  /** @returns The revision of the change; where what was compared has changed, the last revision that may have done so. */
  async #apply(compare: readonly ICompare[], all: readonly IRequestOp[]): Promise<{ revision: bigint } | Conflict> {
    this.#batch += 1;
    const key = Buffer.from(batchKey(this.controllerId));
    const number = batchNumber(this.#batch);
    const isNew: ICompare = this.#hasMark
      ? { key, target: "Value", result: "Less", value: number }
      : { key, target: "Create", result: "Equal", create_revision: "0" };
    const ownHold: ICompare = {
      key: HOLD_KEY,
      target: "Value",
      result: "Equal",
      value: Buffer.from(this.controllerId),
    };
    const looks: IRangeRequest[] = [{ key }, { key: HOLD_KEY }, LAST_BATCH];
    const release = this.#isHolding ? [{ request_delete_range: { key: HOLD_KEY } }] : [];
    const request = {
      compare: [...compare, isNew, this.#isHolding ? ownHold : NOT_HELD],
      success: [...nested(all), { request_put: { key, value: number } }, ...release],
      failure: looks.map((request_range) => ({ request_range })),
    };
    const endMs = performance.now() + ETCD_COMMIT_MS;
    for (;;) {
      try {
        const answer = await this.#client.txn(request);
        if (answer.succeeded) {
          this.#hasMark = true;
          this.#isHolding = false;
          return { revision: BigInt(answer.header.revision) };
        }
        const [marker, hold, last] = answer.responses.map(({ response_range }) => response_range?.kvs[0]);
        const holder = hold?.value.toString();
        this.#hasMark = marker !== undefined;
        this.#isHolding = holder === this.controllerId;
        // Ours, of an attempt whose answer was lost?
        if (marker?.value.equals(number)) return { revision: BigInt(marker.mod_revision) };
        return { changed: BigInt(last?.mod_revision ?? 0), isHeld: holder !== undefined && !this.#isHolding };
      } catch (error) {
        if (error instanceof Error && /lease not found/.test(error.message)) {
          await this.#session.renew(this.#session.leaseId).catch(() => {});
          return { changed: 0n, isHeld: false };
        }
        if (error instanceof Error && TOO_LARGE.test(error.message)) throw tooLarge(all.length, error);
        if (performance.now() > endMs || this.#isClosed) throw noQuorum(error);
        await pause(ETCD_RETRY_MS);
      }
    }
  }

  /** Grants the leases that the writes ask for. */
  async #leases(writes: readonly Write[]): Promise<(write: Write) => string> {
    const granted = new Map<string, string>();
    for (const { kind, key, leaseMs } of writes) {
      if (leaseMs === undefined || leaseMs === 0 || isVolatile(kind)) continue;
      try {
        const { ID } = await this.#client.lease.leaseGrant({ TTL: Math.ceil(leaseMs / 1_000) });
        granted.set(documentKey(kind, key), ID);
      } catch (error) {
        throw noQuorum(error);
      }
    }
    return ({ kind, key, leaseMs }) => {
      if (isVolatile(kind)) return this.#session.leaseId;
      const name = documentKey(kind, key);
      if (leaseMs === 0) return "0";
      return granted.get(name) ?? this.#feed.leases.get(name) ?? "0";
    };
  }

  onCommit(listener: (commit: Commit) => void): () => void {
    return this.#log.onCommit(listener);
  }

  commitsAfter(revision: bigint): readonly Commit[] | undefined {
    return this.#log.after(revision, this.state.revision);
  }

  async close(): Promise<void> {
    if (this.#isClosed) return;
    this.#isClosed = true;
    await this.#running;
    await this.#client.kv.deleteRange({ key: Buffer.from(batchKey(this.controllerId)) }).catch(() => {});
    await this.#session.close();
    this.#feed.close();
    this.#client.close();
  }
}

/**
 * Opens the store of an etcd cluster.
 *
 * @param hosts `HOST:PORT` of one or more members.
 * @throws StartupError `state_unusable` if it is out of reach.
 */
export async function openEtcdStore(hosts: readonly string[], access: EtcdAccess = {}): Promise<Store> {
  const client = new EtcdClient(hosts, access);
  const state = new State();
  const log = new CommitLog(0n);
  const feed = new EtcdFeed(client, state, log);
  const controllerId = randomUUID();
  try {
    const storeId = await client.storeId(randomUUID());
    const session = await EtcdSession.open(client);
    await feed.open();
    return new EtcdStore(storeId, { controllerId, client, feed, session, log, state });
  } catch (error) {
    feed.close();
    client.close();
    const said = error instanceof Error ? error.message : String(error);
    const reason = (await connectionProblem(hosts, access)) ?? said;
    throw new StartupError("state_unusable", `etcd at ${hosts.join(", ")} cannot be used: ${reason}`, error);
  }
}
