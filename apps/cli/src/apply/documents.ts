/**
 * Reading of files that say what a cluster should have: YAML or JSON, several documents. Everything is checked before
 * anything is changed; every fault is named with its document. Pure.
 */
import type { EndpointSelector, Network, NodeState, Policy, PortRange } from "@slimfast/proto";
import { parseAllDocuments } from "yaml";
import { CliError } from "../exit-codes.js";
import { NODE_STATE, POLICY_ACTION } from "../resources/enums.js";
import { canonicalPrefix, parseDuration, parsePorts } from "../resources/values.js";

/** What a document asks for. Fields that it does not name are not touched, or have their defaults when it is created. */
export type Wish =
  | { readonly kind: "Network"; readonly key: string; readonly fields: Partial<Network> & { name: string } }
  | {
      readonly kind: "Policy";
      readonly key: string;
      readonly fields: Partial<Policy> & { name: string; network: string };
    }
  | { readonly kind: "PortReservation"; readonly key: string; readonly fields: ReservationFields }
  | {
      readonly kind: "Node";
      readonly key: string;
      readonly fields: { name: string; labels?: Labels; state?: NodeState };
    }
  | {
      readonly kind: "Endpoint";
      readonly key: string;
      readonly fields: { name: string; network: string; labels?: Labels };
    };

type Labels = Record<string, string>;

export interface ReservationFields {
  readonly name: string;
  readonly node: string;
  readonly ports: PortRange;
  readonly description?: string;
  /** As text: it counts from the moment of the creation and is nothing that could be compared later. */
  readonly lease?: string;
}

type Entry = Readonly<Record<string, unknown>>;

const FIELDS: Readonly<Record<Wish["kind"], readonly string[]>> = {
  Network: [
    ...["name", "prefix", "prefix6", "vni", "description", "labels", "defaultDeny"],
    ...["nodeSubnetLength", "nodeSubnet6Length", "egress"],
  ],
  Policy: ["name", "network", "action", "from", "to", "ports", "description"],
  PortReservation: ["name", "node", "ports", "description", "lease"],
  Node: ["name", "labels", "state"],
  Endpoint: ["name", "network", "labels"],
};

/** @throws CliError `usage` that names all faults of all documents. */
export function readWishes(text: string, source: string): Wish[] {
  const faults: string[] = [];
  const wishes: Wish[] = [];
  for (const [index, document] of parseAllDocuments(text, { uniqueKeys: true }).entries()) {
    const place = `${source}: document ${index + 1}`;
    for (const error of document.errors) faults.push(`${place}: ${error.message}`);
    if (document.errors.length > 0) continue;
    const value: unknown = document.toJS();
    // An empty one, as a trailing separator makes it.
    if (value === null || value === undefined) continue;
    for (const one of Array.isArray(value) ? value : [value]) {
      try {
        wishes.push(readWish(one));
      } catch (error) {
        if (!(error instanceof CliError)) throw error;
        faults.push(`${place}: ${error.message}`);
      }
    }
  }
  const seen = new Set<string>();
  for (const { kind, key } of wishes) {
    if (seen.has(`${kind} ${key}`)) faults.push(`${source}: ${kind} ${key} is there twice`);
    seen.add(`${kind} ${key}`);
  }
  if (faults.length > 0) throw new CliError("usage", faults.join("\n"), { remedy: "nothing was changed" });
  return wishes;
}

