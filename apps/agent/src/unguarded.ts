/** Which endpoints have listeners of processes that may use io_uring, for a controller that is told when it changes. */
import type { AttachedEndpoint, UnguardedEndpoints } from "@slimfast/proto";

export class UnguardedNews {
  readonly #list: () => Promise<readonly AttachedEndpoint[]>;
  #told: string | undefined;

  /** For one stream. @param list - All that are attached. */
  constructor(list: () => Promise<readonly AttachedEndpoint[]>) {
    this.#list = list;
  }

  /** Whether the last answer named any: they end without saying so, and have to be looked at. */
  isAnyKnown = false;

  /** What has to be told now; undefined: nothing that was not told before. The first time there always is something. */
  async next(): Promise<UnguardedEndpoints | undefined> {
    const endpoints = (await this.#list()).flatMap(({ endpoint, unguardedListeners: listeners }) => {
      if (!endpoint || listeners === 0) return [];
      const { network, name, id } = endpoint;
      return [{ endpoint: { network, name, id }, listeners }];
    });
    this.isAnyKnown = endpoints.length > 0;
    const text = JSON.stringify(endpoints);
    if (text === this.#told) return undefined;
    this.#told = text;
    return { endpoints };
  }
}
