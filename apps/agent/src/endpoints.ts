/**
 * The endpoints of this node: attached and detached as a whole, on the controller and in the core.
 *
 * States of an entry: attaching -> attached -> detaching -> gone. It exists from the moment that the controller has given
 * the endpoint an id, so that every hello names it and the controller does not take it for a left-over. Detaching starts
 * with the core; a deletion that the controller does not hear of is tried again until it does. One thing at a time
 * happens to an endpoint: a detachment waits for the attachment before it.
 */
import { setMaxListeners } from "node:events";
import { basename } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { type ErrorCode, SlimFastError } from "@slimfast/client";
import type { AttachedState, Core, EndpointKey } from "@slimfast/core";
import {
  type AttachEndpointRequest,
  type AttachedEndpoint,
  Endpoint,
  type EndpointRef,
  type Node,
} from "@slimfast/proto";
import type { Logger } from "pino";
import { endpointKey } from "./cluster-state.js";
import type { ControllerLink } from "./controller-link.js";
import type { Controller } from "./controllers.js";
import { Deletions, type Verdict } from "./deletions.js";
import { invalidArgument, messageOf, unavailable } from "./errors.js";
import type { Limits } from "./limits.js";
import { isDnsLabel, madeUpName, netnsName } from "./names.js";

export interface EndpointsOptions {
  controller: Controller;
  core: Pick<Core, "attachEndpoint" | "detachEndpoint" | "attached">;
  link: Pick<ControllerLink, "applied" | "storeId">;
  node: Node;
  limits: Limits;
  log: Logger;
}

interface Entry {
  endpoint: Endpoint;
  /** The store that has given it its id. */
  storeId: string;
  ephemeral: boolean;
  state: "attaching" | "attached" | "detaching";
  netnsName: string;
  netnsPath: string;
  listenerMetadata: string;
  /** The cluster dropped it while it was being attached. */
  isRemoved: boolean;
  /** A former agent's, and not compared with the state yet. */
  isAdopted: boolean;
  /** Runs until a first process has joined an ephemeral endpoint. */
  joinTimer: NodeJS.Timeout | undefined;
  /** The detachment under way. */
  detached: Promise<void> | undefined;
}

/** After these the controller may have created the endpoint or not. */
const UNCERTAIN_CODES: ReadonlySet<ErrorCode> = new Set([
  "cancelled",
  "data_loss",
  "deadline_exceeded",
  "internal",
  "unavailable",
  "unknown",
]);

export class Endpoints {
  readonly #options: EndpointsOptions;
  readonly #deletions: Deletions;
  readonly #entries = new Map<string, Entry>();
  /** Attachments under way; each promise is fulfilled when its attachment is over, however it ends. */
  readonly #attaching = new Map<string, { network: string; name: string; over: Promise<void> }>();
  /** Endpoints that go unless a process has joined them, and what to say then. */
  readonly #suspects = new Map<string, { readonly entry: Entry; readonly warning: string | undefined }>();
  #looking: Promise<void> | undefined;
  readonly #stop = new AbortController();
  #eventsLost = 0n;

