/** When a certificate is renewed, and when a failed renewal is tried again. Pure: time and chance are passed in. */
import type { CertificateFacts } from "./credentials.js";

/** Renewal is due somewhere between these parts of a certificate's life: a cluster that was started at once must not renew at once. */
const EARLIEST_PART = 0.55;
const LATEST_PART = 0.7;

/** Between two attempts: a twentieth of the time that is left, within these bounds. */
const RETRY_PART = 1 / 20;
const RETRY_MIN_MS = 500;
const RETRY_MAX_MS = 5 * 60_000;

/**
 * @param receivedMs - when it came, by this node's clock: what it says itself begins before that, because clocks differ
 * @param random - in [0, 1)
 */
export function renewalTimeMs({ expireTimeMs }: CertificateFacts, receivedMs: number, random: number): number {
  const part = EARLIEST_PART + (LATEST_PART - EARLIEST_PART) * random;
  return receivedMs + Math.max(0, expireTimeMs - receivedMs) * part;
}

/** A node that is out looks for a join token this often. */
export const REJOIN_MS = 5_000;

/** @param random - in [0, 1) */
export function retryMs({ expireTimeMs }: CertificateFacts, nowMs: number, random: number): number {
  const wantedMs = (expireTimeMs - nowMs) * RETRY_PART;
  return Math.min(RETRY_MAX_MS, Math.max(RETRY_MIN_MS, wantedMs)) * (0.75 + random / 4);
}
