/**
 * Keeps the state in memory in step with etcd: loads it, then follows a watch. When the watch breaks it goes on where it
 * was; when what came meanwhile has been compacted away, everything is read again and the difference is one commit.
 */
import type { IKeyValue, IWatchRequest, IWatchResponse } from "etcd3";
import { ETCD_RETRY_MS } from "../../limits.js";
import type { CommitLog } from "../commit-log.js";
import { commitOf } from "../commit-log.js";
import { type Documents, KINDS, type Kind } from "../kinds.js";
import type { Mutation, State } from "../state.js";
import type { EtcdClient, Snapshot } from "./etcd-client.js";
import { DOCUMENTS, documentKey, rangeEnd, splitDocumentKey } from "./etcd-keys.js";

interface Stream {
  on(event: "data", listener: (response: IWatchResponse) => void): unknown;
  on(event: "error" | "end", listener: (error?: Error) => void): unknown;
  write(request: IWatchRequest): unknown;
  cancel?(): void;
  end(): unknown;
}

/** A document as etcd has it; undefined for one of a kind that this version does not know. */
function documentOf({ key, value, mod_revision }: IKeyValue) {
  const name = splitDocumentKey(key.toString());
  if (!(name.kind in KINDS)) return undefined;
  const content = JSON.parse(value.toString()) as object;
  const kind = name.kind as Kind;
  return { kind, key: name.key, value: { ...content, revision: BigInt(mod_revision) } as Documents[Kind] };
}

export class EtcdFeed {
  readonly #client: EtcdClient;
  readonly #state: State;
  readonly #log: CommitLog;
  /** Leases of documents, by their names in etcd. */
  readonly leases = new Map<string, string>();
  readonly #waiters = new Set<{ readonly revision: bigint; readonly resolve: () => void }>();
  #stream: Stream | undefined;
  #isClosed = false;

  constructor(client: EtcdClient, state: State, log: CommitLog) {
    this.#client = client;
    this.#state = state;
    this.#log = log;
  }

  /** Reads everything into the empty state, and begins to follow. */
  async open(): Promise<void> {
    const snapshot = await this.#client.snapshot();
    for (const kv of snapshot.documents) {
      const document = documentOf(kv);
      if (!document) continue;
      this.#state.load(document.kind, document.value);
      this.#noteLease(kv);
    }
    this.#state.revision = snapshot.revision;
    this.#log.restart(snapshot.revision);
    void this.#follow();
  }

  /** Waits until everything up to the revision is in the state. */
  reached(revision: bigint): Promise<void> {
    if (this.#state.revision >= revision || this.#isClosed) return Promise.resolve();
    return new Promise((resolve) => {
      this.#waiters.add({ revision, resolve });
    });
  }

  #noteLease({ key, lease }: IKeyValue): void {
    if (lease === "0") this.leases.delete(key.toString());
    else this.leases.set(key.toString(), lease);
  }