  constructor(options: EndpointsOptions) {
    this.#options = options;
    this.#deletions = new Deletions({ ...options, storeId: () => options.link.storeId });
    // One listener for each attachment under way.
    setMaxListeners(0, this.#stop.signal);
  }

  get count(): number {
    return this.#entries.size;
  }

  /**
   * Takes over what a former agent had attached, as the core has it. To be over before anything else.
   *
   * @returns keys of endpoints that cannot be taken over
   */
  async adopt(): Promise<EndpointKey[]> {
    const { core, node, log } = this.#options;
    const unknown: EndpointKey[] = [];
    for (const { vni, id, netnsPath, listenerMetadata, note, seccompListeners } of await core.attached()) {
      const read = readNote(note);
      if (!read || read.endpoint.vni !== vni || read.endpoint.id !== id || read.endpoint.node !== node.name) {
        unknown.push({ vni, id });
        continue;
      }
      const { endpoint, storeId, ephemeral } = read;
      const key = endpointKey(endpoint.network, endpoint.name);
      const entry: Entry = {
        ...{ endpoint, storeId, ephemeral, netnsPath, listenerMetadata },
        netnsName: basename(netnsPath),
        state: "attached",
        isRemoved: false,
        isAdopted: true,
        joinTimer: undefined,
        detached: undefined,
      };
      this.#entries.set(key, entry);
      // Its last process may have ended while nobody was there to hear of it.
      if (ephemeral && seccompListeners === 0) this.#expectProcess(key, entry);
    }
    if (this.#entries.size > 0) log.info({ endpoints: this.#entries.size }, "endpoints of a former agent go on");
    return unknown;
  }

  /**
   * The state is known: what a former agent had attached and the cluster has dropped since goes.
   *
   * @param find - what the state has under a name
   */
  async compare(find: (network: string, name: string) => Endpoint | undefined): Promise<void> {
    const gone: [string, Entry][] = [];
    for (const [key, entry] of this.#entries) {
      if (!entry.isAdopted) continue;
      entry.isAdopted = false;
      const { network, name, id, createTime } = entry.endpoint;
      const known = find(network, name);
      if (known?.id === id && known.createTime?.getTime() === createTime?.getTime()) entry.endpoint = known;
      else gone.push([key, entry]);
    }
    await Promise.all(
      gone.map(async ([key, entry]) => {
        this.#options.log.warn({ endpoint: key }, "the endpoint was deleted while no agent ran: it is detached");
        await this.#detachEntry(key, entry);
      }),
    );
  }

  /** For the hello of a stream; with id 0 what is being created: the controller may have it already, and we not its answer. */
  refs(): EndpointRef[] {
    const refs = [...this.#entries.values()].map(({ endpoint: { network, name, id } }) => ({ network, name, id }));
    for (const [key, { network, name }] of this.#attaching) {
      if (!this.#entries.has(key)) refs.push({ network, name, id: 0 });
    }
    return refs;
  }

  async list(): Promise<AttachedEndpoint[]> {
    const held = new Map((await this.#options.core.attached()).map((state) => [`${state.vni}:${state.id}`, state]));
    return [...this.#entries.values()]
      .filter((entry) => entry.state === "attached")
      .map((entry) => {
        const state = held.get(`${entry.endpoint.vni}:${entry.endpoint.id}`);
        return message(entry, state);
      });
  }

  /**
   * Nothing is left behind if it fails, here or on the controller.
   *
   * @param caller - if it is aborted meanwhile, nobody would know of the endpoint: it is taken away again
   */
  async attach(request: AttachEndpointRequest, caller?: AbortSignal): Promise<AttachedEndpoint> {
    this.#stop.signal.throwIfAborted();
    const name = request.name === "" ? madeUpName() : request.name;
    if (!isDnsLabel(name)) {
      throw invalidArgument("name", `${JSON.stringify(name)} is not a DNS label: 1 to 63 of a-z, 0-9 and -`);
    }
    const key = endpointKey(request.network, name);
    if (this.#entries.has(key) || this.#attaching.has(key)) {
      throw new SlimFastError("already_exists", `endpoint ${key} is attached to this node already`);
    }
    let end = () => {};
    const over = new Promise<void>((resolve) => {
      end = resolve;
    });
    this.#attaching.set(key, { network: request.network, name, over });
    try {
      return await this.#attachOnce(key, name, request, caller);
    } finally {
      this.#attaching.delete(key);
      end();
    }
  }

  async #attachOnce(key: string, name: string, request: AttachEndpointRequest, caller: AbortSignal | undefined) {
    const entry = await this.#create(key, name, request);
    try {
      await this.#attachToCore(key, entry);
      if (caller?.aborted) throw new SlimFastError("cancelled", "the call was cancelled");
      this.#stop.signal.throwIfAborted();
      if (entry.isRemoved) throw new Error("removed");
    } catch (cause) {
      // Detaching what the core has not attached does nothing.
      await this.#detachEntry(key, entry);
      if (!entry.isRemoved) throw cause;
      throw new SlimFastError("aborted", `endpoint ${key} was deleted while it was being attached`, { cause });
    }
    entry.state = "attached";
    if (entry.ephemeral) this.#expectProcess(key, entry);
    return message(entry);
  }

  async #create(key: string, name: string, request: AttachEndpointRequest): Promise<Entry> {
    const { node } = this.#options;
    const endpoint = await this.#createOnController(key, name, request);
    const { storeId } = this.#options.link;
    const taken = new Set([...this.#entries.values()].map((entry) => entry.netnsName));
    const entry: Entry = {
      endpoint,
      storeId,
      ephemeral: request.ephemeral,
      state: "attaching",
      netnsName: netnsName(node.name, endpoint.network, name, (candidate) => taken.has(candidate)),
      netnsPath: "",
      listenerMetadata: "",
      isRemoved: false,
      isAdopted: false,
      joinTimer: undefined,
      detached: undefined,
    };
    this.#entries.set(key, entry);
    return entry;
  }

  async #createOnController(key: string, name: string, request: AttachEndpointRequest): Promise<Endpoint> {
    const { controller, node, limits } = this.#options;
    const { network, publishedPorts, labels, address, address6, plain } = request;
    const endpoint = { name, network, node: node.name, publishedPorts, labels, address, address6, plain };
    try {
      const { endpoint: created } = await controller.agent.createEndpoint(
        { endpoint, waitForPeers: true },
        { deadline: limits.createEndpointTimeoutMs, signal: this.#stop.signal },
      );
      if (!created) throw new SlimFastError("internal", "the controller answered without the endpoint");
      return created;
    } catch (error) {
      const isUncertain = !(error instanceof SlimFastError) || UNCERTAIN_CODES.has(error.code);
      if (isUncertain) {
        // The name may be attached again before the controller answers: that one must stay.
        let isOver = false;
        const verdict = (id: number): Verdict => {
          if (this.#entries.get(key)?.endpoint.id === id) return "keep";
          return isOver && this.#attaching.has(key) ? "undecided" : "delete";
        };
        await this.#deletions.deleteUnanswered({ network, name, node: node.name }, verdict);
        isOver = true;
      }
      this.#stop.signal.throwIfAborted();
      throw error;
    }
  }

  async #attachToCore(key: string, entry: Entry): Promise<void> {
    const { core, link } = this.#options;
    const { vni, id, address, address6, publishedPorts, revision } = entry.endpoint;
    await link.applied(revision, `endpoint ${key}`, this.#stop.signal);
    const { netnsName } = entry;
    const note = writeNote(entry);
    const addresses = { address: address || null, address6: address6 || null };
    const result = await core.attachEndpoint({ netnsName, vni, id, ...addresses, publishedPorts, note });
    entry.netnsPath = result.netnsPath;
    entry.listenerMetadata = result.listenerMetadata;
  }

  #expectProcess(key: string, entry: Entry): void {
    const { limits } = this.#options;
    entry.joinTimer = setTimeout(() => {
      entry.joinTimer = undefined;
      this.#detachUnlessJoined(key, entry, "nothing joined the ephemeral endpoint: it is removed");
    }, limits.ephemeralJoinMs);
    entry.joinTimer.unref();
  }

  /** Whether a process has joined it is looked up for all that are asked for meanwhile at once: a thousand may end together. */
  #detachUnlessJoined(key: string, entry: Entry, warning?: string): void {
    this.#suspects.set(key, { entry, warning });
    this.#looking ??= this.#look().finally(() => {
      this.#looking = undefined;
    });
  }

  async #look(): Promise<void> {
    const { core, limits, log } = this.#options;
    const { signal } = this.#stop;
    while (this.#suspects.size > 0 && !signal.aborted) {
      let joined: ReadonlySet<string>;
      const suspects = [...this.#suspects];
      try {
        const held = (await core.attached()).filter(({ seccompListeners }) => seccompListeners > 0);
        joined = new Set(held.map(({ vni, id }) => `${vni}:${id}`));
      } catch (error) {
        if (signal.aborted) return;
        log.warn({ reason: messageOf(error) }, "cannot see which endpoints have processes: looking again");
        await sleep(limits.reconnectMinMs, undefined, { signal }).catch(() => undefined);
        continue;
      }
      if (signal.aborted) return;
      for (const [key, suspect] of suspects) {
        const { entry, warning } = suspect;
        if (this.#suspects.get(key) === suspect) this.#suspects.delete(key);
        // The event has been on its way for a while: another process may have joined since, and will end in its turn.
        if (entry.state !== "attached" || joined.has(`${entry.endpoint.vni}:${entry.endpoint.id}`)) continue;
        if (warning !== undefined) log.warn({ endpoint: key }, warning);
        void this.#detachEntry(key, entry);
      }
    }
  }

  /** Idempotent. Resolves when the endpoint is gone from the core, and from the controller where that answers. */
  async detach(network: string, name: string): Promise<void> {
    const key = endpointKey(network, name);
    await this.#attaching.get(key)?.over;
    const entry = this.#entries.get(key);
    if (entry) await this.#detachEntry(key, entry);
  }

  /** The last process under an endpoint's last seccomp listener has ended. */
  onIdle(vni: number, id: number): void {
    const [key, entry] = this.#find({ vni, id });
    if (entry?.ephemeral && entry.state === "attached") this.#detachUnlessJoined(key, entry);
  }

  /**
   * The core has lost events when `dropped` grows, and an idle one may be among them: an ephemeral endpoint would stay for
   * ever. One whose time to be joined still runs is looked at when that ends.
   *
   * @param dropped - events lost since the core was opened
   */
  onDropped(dropped: bigint): void {
    if (dropped <= this.#eventsLost) return;
    this.#eventsLost = dropped;
    for (const [key, entry] of this.#entries) {
      const isWaiting = entry.joinTimer !== undefined;
      if (entry.ephemeral && entry.state === "attached" && !isWaiting) this.#detachUnlessJoined(key, entry);
    }
  }

  /** The cluster drops these: what is attached of them must go first, since the core keeps what is in use. */
  async onRemoved(keys: readonly EndpointKey[]): Promise<void> {
    await Promise.all(
      keys.map(async (wanted) => {
        const [key, entry] = this.#find(wanted);
        if (!entry) return;
        if (entry.state === "attaching") {
          entry.isRemoved = true;
          return;
        }
        if (entry.state === "attached") {
          this.#options.log.warn({ endpoint: key }, "the endpoint was deleted on the controller: it is detached");
        }
        await this.#detachEntry(key, entry);
      }),
    );
  }

  #find({ vni, id }: EndpointKey): [string, Entry | undefined] {
    for (const [key, entry] of this.#entries) {
      if (entry.endpoint.vni === vni && entry.endpoint.id === id) return [key, entry];
    }
    return ["", undefined];
  }

  #detachEntry(key: string, entry: Entry): Promise<void> {
    entry.detached ??= this.#detachOnce(key, entry);
    return entry.detached;
  }

  /** Never fails: what cannot be taken away is logged. */
  async #detachOnce(key: string, entry: Entry): Promise<void> {
    const { core, log } = this.#options;
    entry.state = "detaching";
    clearTimeout(entry.joinTimer);
    const { vni, id, network, name } = entry.endpoint;
    try {
      await core.detachEndpoint({ vni, id });
    } catch (error) {
      // What could be taken away is; the rest is in the journal.
      log.error({ endpoint: key, reason: messageOf(error) }, "detaching left something on the host");
    }
    await this.#deletions.delete({ network, name, id }, entry.storeId);
    this.#entries.delete(key);
  }

  /** Ends attachments that are under way, and leaves what is attached to the next agent. */
  async leave(): Promise<void> {
    this.#stop.abort(unavailable("the agent is stopping"));
    for (const { joinTimer } of this.#entries.values()) clearTimeout(joinTimer);
    await Promise.all([...this.#attaching.values()].map(({ over }) => over));
    await this.#deletions.close();
  }

  /** Ends attachments that are under way, and detaches everything. */
  async close(): Promise<void> {
    this.#stop.abort(unavailable("the agent is stopping"));
    // Who attaches finds itself told to stop, and undoes its own. All at once, since a controller that hangs takes each
    // of them the same time.
    const attached = [...this.#entries].filter(([, entry]) => entry.state !== "attaching");
    const attaching = [...this.#attaching.values()].map(({ over }) => over);
    await Promise.all([...attaching, ...attached.map(([key, entry]) => this.#detachEntry(key, entry))]);
    await this.#deletions.close();
  }
}

/** `held`: absent before a process can have joined it. */
function message(entry: Entry, held?: AttachedState): AttachedEndpoint {
  const { endpoint, netnsPath, listenerMetadata } = entry;
  const { seccompListeners = 0, dispensers = 0, unguardedListeners = 0, usage } = held ?? {};
  return { endpoint, netnsPath, listenerMetadata, seccompListeners, dispensers, unguardedListeners, usage };
}

/** What the next agent has to know of an endpoint. */
function writeNote({ endpoint, storeId, ephemeral }: Entry): string {
  return JSON.stringify({ endpoint: Endpoint.toJSON(endpoint), storeId, ephemeral });
}

/** Undefined if it is none of this version's. */
function readNote(note: string): Pick<Entry, "endpoint" | "storeId" | "ephemeral"> | undefined {
  try {
    const { endpoint, storeId, ephemeral } = JSON.parse(note) as Record<string, unknown>;
    if (typeof storeId !== "string" || typeof ephemeral !== "boolean") return undefined;
    return { endpoint: Endpoint.fromJSON(endpoint), storeId, ephemeral };
  } catch {
    return undefined;
  }
}
