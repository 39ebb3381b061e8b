/** Who is calling, and what that allows. Pure. */
import { Role as RoleMessage } from "@slimfast/proto";
import { ClusterError } from "../errors.js";

export type Role = "viewer" | "operator" | "admin" | "join";

/** Each has the rights of those before it. */
const RANKS: Readonly<Record<Exclude<Role, "join">, number>> = { viewer: 1, operator: 2, admin: 3 };

export const ROLE_MESSAGES: Readonly<Record<Role, RoleMessage>> = {
  viewer: RoleMessage.ROLE_VIEWER,
  operator: RoleMessage.ROLE_OPERATOR,
  admin: RoleMessage.ROLE_ADMIN,
  join: RoleMessage.ROLE_JOIN,
};

export type Identity =
  /** Somebody on the controller's unix socket. */
  | { readonly kind: "local" }
  /** No credentials at all. */
  | { readonly kind: "unknown" }
  | {
      readonly kind: "token";
      readonly name: string;
      /** Tells a token from a later one of the same name. */
      readonly hash: string;
      readonly role: Role;
      /** None means all. */
      readonly networks: readonly string[];
      readonly expireTimeMs?: number;
    }
  | { readonly kind: "node"; readonly name: string; readonly serial: string; readonly expireTimeMs: number }
  | { readonly kind: "controller"; readonly name: string; readonly serial: string; readonly expireTimeMs: number };

export type TokenIdentity = Extract<Identity, { kind: "token" }>;

/** As the API and the audit log name it. */
export function actorOf(identity: Identity): string {
  return identity.kind === "local" || identity.kind === "unknown" ? identity.kind : `${identity.kind}/${identity.name}`;
}

/** Nodes and callers without credentials have none. */
export function roleOf(identity: Identity): Role | undefined {
  switch (identity.kind) {
    case "local":
      return "admin";
    case "token":
      return identity.role;
    case "controller":
      // What controllers ask of each other: connections, and to cut one.
      return "operator";
    case "node":
    case "unknown":
      return undefined;
  }
}

export function hasRole(identity: Identity, wanted: "viewer" | "operator" | "admin"): boolean {
  const role = roleOf(identity);
  return role !== undefined && role !== "join" && RANKS[role] >= RANKS[wanted];
}

/** The networks that it is limited to; undefined: it is not. */
export function scopeOf(identity: Identity): readonly string[] | undefined {
  return identity.kind === "token" && identity.networks.length > 0 ? identity.networks : undefined;
}

export function unauthenticated(message: string): ClusterError {
  return new ClusterError("unauthenticated", message);
}

export function permissionDenied(message: string): ClusterError {
  return new ClusterError("permission_denied", message);
}
