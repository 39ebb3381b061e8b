/**
 * What a caller that is limited to some networks may ask, and what of the answers it may see. Pure.
 *
 * Lists are narrowed by their filter, so that pages are full and totals are right; what comes back is looked through all
 * the same, so that a service that overlooks the filter shows nothing.
 */
import { readFilter } from "../domain/filter/syntax.js";

export type Scope =
  /** Nothing of any network is in it. */
  | { readonly kind: "none" }
  /** It is about the cluster as a whole. */
  | { readonly kind: "cluster" }
  /** It is about networks. */
  | NetworkScope
  /** It is about a connection, which has to be looked up. */
  | { readonly kind: "connection"; readonly id: (request: unknown) => string };

export interface NetworkScope {
  readonly kind: "networks";
  /** Networks that the request names; all must be the caller's. */
  readonly named: (request: unknown) => readonly string[];
  readonly narrow?: (request: unknown, networks: readonly string[]) => unknown;
  /** The part of a response that lies in the networks. */
  readonly visible?: (response: unknown, networks: readonly string[]) => unknown;
}

export const none: Scope = { kind: "none" };
export const cluster: Scope = { kind: "cluster" };

export function connection<Request>(id: (request: Request) => string): Scope {
  return { kind: "connection", id: id as (request: unknown) => string };
}

/** A request about one network: without a name it is malformed, and the service says so. */
export function within<Request>(network: (request: Request) => string | undefined): Scope {
  const named = (request: unknown): readonly string[] => {
    const name = network(request as Request);
    return name ? [name] : [];
  };
  return { kind: "networks", named };
}

/** `network = "a" OR …`, together with what the caller asked for. */
export function narrowFilter(filter: string, field: string, networks: readonly string[]): string {
  const mine = networks.map((network) => `${field} = ${JSON.stringify(network)}`).join(" OR ");
  if (filter.trim() === "") return mine;
  try {
    // Only what is an expression by itself stays one in parentheses: `a) OR (b` is none.
    readFilter(filter);
  } catch {
    // The service refuses it, and tells what is wrong in the caller's own words.
    return filter;
  }
  return `(${mine}) AND (${filter})`;
}

export interface ListScope<Request, Response> {
  /** The field by which the filter is narrowed. */
  readonly field: string;
  /** The network that the request names, if it can. */
  readonly network?: (request: Request) => string;
  readonly visible?: (response: Response, isMine: (network: string | undefined) => boolean) => Response;
}

/** A list, tail or watch with a filter. */
export function narrowed<Request extends { readonly filter: string }, Response>(
  list: ListScope<Request, Response>,
): Scope {
  const { visible } = list;
  return {
    kind: "networks",
    named: (request) => {
      const name = list.network?.(request as Request);
      return name ? [name] : [];
    },
    narrow: (request, networks) => {
      const wanted = request as Request;
      return { ...wanted, filter: narrowFilter(wanted.filter, list.field, networks) };
    },
    ...(visible ? { visible: lookThrough(visible) } : {}),
  };
}

export function watched<Request, Response>(
  network: (request: Request) => string,
  visible: (response: Response, isMine: (network: string | undefined) => boolean) => Response,
): Scope {
  const { named } = within<Request>(network) as NetworkScope;
  return { kind: "networks", named, visible: lookThrough(visible) };
}

function lookThrough<Response>(
  visible: (response: Response, isMine: (network: string | undefined) => boolean) => Response,
): (response: unknown, networks: readonly string[]) => unknown {
  return (response, networks) =>
    visible(response as Response, (network) => network !== undefined && networks.includes(network));
}
