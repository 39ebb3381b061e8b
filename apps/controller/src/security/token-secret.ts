/** The form of a token's secret, and the hash that is kept instead of it. Pure, but for the random numbers. */
import { createHash, randomBytes, timingSafeEqual } from "node:crypto";

const SECRET_BYTES = 32;
const PATTERN = /^(sf_[A-Za-z0-9_-]{43})(?:\.([0-9a-f]{64}))?$/;

export interface TokenSecret {
  /** Without the fingerprint: what the hash is of. */
  readonly secret: string;
  /** Of the cluster's authority; only join tokens carry it. */
  readonly authorityFingerprint?: string;
}

export function newSecret(): string {
  return `sf_${randomBytes(SECRET_BYTES).toString("base64url")}`;
}

/** As it is shown to the one who made a join token. */
export function joinSecret(secret: string, authorityFingerprint: string): string {
  return `${secret}.${authorityFingerprint}`;
}

/** Undefined for what cannot be a secret. */
export function parseSecret(text: string): TokenSecret | undefined {
  const match = PATTERN.exec(text);
  if (!match?.[1]) return undefined;
  return match[2] === undefined ? { secret: match[1] } : { secret: match[1], authorityFingerprint: match[2] };
}

/** SHA-256 in hex. The secret has 256 random bits: a slow hash would protect it no better. */
export function hashOf(secret: string): string {
  return createHash("sha256").update(secret).digest("hex");
}

export function isSameHash(one: string, other: string): boolean {
  const [a, b] = [Buffer.from(one, "hex"), Buffer.from(other, "hex")];
  return a.length === b.length && a.length > 0 && timingSafeEqual(a, b);
}