  async #follow(): Promise<void> {
    while (!this.#isClosed) {
      try {
        if (await this.#watch()) await this.#relist();
        else await this.#client.touch();
      } catch {
        // Out of reach, or the stream was cut: what is known stays known, and the next attempt may be at another member.
      }
      if (!this.#isClosed) await new Promise((resolve) => setTimeout(resolve, ETCD_RETRY_MS).unref());
    }
  }

  /** Follows until the stream ends. @returns Whether what comes next has been compacted away. */
  async #watch(): Promise<boolean> {
    const stream = (await this.#client.watch.watch()) as unknown as Stream;
    this.#stream = stream;
    try {
      return await new Promise<boolean>((resolve, reject) => {
        stream.on("data", (response) => {
          if (response.canceled) resolve(BigInt(response.compact_revision) > 0n);
          else if (response.events.length > 0) this.#take(response);
        });
        stream.on("error", (error) => reject(error ?? new Error("watch failed")));
        stream.on("end", () => reject(new Error("watch ended")));
        const start_revision = String(this.#state.revision + 1n);
        stream.write({
          create_request: { key: Buffer.from(DOCUMENTS), range_end: rangeEnd(DOCUMENTS), start_revision },
        });
      });
    } finally {
      this.#stream = undefined;
      stream.cancel?.();
    }
  }

  /** Events come in the order of revisions, and all of one revision together. */
  #take({ events }: IWatchResponse): void {
    let index = 0;
    while (index < events.length) {
      const revision = events[index]?.kv.mod_revision ?? "0";
      const changes: { kv: IKeyValue; isDeletion: boolean }[] = [];
      for (; events[index]?.kv.mod_revision === revision; index += 1) {
        const event = events[index];
        if (event) changes.push({ kv: event.kv, isDeletion: String(event.type) === "Delete" });
      }
      this.#apply(BigInt(revision), changes);
    }
  }

  #apply(revision: bigint, changes: readonly { kv: IKeyValue; isDeletion: boolean }[]): void {
    if (revision <= this.#state.revision) return;
    // First all that goes: a claim may have moved from one document to another.
    const befores = changes.map(({ kv }) => {
      const { kind, key } = splitDocumentKey(kv.key.toString());
      return kind in KINDS ? this.#state.delete(kind as Kind, key)?.before : undefined;
    });
    const mutations: Mutation[] = [];
    changes.forEach(({ kv, isDeletion }, index) => {
      const { kind, key } = splitDocumentKey(kv.key.toString());
      if (!(kind in KINDS)) return;
      const before = befores[index];
      const after = isDeletion ? undefined : documentOf(kv)?.value;
      if (after) this.#state.put(kind as Kind, after);
      if (isDeletion) this.leases.delete(kv.key.toString());
      else this.#noteLease(kv);
      if (before || after) mutations.push({ kind: kind as Kind, key, before, after });
    });
    this.#commit(revision, mutations);
  }

  #commit(revision: bigint, mutations: readonly Mutation[]): void {
    this.#state.revision = revision;
    this.#log.announce(commitOf(revision, mutations));
    for (const waiter of this.#waiters) {
      if (waiter.revision > revision) continue;
      this.#waiters.delete(waiter);
      waiter.resolve();
    }
  }

  async #relist(): Promise<void> {
    const snapshot: Snapshot = await this.#client.snapshot();
    if (this.#isClosed || snapshot.revision <= this.#state.revision) return;
    const found = new Map(snapshot.documents.map((kv) => [kv.key.toString(), kv]));
    const mutations: Mutation[] = [];
    const removed: Mutation[] = [];
    for (const kind of Object.keys(KINDS) as Kind[]) {
      for (const key of [...this.#state.keys(kind).range("")]) {
        const present = found.get(documentKey(kind, key));
        if (present && BigInt(present.mod_revision) === this.#state.get(kind, key)?.revision) continue;
        const mutation = this.#state.delete(kind, key);
        if (mutation) removed.push(mutation);
      }
    }
    const befores = new Map(removed.map((mutation) => [documentKey(mutation.kind, mutation.key), mutation]));
    for (const [name, kv] of found) {
      const document = documentOf(kv);
      if (!document) continue;
      this.#noteLease(kv);
      if (this.#state.get(document.kind, document.key)) continue;
      this.#state.put(document.kind, document.value);
      const before = befores.get(name)?.before;
      befores.delete(name);
      mutations.push({ kind: document.kind, key: document.key, before, after: document.value });
    }
    for (const name of befores.keys()) this.leases.delete(name);
    // What came between is not known one by one: watches that were away begin again.
    this.#log.restart(snapshot.revision);
    this.#commit(snapshot.revision, [...befores.values(), ...mutations]);
  }

  close(): void {
    this.#isClosed = true;
    this.#stream?.cancel?.();
    for (const { resolve } of this.#waiters) resolve();
    this.#waiters.clear();
  }
}
