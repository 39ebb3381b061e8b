/**
 * Deletions of endpoints that the controller has to hear of, however long it is away. Nothing is deleted by name alone:
 * an id is never given out again, so that a deletion which comes late cannot hit the name's next owner. Another store gives
 * its ids out on its own: what one has given is not deleted from another.
 */
import { setTimeout as sleep } from "node:timers/promises";
import type { EndpointRef } from "@slimfast/proto";
import type { Logger } from "pino";
import { Backoff } from "./backoff.js";
import { endpointKey } from "./cluster-state.js";
import type { Controller } from "./controllers.js";
import { messageOf } from "./errors.js";
import type { Limits } from "./limits.js";

export interface DeletionOptions {
  controller: Controller;
  /** The store that gives the ids out at the other end, as far as is known now; empty if it has no name. */
  storeId: () => string;
  limits: Pick<Limits, "deleteEndpointTimeoutMs" | "deletionRetryMinMs" | "deletionRetryMaxMs">;
  log: Logger;
}

/** What to do about an endpoint that the controller has: `undecided` means to ask again later. */
export type Verdict = "delete" | "keep" | "undecided";

export class Deletions {
  readonly #options: DeletionOptions;
  readonly #stop = new AbortController();
  readonly #running = new Set<Promise<void>>();

  constructor(options: DeletionOptions) {
    this.#options = options;
  }

  /**
   * Waits for the first attempt only; the rest goes on in the background.
   *
   * @param storeId - of the store that has given the endpoint its id
   */
  delete(ref: EndpointRef, storeId: string): Promise<void> {
    return this.#untilDone(endpointKey(ref.network, ref.name), async () => {
      if (this.#options.storeId() === storeId) await this.#delete(ref);
      return true;
    });
  }

  /**
   * Deletes what a call has created whose answer did not arrive: nobody knows whether it did, or the id. Waits as
   * {@link delete} does.
   */
  deleteUnanswered(
    { network, name, node }: { network: string; name: string; node: string },
    verdict: (id: number) => Verdict,
  ): Promise<void> {
    return this.#untilDone(endpointKey(network, name), async () => {
      const { controller, limits } = this.#options;
      const signal = AbortSignal.timeout(limits.deleteEndpointTimeoutMs);
      for await (const endpoint of controller.listAllEndpoints({ network, node, signal })) {
        if (endpoint.name !== name) continue;
        const decided = verdict(endpoint.id);
        if (decided === "delete") await this.#delete({ network, name, id: endpoint.id });
        return decided !== "undecided";
      }
      return true;
    });
  }

  /** Ends the attempts. What the controller has not heard of is left to the next hello. */
  async close(): Promise<void> {
    this.#stop.abort();
    await Promise.all(this.#running);
  }

  async #delete(ref: EndpointRef): Promise<void> {
    const { controller, limits } = this.#options;
    await controller.agent.deleteEndpoint(ref, { deadline: limits.deleteEndpointTimeoutMs });
  }

  async #untilDone(endpoint: string, attempt: () => Promise<boolean>): Promise<void> {
    const { log } = this.#options;
    const isDone = async () => {
      try {
        return await attempt();
      } catch (error) {
        log.warn({ endpoint, reason: messageOf(error) }, "the controller did not take a deletion");
        return false;
      }
    };
    if (await isDone()) return;
    const going = this.#retry(isDone).finally(() => this.#running.delete(going));
    this.#running.add(going);
  }

  async #retry(isDone: () => Promise<boolean>): Promise<void> {
    const { limits } = this.#options;
    const backoff = new Backoff(limits.deletionRetryMinMs, limits.deletionRetryMaxMs);
    do {
      await sleep(backoff.nextMs(Math.random()), undefined, { signal: this.#stop.signal }).catch(() => undefined);
    } while (!this.#stop.signal.aborted && !(await isDone()));
  }
}