function readWish(value: unknown): Wish {
  if (!isEntry(value)) throw fault("a document must be a mapping with a kind");
  const kind = value.kind;
  if (typeof kind !== "string" || !Object.hasOwn(FIELDS, kind)) {
    throw fault(`kind ${JSON.stringify(kind ?? null)}: must be one of ${Object.keys(FIELDS).join(", ")}`);
  }
  const known = FIELDS[kind as Wish["kind"]];
  const stranger = Object.keys(value).find((field) => field !== "kind" && !known.includes(field));
  if (stranger !== undefined) throw fault(`${kind} has no field ${stranger}; it has ${known.join(", ")}`);
  const name = text(value, "name");
  if (name === undefined) throw fault(`${kind}: name is missing`);
  switch (kind as Wish["kind"]) {
    case "Network":
      return {
        kind: "Network",
        key: name,
        fields: defined({
          name,
          prefix: text(value, "prefix"),
          prefix6: prefix(value, "prefix6"),
          vni: count(value, "vni"),
          description: text(value, "description"),
          labels: labels(value, "labels"),
          defaultDeny: flag(value, "defaultDeny"),
          nodeSubnetLength: count(value, "nodeSubnetLength"),
          nodeSubnet6Length: count(value, "nodeSubnet6Length"),
          egress: value.egress === undefined ? undefined : list(value.egress).map(range).sort(),
        }),
      };
    case "Policy": {
      const network = text(value, "network") ?? "default";
      const action = text(value, "action");
      return {
        kind: "Policy",
        key: `${network}/${name}`,
        fields: defined({
          name,
          network,
          action: action === undefined ? undefined : POLICY_ACTION.parse(action, "action"),
          from: selectors(value, "from"),
          to: selectors(value, "to"),
          ports: value.ports === undefined ? undefined : list(value.ports).map(ports),
          description: text(value, "description"),
        }),
      };
    }
    case "PortReservation": {
      const node = text(value, "node");
      if (node === undefined || value.ports === undefined) throw fault("PortReservation: node and ports are needed");
      const lease = text(value, "lease");
      if (lease !== undefined) parseDuration(lease, "lease");
      const fields = defined({ name, node, ports: ports(value.ports), description: text(value, "description"), lease });
      return { kind: "PortReservation", key: name, fields };
    }
    case "Node": {
      const state = text(value, "state");
      return {
        kind: "Node",
        key: name,
        fields: defined({
          name,
          labels: labels(value, "labels"),
          state: state === undefined ? undefined : NODE_STATE.parse(state, "state"),
        }),
      };
    }
    case "Endpoint": {
      const network = text(value, "network") ?? "default";
      return {
        kind: "Endpoint",
        key: `${network}/${name}`,
        fields: defined({ name, network, labels: labels(value, "labels") }),
      };
    }
  }
}

/** Without the fields that the document does not name. */
function defined<Fields extends object>(fields: Fields): { [Key in keyof Fields]: Exclude<Fields[Key], undefined> } {
  const entries = Object.entries(fields).filter(([, value]) => value !== undefined);
  return Object.fromEntries(entries) as { [Key in keyof Fields]: Exclude<Fields[Key], undefined> };
}

function text(entry: Entry, field: string): string | undefined {
  const value = entry[field];
  if (value === undefined) return undefined;
  if (typeof value !== "string") throw fault(`${field} must be text, not ${JSON.stringify(value)}`);
  return value;
}

/** In the form in which it can be compared with what there is. */
function prefix(entry: Entry, field: string): string | undefined {
  const value = text(entry, field);
  return value === undefined ? undefined : canonicalPrefix(value);
}

function count(entry: Entry, field: string): number | undefined {
  const value = entry[field];
  if (value === undefined) return undefined;
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0)
    throw fault(`${field} must be a whole number`);
  return value;
}

function flag(entry: Entry, field: string): boolean | undefined {
  const value = entry[field];
  if (value === undefined || typeof value === "boolean") return value;
  throw fault(`${field} must be true or false`);
}

function labels(entry: Entry, field: string): Labels | undefined {
  const value = entry[field];
  if (value === undefined) return undefined;
  if (!isEntry(value)) throw fault(`${field} must be a mapping`);
  return Object.fromEntries(
    Object.entries(value).map(([key, one]) => {
      if (one !== null && typeof one === "object") throw fault(`${field}.${key} must be text`);
      return [key, one === null ? "" : String(one)];
    }),
  );
}

function selectors(entry: Entry, field: string): EndpointSelector[] | undefined {
  if (entry[field] === undefined) return undefined;
  return list(entry[field]).map((value) => {
    if (value === "all") return { labels: {}, prefix: "", endpoint: "" };
    if (!isEntry(value)) throw fault(`${field}: a selector is a mapping with labels, prefix or endpoint, or "all"`);
    const stranger = Object.keys(value).find((key) => !["labels", "prefix", "endpoint"].includes(key));
    if (stranger !== undefined) throw fault(`${field}: a selector has no field ${stranger}`);
    return {
      labels: labels(value, "labels") ?? {},
      prefix: prefix(value, "prefix") ?? "",
      endpoint: text(value, "endpoint") ?? "",
    };
  });
}

function ports(value: unknown): PortRange {
  return parsePorts(String(value), "ports");
}

function range(value: unknown): string {
  if (typeof value !== "string") throw fault(`egress: ${JSON.stringify(value)} must be a range such as 192.0.2.0/24`);
  return canonicalPrefix(value);
}

function list(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [value];
}

function isEntry(value: unknown): value is Entry {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function fault(message: string): CliError {
  return new CliError("usage", message);
}
