/** Lets callers wait for a number that grows, except when its source starts anew. */
import { SlimFastError } from "@slimfast/client";

interface Waiter {
  revision: bigint;
  resolve: () => void;
}

export interface WaitOptions {
  timeoutMs: number;
  /** What is waited for, for the error's message. */
  what: string;
  /** Ends the waiting; its reason is thrown. */
  signal?: AbortSignal;
}

export class RevisionGate {
  #revision = 0n;
  readonly #waiters = new Set<Waiter>();

  get revision(): bigint {
    return this.#revision;
  }

  advance(revision: bigint): void {
    if (revision > this.#revision) this.restart(revision);
  }

  /** Also takes a lower number: a controller whose store was lost counts from the beginning again. */
  restart(revision: bigint): void {
    this.#revision = revision;
    for (const waiter of this.#waiters) {
      if (waiter.revision <= revision) waiter.resolve();
    }
  }

  /** @throws SlimFastError `deadline_exceeded` after `timeoutMs`. */
  async reached(revision: bigint, { timeoutMs, what, signal }: WaitOptions): Promise<void> {
    signal?.throwIfAborted();
    if (revision <= this.#revision) return;
    let end = () => {};
    try {
      await new Promise<void>((resolve, reject) => {
        const waiter = { revision, resolve };
        const onAbort = () => reject(signal?.reason);
        const timer = setTimeout(() => {
          reject(new SlimFastError("deadline_exceeded", `${what} did not come from the controller in ${timeoutMs} ms`));
        }, timeoutMs);
        this.#waiters.add(waiter);
        signal?.addEventListener("abort", onAbort);
        end = () => {
          clearTimeout(timer);
          this.#waiters.delete(waiter);
          signal?.removeEventListener("abort", onAbort);
        };
      });
    } finally {
      end();
    }
  }
}
