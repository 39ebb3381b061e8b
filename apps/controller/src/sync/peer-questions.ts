/**
 * Controllers ask each other, through the store, whether the nodes of a network have acknowledged a revision.
 *
 * A question is a document that all of them see; each that is asked answers with one of its own. Both are gone when the
 * asking controller has its answer, or has waited long enough, or is gone itself.
 */
import { randomUUID } from "node:crypto";
import type { Logger } from "pino";
import { WAIT_FOR_PEERS_MS } from "../limits.js";
import type { PeerQuestion } from "../store/kinds.js";
import type { Change, Store } from "../store/store.js";

interface Asked {
  readonly waiting: Set<string>;
  readonly settle: (isKnown: boolean) => void;
}

export class PeerQuestions {
  readonly #store: Store;
  readonly #log: Logger;
  readonly #wait: (network: string, revision: bigint, timeoutMs: number) => Promise<boolean>;
  readonly #asked = new Map<string, Asked>();
  readonly #stopListening: () => void;

  /** @param wait Waits for the streams of this controller. */
  constructor(
    store: Store,
    log: Logger,
    wait: (network: string, revision: bigint, timeoutMs: number) => Promise<boolean>,
  ) {
    this.#store = store;
    this.#log = log;
    this.#wait = wait;
    this.#stopListening = store.onCommit(({ changes }) => {
      for (const change of changes) this.#note(change);
    });
  }

  #note(change: Change): void {
    if (change.kind === "question") {
      if (change.after?.asked.includes(this.#store.controllerId)) void this.#answer(change.after);
    } else if (change.kind === "answer" && change.after) {
      this.#heard(change.after.question, change.after.controller, change.after.isKnown);
    } else if (change.kind === "controller" && !change.after) {
      // A controller that is gone holds no streams: nobody has to wait for it.
      for (const question of this.#asked.keys()) this.#heard(question, change.key, true);
    }
  }

  #heard(question: string, controller: string, isKnown: boolean): void {
    const asked = this.#asked.get(question);
    if (!asked?.waiting.delete(controller)) return;
    if (!isKnown) asked.settle(false);
    else if (asked.waiting.size === 0) asked.settle(true);
  }

  async #answer({ id, network, acknowledged }: PeerQuestion): Promise<void> {
    try {
      const isKnown = await this.#wait(network, BigInt(acknowledged), WAIT_FOR_PEERS_MS);
      await this.#store.transaction((tx) => {
        if (tx.get("question", id)) tx.put("answer", { question: id, controller: this.#store.controllerId, isKnown });
      });
    } catch (error) {
      this.#log.debug({ err: error, question: id }, "question of another controller not answered");
    }
  }

  /** Whether all of these controllers say within the time that their nodes of the network know the revision. */
  async ask(controllers: readonly string[], network: string, revision: bigint, timeoutMs: number): Promise<boolean> {
    const id = randomUUID();
    let timer: NodeJS.Timeout | undefined;
    try {
      return await new Promise<boolean>((resolve) => {
        this.#asked.set(id, { waiting: new Set(controllers), settle: resolve });
        timer = setTimeout(() => resolve(false), timeoutMs);
        const question = { id, network, acknowledged: String(revision), asked: controllers };
        this.#store.transaction((tx) => tx.put("question", question)).catch(() => resolve(false));
      });
    } finally {
      clearTimeout(timer);
      this.#asked.delete(id);
      this.#forget(id);
    }
  }

  #forget(id: string): void {
    this.#store
      .transaction((tx) => {
        for (const { controller } of tx.list("answer", { prefix: `${id}/`, limit: -1 })) {
          tx.delete("answer", `${id}/${controller}`);
        }
        tx.delete("question", id);
      })
      // It ends with this controller at the latest.
      .catch((error: unknown) => this.#log.debug({ err: error, question: id }, "question not taken back"));
  }

  close(): void {
    this.#stopListening();
    for (const { settle } of this.#asked.values()) settle(false);
  }
}
