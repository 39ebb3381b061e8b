/** Short names of the contract's enums, as tables, JSON and files have them: `NODE_STATE_DRAINING` is `draining`. */
import {
  AuthorityState,
  ConnectionEventKind,
  NodeState,
  PolicyAction,
  PortPurpose,
  Role,
  Tier,
  TrafficGrouping,
  Verdict,
} from "@slimfast/proto";
import { CliError } from "../exit-codes.js";

function shortNames(numbers: Readonly<Record<string, string | number>>, prefix: string): ReadonlyMap<number, string> {
  const names = new Map<number, string>();
  for (const [name, number] of Object.entries(numbers)) {
    if (typeof number === "number" && name.startsWith(prefix)) {
      names.set(number, name.slice(prefix.length).toLowerCase().replaceAll("_", "-"));
    }
  }
  return names;
}

class ShortNames<Value extends number> {
  readonly #names: ReadonlyMap<number, string>;

  constructor(numbers: Readonly<Record<string, string | number>>, prefix: string) {
    this.#names = shortNames(numbers, prefix);
  }

  /** `unknown` for a value that is newer than this program. */
  name(value: Value): string {
    return this.#names.get(value) ?? "unknown";
  }

  /** All that a user may ask for. */
  get choices(): string[] {
    return [...this.#names].filter(([value]) => value > 0).map(([, name]) => name);
  }

  /** @throws CliError `usage` */
  parse(name: string, what: string): Value {
    for (const [value, known] of this.#names) if (known === name && value > 0) return value as Value;
    throw new CliError("usage", `${what} ${name}: must be one of ${this.choices.join(", ")}`);
  }
}

export const NODE_STATE = new ShortNames<NodeState>(NodeState, "NODE_STATE_");
export const PORT_PURPOSE = new ShortNames<PortPurpose>(PortPurpose, "PORT_PURPOSE_");
export const POLICY_ACTION = new ShortNames<PolicyAction>(PolicyAction, "POLICY_ACTION_");
export const AUTHORITY_STATE = new ShortNames<AuthorityState>(AuthorityState, "AUTHORITY_STATE_");
export const ROLE = new ShortNames<Role>(Role, "ROLE_");
export const TIER = new ShortNames<Tier>(Tier, "TIER_");
export const VERDICT = new ShortNames<Verdict>(Verdict, "VERDICT_");
export const EVENT_KIND = new ShortNames<ConnectionEventKind>(ConnectionEventKind, "CONNECTION_EVENT_KIND_");
export const TRAFFIC_GROUPING = new ShortNames<TrafficGrouping>(TrafficGrouping, "TRAFFIC_GROUPING_");
