/**
 * The sessions of people who logged in with a token. In memory: they end with the process, and with their token, since
 * every call is authenticated with the token anew.
 *
 * The browser holds a random id in a cookie that scripts cannot read; only its hash is kept here. The id changes every
 * quarter of an hour; the one before stays good for calls that are under way.
 */
import { createHash, randomBytes } from "node:crypto";
import {
  MAX_SESSIONS,
  SESSION_GRACE_MS,
  SESSION_IDLE_MS,
  SESSION_LIFETIME_MS,
  SESSION_ROTATION_MS,
} from "../limits.js";

interface Session {
  readonly token: string;
  readonly since: number;
  usedAt: number;
  idSince: number;
  hash: string;
  previous: { readonly hash: string; readonly until: number } | undefined;
}

export class Sessions {
  readonly #byHash = new Map<string, Session>();
  readonly #now: () => number;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  get size(): number {
    return new Set(this.#byHash.values()).size;
  }

  /** @returns The id for the cookie. */
  open(token: string): string {
    this.#removeEnded();
    if (this.#byHash.size >= MAX_SESSIONS) this.#removeOldest();
    const id = newId();
    const now = this.#now();
    const session: Session = {
      token,
      since: now,
      usedAt: now,
      idSince: now,
      hash: hashOf(id),
      previous: undefined,
    };
    this.#byHash.set(session.hash, session);
    return id;
  }

  /** The token of the session with this id; undefined if there is none, or it has ended. Counts as a use. */
  tokenOf(id: string | undefined): string | undefined {
    const session = this.#find(id);
    if (!session) return undefined;
    session.usedAt = this.#now();
    return session.token;
  }

  /** A new id in place of one that has served its time; undefined if it may stay. */
  rotate(id: string): string | undefined {
    const session = this.#find(id);
    const now = this.#now();
    if (!session || session.hash !== hashOf(id) || now - session.idSince < SESSION_ROTATION_MS) return undefined;
    if (session.previous) this.#byHash.delete(session.previous.hash);
    session.previous = { hash: session.hash, until: now + SESSION_GRACE_MS };
    const next = newId();
    session.hash = hashOf(next);
    session.idSince = now;
    this.#byHash.set(session.hash, session);
    return next;
  }

  /** Idempotent. */
  close(id: string | undefined): void {
    const session = this.#find(id);
    if (session) this.#remove(session);
  }

  #find(id: string | undefined): Session | undefined {
    if (id === undefined || id === "") return undefined;
    const hash = hashOf(id);
    const session = this.#byHash.get(hash);
    if (!session) return undefined;
    const now = this.#now();
    if (this.#hasEnded(session, now)) {
      this.#remove(session);
      return undefined;
    }
    if (session.previous?.hash === hash && now > session.previous.until) return undefined;
    return session;
  }

  #hasEnded(session: Session, now: number): boolean {
    return now - session.since > SESSION_LIFETIME_MS || now - session.usedAt > SESSION_IDLE_MS;
  }

  #remove(session: Session): void {
    this.#byHash.delete(session.hash);
    if (session.previous) this.#byHash.delete(session.previous.hash);
  }

  #removeEnded(): void {
    const now = this.#now();
    for (const session of this.#byHash.values()) if (this.#hasEnded(session, now)) this.#remove(session);
  }

  #removeOldest(): void {
    const oldest = [...this.#byHash.values()].sort((a, b) => a.usedAt - b.usedAt)[0];
    if (oldest) this.#remove(oldest);
  }
}

function newId(): string {
  return randomBytes(32).toString("base64url");
}

function hashOf(id: string): string {
  return createHash("sha256").update(id).digest("base64url");
}
