/** The agent's end of a Sync stream, for tests: what it was told, and acks at the test's command. */
import {
  type EndpointRef,
  ResourceKind,
  type ResourceVersion,
  type SyncRequest,
  type SyncResponse,
} from "@slimfast/proto";
import type { TestClient } from "./controller.js";

/** A queue that one reader takes from. */
export class Mailbox<Item> {
  readonly #items: Item[] = [];
  #wake: (() => void) | undefined;
  #closed = false;
  #failure: unknown;

  put(item: Item): void {
    this.#items.push(item);
    this.#wake?.();
  }

  close(failure?: unknown): void {
    this.#closed = true;
    this.#failure = failure;
    this.#wake?.();
  }

  get size(): number {
    return this.#items.length;
  }

  async take(): Promise<Item | undefined> {
    for (;;) {
      const item = this.#items.shift();
      if (item !== undefined) return item;
      if (this.#failure !== undefined) throw this.#failure;
      if (this.#closed) return undefined;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<Item> {
    for (let item = await this.take(); item !== undefined; item = await this.take()) yield item;
  }
}

export class TestAgent {
  readonly #requests = new Mailbox<SyncRequest>();
  readonly #responses = new Mailbox<SyncResponse>();
  readonly #abort = new AbortController();
  readonly #done: Promise<void>;
  readonly #isAutomatic: boolean;
  /** What the agent holds: revision by `KIND name`. */
  readonly held: Map<string, bigint>;
  /** The store that it is of; empty before the first response. */
  storeId: string;
  /** Of all nodes, if it reads them. */
  readonly addresses = new Set<number>();
  #applied: (() => void) | undefined;

  /** @param options.automatic Whether each response is applied and acknowledged at once (default), or by the test. */
  constructor(
    client: TestClient,
    readonly node: string,
    options: {
      known?: ReadonlyMap<string, bigint>;
      attached?: EndpointRef[];
      automatic?: boolean;
      storeId?: string;
      readsNodeAddresses?: boolean;
    } = {},
  ) {
    this.#isAutomatic = options.automatic ?? true;
    this.held = new Map(options.known);
    this.storeId = options.storeId ?? "";
    const known: ResourceVersion[] = [...this.held].map(([key, revision]) => {
      const [kind = "", name = ""] = key.split(" ");
      return { kind: ResourceKind[`RESOURCE_KIND_${kind}` as keyof typeof ResourceKind], name, revision };
    });
    const { readsNodeAddresses = false } = options;
    const hello = { node, known, attached: options.attached ?? [], storeId: this.storeId, readsNodeAddresses };
    this.#requests.put({ kind: { $case: "hello", value: hello } });
    this.#done = this.#read(client.agent.sync(this.#requests, { signal: this.#abort.signal }));
  }

  async #read(responses: AsyncIterable<SyncResponse>): Promise<void> {
    try {
      for await (const response of responses) {
        if (response.storeId !== "") this.storeId = response.storeId;
        if (this.#isAutomatic) this.apply(response);
        else this.#responses.put(response);
      }
      this.#responses.close();
    } catch (error) {
      this.#responses.close(error);
    }
    this.#applied?.();
  }

  /** The next response; undefined once the stream has ended. Throws what ended it, if that was an error. */
  next(): Promise<SyncResponse | undefined> {
    return this.#responses.take();
  }

  /** The next response, which must come. */
  async expectNext(): Promise<SyncResponse> {
    const response = await this.next();
    if (!response) throw new Error(`the stream of ${this.node} has ended`);
    return response;
  }

  /** Responses that have come and were not taken. */
  get waiting(): number {
    return this.#responses.size;
  }

  apply(response: SyncResponse): void {
    for (const { name, revision } of response.nodes) this.held.set(`NODE ${name}`, revision);
    for (const { name, revision } of response.networks) this.held.set(`NETWORK ${name}`, revision);
    for (const { network, name, revision } of response.endpoints)
      this.held.set(`ENDPOINT ${network}/${name}`, revision);
    for (const { network, name, revision } of response.policies) this.held.set(`POLICY ${network}/${name}`, revision);
    for (const { kind, name } of response.removed) {
      this.held.delete(`${ResourceKind[kind].replace("RESOURCE_KIND_", "")} ${name}`);
    }
    const { nodeAddresses } = response;
    if (nodeAddresses?.isComplete) this.addresses.clear();
    for (const address of nodeAddresses?.added ?? []) this.addresses.add(address);
    for (const address of nodeAddresses?.removed ?? []) this.addresses.delete(address);
    this.ack(response);
    this.#applied?.();
  }

  ack({ nonce }: { nonce: bigint }, error = ""): void {
    this.#requests.put({ kind: { $case: "ack", value: { nonce, error } } });
  }

  send(request: SyncRequest): void {
    this.#requests.put(request);
  }

  /** Waits until the agent holds exactly this, as `KIND name`. For automatic ones. */
  async holds(...keys: string[]): Promise<void> {
    const wanted = keys.toSorted().join(", ");
    while ([...this.held.keys()].toSorted().join(", ") !== wanted) {
      await new Promise<void>((resolve) => {
        this.#applied = resolve;
      });
    }
  }

  /** Goes away without a word, as a killed process does. */
  async vanish(): Promise<void> {
    this.#abort.abort();
    this.#requests.close();
    await this.#done;
  }
}
