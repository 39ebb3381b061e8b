/**
 * One node's agent as far as the controller can tell: a connection of its own, a Sync stream, an ack for each response. It
 * keeps which resources it holds (but for those that come and go with the load), and when it heard of the load's changes.
 */
import { type EndpointRef, ResourceKind, type SyncRequest } from "@slimfast/proto";
import { type Channel, createClientFactory } from "nice-grpc";
import { monotonicMs } from "./clock.js";
import { type Names, NamesOnlyAgentServiceDefinition } from "./response-reader.js";
import { changeOf } from "./shape.js";

/** Numbers for names: a thousand agents hold the same thousand names. */
export class Numbers {
  readonly #numbers = new Map<string, number>();

  of(name: string): number {
    let number = this.#numbers.get(name);
    if (number === undefined) {
      number = this.#numbers.size;
      this.#numbers.set(name, number);
    }
    return number;
  }
}

/** A set of small numbers, at a bit for each. */
export class BitSet {
  #bytes = new Uint8Array(1_024);
  size = 0;

  add(number: number): void {
    const byte = number >> 3;
    if (byte >= this.#bytes.length) {
      const larger = new Uint8Array(Math.max(byte + 1, this.#bytes.length * 2));
      larger.set(this.#bytes);
      this.#bytes = larger;
    }
    if (this.has(number)) return;
    this.#bytes[byte] = (this.#bytes[byte] ?? 0) | (1 << (number & 7));
    this.size += 1;
  }

  delete(number: number): void {
    if (!this.has(number)) return;
    this.#bytes[number >> 3] = (this.#bytes[number >> 3] ?? 0) & ~(1 << (number & 7));
    this.size -= 1;
  }

  has(number: number): boolean {
    return ((this.#bytes[number >> 3] ?? 0) & (1 << (number & 7))) !== 0;
  }
}

/** What is told of each change that an agent hears of: the operation and when. */
export type Heard = (operation: number, atMs: number) => void;

export interface AgentStreamOptions {
  readonly channel: Channel;
  readonly node: string;
  readonly attached: readonly EndpointRef[];
  readonly numbers: Numbers;
  readonly heard: Heard;
}

/** Requests in the order in which they are pushed, for as long as the process runs. */
class Requests implements AsyncIterable<SyncRequest> {
  readonly #waiting: SyncRequest[] = [];
  #wake: (() => void) | undefined;

  push(request: SyncRequest): void {
    this.#waiting.push(request);
    this.#wake?.();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<SyncRequest> {
    for (;;) {
      for (let next = this.#waiting.shift(); next; next = this.#waiting.shift()) yield next;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
    }
  }
}

export class AgentStream {
  readonly node: string;
  readonly held = new BitSet();
  readonly #options: AgentStreamOptions;
  readonly #requests = new Requests();
  #isEnded = false;
  #failure: unknown;
  #changed: (() => void) | undefined;

  constructor(options: AgentStreamOptions) {
    this.#options = options;
    this.node = options.node;
  }

  start(): void {
    const { node, attached } = this.#options;
    const hello = { node, known: [], attached: [...attached], storeId: "", readsNodeAddresses: true };
    this.#requests.push({ kind: { $case: "hello", value: hello } });
    const client = createClientFactory().create(NamesOnlyAgentServiceDefinition, this.#options.channel);
    void this.#read(client.sync(this.#requests));
  }

  async #read(responses: AsyncIterable<Names>): Promise<void> {
    try {
      for await (const response of responses) {
        const nowMs = monotonicMs();
        this.#requests.push({ kind: { $case: "ack", value: { nonce: response.nonce, error: "" } } });
        this.#take(response, nowMs);
        this.#changed?.();
      }
    } catch (error) {
      this.#failure = error;
    }
    this.#isEnded = true;
    this.#changed?.();
  }

  #take({ nodes, networks, endpoints, removed }: Names, nowMs: number): void {
    const { numbers, heard } = this.#options;
    for (const name of nodes) this.held.add(numbers.of(`n:${name}`));
    for (const name of networks) this.held.add(numbers.of(`w:${name}`));
    for (const name of endpoints) {
      const change = changeOf(name.slice(name.indexOf("/") + 1));
      if (change !== undefined) heard(change * 2, nowMs);
      else this.held.add(numbers.of(`e:${name}`));
    }
    for (const { kind, name } of removed) {
      if (kind === ResourceKind.RESOURCE_KIND_NODE) this.held.delete(numbers.of(`n:${name}`));
      else if (kind === ResourceKind.RESOURCE_KIND_NETWORK) this.held.delete(numbers.of(`w:${name}`));
      else if (kind === ResourceKind.RESOURCE_KIND_ENDPOINT) {
        const change = changeOf(name.slice(name.indexOf("/") + 1));
        if (change !== undefined) heard(change * 2 + 1, nowMs);
        else this.held.delete(numbers.of(`e:${name}`));
      }
    }
  }

  /** Waits until it holds at least so many resources. @throws what ended the stream before. */
  async holds(resources: number): Promise<void> {
    while (this.held.size < resources) {
      if (this.#isEnded) throw this.#failure ?? new Error(`the stream of ${this.node} has ended`);
      await new Promise<void>((resolve) => {
        this.#changed = resolve;
      });
    }
    this.#changed = undefined;
  }
}
