/** Tokens: made, revoked, used. */
import type { Role, Token } from "../domain/resources.js";
import { validName } from "../domain/validation.js";
import { ClusterError, invalidField, notFound } from "../errors.js";
import type { Store, StoreTransaction } from "../store/store.js";
import { type Identity, unauthenticated } from "./identity.js";
import {
  JOIN_TOKEN_LIFETIME_MS,
  LAST_USE_MS,
  MAX_DESCRIPTION_CHARS,
  MAX_TOKEN_LIFETIME_MS,
  MAX_TOKEN_NETWORKS,
  MAX_TOKENS,
  MIN_TOKEN_LIFETIME_MS,
  TOKEN_LIFETIME_MS,
} from "./limits.js";
import { hashOf, newSecret } from "./token-secret.js";

export interface WantedToken {
  readonly name: string;
  readonly role: Role | undefined;
  readonly networks: readonly string[];
  readonly description: string;
  /** 0: any number. */
  readonly usesLeft: number;
  /** Undefined: what is usual for the role. */
  readonly lifetimeMs: number | undefined;
}

function checked(wanted: WantedToken): WantedToken & { role: Role } {
  const { role, networks, description, usesLeft, lifetimeMs } = wanted;
  validName("token.name", wanted.name);
  if (!role) throw invalidField("token.role", "must be one of viewer, operator, admin and join");
  if (networks.length > MAX_TOKEN_NETWORKS) {
    throw invalidField("token.networks", `has ${networks.length} networks, at most ${MAX_TOKEN_NETWORKS} are allowed`);
  }
  for (const [index, network] of networks.entries()) validName(`token.networks[${index}]`, network);
  if (networks.length > 0 && (role === "join" || role === "admin")) {
    throw invalidField("token.networks", `must be empty for the role ${role}, which is about the whole cluster`);
  }
  if (usesLeft > 0 && role !== "join") throw invalidField("token.uses_left", "is for the role join only");
  if (description.length > MAX_DESCRIPTION_CHARS) {
    throw invalidField("token.description", `must have at most ${MAX_DESCRIPTION_CHARS} characters`);
  }
  if (lifetimeMs !== undefined && (lifetimeMs < MIN_TOKEN_LIFETIME_MS || lifetimeMs > MAX_TOKEN_LIFETIME_MS)) {
    throw invalidField("lifetime", "must be between 1 s and 3660 days");
  }
  return { ...wanted, role };
}

function isExpired({ expireTimeMs }: Token, nowMs: number): boolean {
  return expireTimeMs !== undefined && expireTimeMs <= nowMs;
}

export class Tokens {
  readonly #store: Store;
  /** Where the last use is noted, which is no deed of anybody. */
  readonly #unrecorded: Store;
  readonly #touched = new Map<string, number>();

  constructor(store: Store, unrecorded: Store) {
    this.#store = store;
    this.#unrecorded = unrecorded;
  }

  /** @returns The token, and its secret, which is nowhere else. */
  async create(wanted: WantedToken): Promise<{ token: Token; secret: string }> {
    const { name, role, networks, description, usesLeft, lifetimeMs } = checked(wanted);
    const secret = newSecret();
    const token = await this.#store.transaction((tx) => {
      const nowMs = Date.now();
      const namesake = tx.getToken(name);
      if (namesake && !isExpired(namesake, nowMs)) {
        throw new ClusterError("already_exists", `there is a token ${name} already`, {
          resource: { type: "token", name },
        });
      }
      if (tx.count("token") >= MAX_TOKENS) {
        throw new ClusterError("resource_exhausted", `there are ${MAX_TOKENS} tokens: revoke some first`);
      }
      for (const network of networks) if (!tx.getNetwork(network)) throw notFound("network", network);
      return tx.put("token", {
        name,
        role,
        networks: [...new Set(networks)],
        description,
        hash: hashOf(secret),
        createTimeMs: nowMs,
        expireTimeMs: nowMs + (lifetimeMs ?? (role === "join" ? JOIN_TOKEN_LIFETIME_MS : TOKEN_LIFETIME_MS)),
        ...(usesLeft > 0 ? { usesLeft } : {}),
      });
    });
    return { token, secret };
  }

  /** @throws ClusterError `not_found` */
  async revoke(name: string): Promise<void> {
    validName("name", name);
    await this.#store.transaction((tx) => {
      if (!tx.getToken(name)) throw notFound("token", name);
      tx.delete("token", name);
    });
  }

  /** Notes that the token was used, at most once a minute. */
  noteUse(identity: Identity): void {
    if (identity.kind !== "token") return;
    const nowMs = Date.now();
    const { hash } = identity;
    if (nowMs - (this.#touched.get(hash) ?? 0) < LAST_USE_MS) return;
    this.#touched.set(hash, nowMs);
    if (this.#touched.size > MAX_TOKENS) this.#touched.clear();
    const note = (tx: StoreTransaction): void => {
      const token = tx.getTokenByHash(hash);
      if (token && (token.lastUseTimeMs ?? 0) < nowMs) tx.put("token", { ...token, lastUseTimeMs: nowMs });
    };
    // Not worth a failed call: the next use notes it again.
    this.#unrecorded.transaction(note).catch(() => this.#touched.delete(hash));
  }
}

/**
 * Takes one use of a join token.
 *
 * @throws ClusterError `unauthenticated` if it is gone, or none is left.
 */
export function takeUse(tx: StoreTransaction, hash: string): void {
  const token = tx.getTokenByHash(hash);
  if (!token || isExpired(token, Date.now())) throw unauthenticated("the token was revoked or used up");
  if (token.usesLeft === undefined) return;
  if (token.usesLeft > 1) tx.put("token", { ...token, usesLeft: token.usesLeft - 1 });
  else tx.delete("token", token.name);
}
