/**
 * From what a caller shows to who it is. What it shows wins over where it comes from: a wrong token is refused on the
 * unix socket, too.
 */
import type { Metadata } from "nice-grpc";
import type { NodeCertificates, Token } from "../domain/resources.js";
import { type Identity, unauthenticated } from "./identity.js";
import { MAX_AUTHORIZATION_CHARS } from "./limits.js";
import type { Peer } from "./peer.js";
import { hashOf, isSameHash, parseSecret } from "./token-secret.js";
import { readCertificate } from "./x509.js";

/** What has to be looked up; all of it from memory. */
export interface AccessLookups {
  tokenByHash(hash: string): Token | undefined;
  certificatesOf(node: string): NodeCertificates | undefined;
}

export class Authenticator {
  readonly #lookups: AccessLookups;

  constructor(lookups: AccessLookups) {
    this.#lookups = lookups;
  }

  /** @throws ClusterError `unauthenticated` if there are credentials, and they are not valid. */
  authenticate(metadata: Pick<Metadata, "getAll">, peer: Peer): Identity {
    const authorization = metadata.getAll("authorization");
    if (authorization.length > 0) return this.#byAuthorization(authorization);
    if (peer.certificate) return this.#byCertificate(peer.certificate);
    return peer.listener === "unix" ? { kind: "local" } : { kind: "unknown" };
  }

  /**
   * The token with this secret.
   *
   * @throws ClusterError `unauthenticated`
   */
  token(text: string): Token {
    const parsed = text.length <= MAX_AUTHORIZATION_CHARS ? parseSecret(text) : undefined;
    const hash = parsed && hashOf(parsed.secret);
    const token = hash === undefined ? undefined : this.#lookups.tokenByHash(hash);
    if (!token || hash === undefined || !isSameHash(token.hash, hash)) {
      throw unauthenticated("the token is wrong, or was revoked or used up");
    }
    if (hasExpired(token)) throw unauthenticated(`the token ${token.name} has expired`);
    return token;
  }

  /** Why the identity, which was recognised before, is not valid any more; undefined if it still is. */
  invalidity(identity: Identity): string | undefined {
    switch (identity.kind) {
      case "local":
      case "unknown":
        return undefined;
      case "token": {
        const token = this.#lookups.tokenByHash(identity.hash);
        if (!token) return `the token ${identity.name} was revoked`;
        return hasExpired(token) ? `the token ${identity.name} has expired` : undefined;
      }
      // Its key is in its memory only; that the certificate was valid when it connected is enough.
      case "controller":
        return undefined;
      case "node":
        return this.#certificateProblem(identity);
    }
  }

  #byAuthorization(values: readonly (string | Uint8Array)[]): Identity {
    const [value, ...others] = values;
    const match = typeof value === "string" ? /^Bearer +(\S+)$/i.exec(value) : null;
    if (!match?.[1] || others.length > 0) {
      throw unauthenticated('the metadata "authorization" must be "Bearer TOKEN", once');
    }
    const { name, hash, role, networks, expireTimeMs } = this.token(match[1]);
    return { kind: "token", name, hash, role, networks, ...(expireTimeMs === undefined ? {} : { expireTimeMs }) };
  }

  #byCertificate(der: Uint8Array): Identity {
    const facts = readCertificate(der);
    if (!facts) throw unauthenticated("the client certificate is not for a node of this cluster");
    const { holder, name, serial, expireTimeMs } = facts;
    const identity: Identity = { kind: holder, name, serial, expireTimeMs };
    const problem = this.invalidity(identity);
    if (problem !== undefined) throw unauthenticated(problem);
    return identity;
  }

  /**
   * A certificate must be one that is remembered: what was revoked is forgotten. A connection that was made while it was
   * valid lives on with the ones that it was renewed to.
   */
  #certificateProblem({ name, serial }: { name: string; serial: string }): string | undefined {
    const known = this.#lookups.certificatesOf(name)?.certificates ?? [];
    if (!known.some((one) => one.serial === serial)) {
      return `the certificate of node ${name} was revoked or has expired: the node must join again`;
    }
    return known.some(({ expireTimeMs }) => expireTimeMs > Date.now())
      ? undefined
      : `the certificate of node ${name} has expired: the node must join again`;
  }
}

function hasExpired({ expireTimeMs }: Pick<Token, "expireTimeMs">): boolean {
  return expireTimeMs !== undefined && expireTimeMs <= Date.now();
}
