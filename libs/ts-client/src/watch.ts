/**
 * The cluster's resources as they are and as they change. Keeps what it has reported, so that after a lost connection it
 * goes on where it was, and after a loss of history it reports the difference: for the reader there are no gaps and no
 * duplicates.
 */
import type { ClusterServiceClient, ResourceChange, ResourceKind } from "@slimfast/proto";
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import type { SlimFastError } from "./errors.js";
import { WATCH_SILENCE_MS } from "./limits.js";
import type { RetryOptions } from "./options.js";
import { resuming } from "./resuming.js";

export interface WatchResourcesOptions {
  /** Kinds that are wanted. Default: all. */
  readonly kinds?: readonly ResourceKind[];
  /** Only the network of this name, and endpoints and policies in it; nodes and reservations all the same. */
  readonly network?: string;
  /** Ends the iteration with a `cancelled` error. */
  readonly signal?: AbortSignal;
}

/** A resource of any kind, as the contract's `oneof` has it: `resource.$case` says which. */
export type WatchedResource = NonNullable<ResourceChange["resource"]>;

export type WatchEvent =
  | {
      /** `added` also for those that existed when the watch began. */
      readonly type: "added" | "changed";
      readonly kind: ResourceKind;
      /** `NETWORK/NAME` for endpoints and policies; see ResourceChange in the contract. */
      readonly name: string;
      readonly resource: WatchedResource;
    }
  | {
      readonly type: "deleted";
      readonly kind: ResourceKind;
      readonly name: string;
      /** As it was reported last. */
      readonly resource: WatchedResource;
    }
  /** Everything up to `revision` has been reported. First after what existed at the beginning. */
  | { readonly type: "synced"; readonly revision: bigint }
  /** The connection was lost. The watch goes on by itself; what has been reported may be out of date until `synced`. */
  | { readonly type: "interrupted"; readonly error: SlimFastError };

interface Known {
  readonly kind: ResourceKind;
  readonly name: string;
  readonly resource: WatchedResource;
}

/** @throws SlimFastError `cancelled`, or a failure that would come again (`permission_denied`, for example). */
export async function* watchResources(
  cluster: ClusterServiceClient<DeadlineOptions>,
  options: WatchResourcesOptions,
  retry: Required<RetryOptions>,
): AsyncGenerator<WatchEvent> {
  const view = new View();
  const { kinds = [], network = "", signal } = options;
  const answers = resuming(
    (ending) => {
      view.begin();
      return cluster.watchResources({ kinds: [...kinds], network, revision: view.revision }, { signal: ending });
    },
    { ...retry, signal, silenceMs: WATCH_SILENCE_MS },
    (error) => {
      // The changes since are not kept any more: begin with what exists, and report how it differs.
      if (error.code !== "out_of_range") return undefined;
      view.forgetRevision();
      return "resume";
    },
  );
  for await (const item of answers) {
    if (item.type === "interrupted") yield item;
    else yield* view.apply(item.answer);
  }
}

/** What the reader has been told. */
class View {
  #known = new Map<string, Known>();
  /** What exists, as far as it has come, while it is being listed; null afterwards. */
  #listing: Map<string, Known> | null = null;
  /** Everything up to it has been reported. 0: nothing, or nothing that can be built on. */
  #revision = 0n;
  #isInterrupted = false;

  get revision(): bigint {
    return this.#revision;
  }

  /** A stream is going to be opened, with `revision`. */
  begin(): void {
    this.#listing = this.#revision === 0n ? new Map() : null;
    this.#isInterrupted = this.#revision !== 0n;
  }

  forgetRevision(): void {
    this.#revision = 0n;
  }

  *apply(answer: { readonly revision: bigint; readonly changes: readonly ResourceChange[] }): Generator<WatchEvent> {
    if (this.#listing) {
      for (const { kind, name, resource } of answer.changes) {
        if (resource) this.#listing.set(keyOf(kind, name), { kind, name, resource });
      }
      // The end of what exists.
      if (answer.changes.length > 0) return;
      yield* this.#replaceBy(this.#listing);
      this.#listing = null;
      this.#revision = answer.revision;
      yield { type: "synced", revision: answer.revision };
      return;
    }
    for (const change of answer.changes) yield* this.#change(change);
    if (answer.revision > this.#revision) this.#revision = answer.revision;
    if (answer.changes.length > 0 || this.#isInterrupted) yield { type: "synced", revision: this.#revision };
    this.#isInterrupted = false;
  }

  *#replaceBy(listing: Map<string, Known>): Generator<WatchEvent> {
    for (const [key, known] of [...this.#known]) {
      if (listing.has(key)) continue;
      this.#known.delete(key);
      yield { type: "deleted", ...known };
    }
    for (const { kind, name, resource } of listing.values()) yield* this.#change({ kind, name, resource });
  }

  *#change({ kind, name, resource }: ResourceChange): Generator<WatchEvent> {
    const key = keyOf(kind, name);
    const known = this.#known.get(key);
    if (!resource) {
      if (known && this.#known.delete(key)) yield { type: "deleted", ...known };
      return;
    }
    if (known && revisionOf(known.resource) >= revisionOf(resource) && !isSuccessor(known.resource, resource)) return;
    this.#known.set(key, { kind, name, resource });
    yield { type: known ? "changed" : "added", kind, name, resource };
  }
}

function keyOf(kind: ResourceKind, name: string): string {
  return `${kind} ${name}`;
}

function revisionOf(resource: WatchedResource): bigint {
  return resource.value.revision;
}

/** A node's connection is no change of the store: it comes with the revision that the node had. */
function isSuccessor(known: WatchedResource, resource: WatchedResource): boolean {
  return (
    known.$case === "node" &&
    resource.$case === "node" &&
    known.value.revision === resource.value.revision &&
    known.value.connected !== resource.value.connected
  );
}
