/** The cluster's resources, as changes build them up. Pure. */
import type { Endpoint, Network, Node, Policy, PortReservation, ResourceChange } from "@slimfast/proto";

export interface Resources {
  readonly isComplete: boolean;
  readonly nodes: readonly Node[];
  readonly networks: readonly Network[];
  readonly endpoints: readonly Endpoint[];
  readonly policies: readonly Policy[];
  readonly reservations: readonly PortReservation[];
}

type Collection = Exclude<keyof Resources, "isComplete">;

export const NO_RESOURCES: Resources = {
  isComplete: false,
  nodes: [],
  networks: [],
  endpoints: [],
  policies: [],
  reservations: [],
};
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

/** Applies changes; the collections that are not touched stay the same objects. */
export class ResourceTable {
  readonly #maps = {
    nodes: new Map<string, Node>(),
    networks: new Map<string, Network>(),
    endpoints: new Map<string, Endpoint>(),
    policies: new Map<string, Policy>(),
    reservations: new Map<string, PortReservation>(),
  };
  current: Resources = NO_RESOURCES;

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
