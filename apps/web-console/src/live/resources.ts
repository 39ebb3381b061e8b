/** The cluster's resources as the controller has them now, by one watch; every page reads from here. */
import type { Endpoint, Network, Node, Policy, PortReservation, ResourceChange } from "@slimfast/proto";
import { useSyncExternalStore } from "react";
import { controller } from "./session.js";
import { keepOpen } from "./streams.js";

export interface Resources {
  readonly isComplete: boolean;
  readonly nodes: readonly Node[];
  readonly networks: readonly Network[];
  readonly endpoints: readonly Endpoint[];
  readonly policies: readonly Policy[];
  readonly reservations: readonly PortReservation[];
}

type Collection = Exclude<keyof Resources, "isComplete">;

const EMPTY: Resources = { isComplete: false, nodes: [], networks: [], endpoints: [], policies: [], reservations: [] };
const FIELDS = {
  node: "nodes",
  network: "networks",
  endpoint: "endpoints",
  policy: "policies",
  portReservation: "reservations",
} as const;
/** By the number of the kind. */
const FIELD_OF_KIND: readonly (Collection | undefined)[] = [
  undefined,
  "nodes",
  "networks",
  "endpoints",
  "policies",
  "reservations",
];

/** Applies changes; the collections that are not touched stay the same objects. Exported for its test. */
export class ResourceTable {
  readonly #maps = {
    nodes: new Map<string, Node>(),
    networks: new Map<string, Network>(),
    endpoints: new Map<string, Endpoint>(),
    policies: new Map<string, Policy>(),
    reservations: new Map<string, PortReservation>(),
  };
  current: Resources = EMPTY;

  apply(changes: readonly ResourceChange[], isComplete: boolean): void {
    const touched = new Set<Collection>();
    for (const { kind, name, resource } of changes) {
      if (resource) {
        const field = FIELDS[resource.$case];
        (this.#maps[field] as Map<string, unknown>).set(name, resource.value);
        touched.add(field);
      } else {
        const field = FIELD_OF_KIND[kind];
        if (field === undefined) continue;
        this.#maps[field].delete(name);
        touched.add(field);
      }
    }
    const next: Record<string, unknown> = { ...this.current, isComplete };
    for (const field of touched) {
      const map = this.#maps[field] as Map<string, unknown>;
      next[field] = [...map].sort(([a], [b]) => (a < b ? -1 : a > b ? 1 : 0)).map(([, value]) => value);
    }
    this.current = next as unknown as Resources;
  }
}

let table = new ResourceTable();
let shown: Resources = EMPTY;
const listeners = new Set<() => void>();
let stop: (() => void) | undefined;

function subscribe(listener: () => void): () => void {
  listeners.add(listener);
  stop ??= keepOpen(
    "resources",
    (signal) => controller.cluster.watchResources({}, { signal }),
    ({ changes }) => {
      // The first answer without changes ends what exists already.
      const isComplete = table.current.isComplete || changes.length === 0;
      table.apply(changes, isComplete);
      if (!isComplete) return;
      shown = table.current;
      for (const each of listeners) each();
    },
    () => {
      table = new ResourceTable();
    },
  );
  return () => {
    listeners.delete(listener);
    if (listeners.size > 0) return;
    stop?.();
    stop = undefined;
  };
}

export function useResources(): Resources {
  return useSyncExternalStore(subscribe, () => shown);
}
