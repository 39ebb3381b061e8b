/**
 * Which of the cluster's authorities signs, and which are trusted, at a given time. Pure.
 *
 * A new authority is trusted from the moment it is made, but signs only after one lifetime of certificates: by then every
 * agent has renewed, and has it in its bundle. The one before stays trusted until the last certificate that it signed
 * has ended. So the phases follow from the times at which the authorities were made, and every controller of the
 * cluster comes to the same ones.
 */
import type { Authority } from "../domain/resources.js";
import { AUTHORITY_RENEWAL_MS } from "./limits.js";
import { fingerprintOf, type KeyedCertificate } from "./x509.js";

export interface PlannedAuthority extends KeyedCertificate {
  readonly name: string;
  readonly fingerprint: string;
  readonly createTimeMs: number;
  readonly signsFromMs: number;
  /** When it is trusted no more; undefined: as long as no other follows it. */
  readonly trustedUntilMs?: number;
}

export interface AuthorityPlan {
  readonly signing: PlannedAuthority;
  /** The signing one first, then the others, the newest first. */
  readonly trusted: readonly PlannedAuthority[];
  /** Trusted no more: to be deleted. */
  readonly retired: readonly PlannedAuthority[];
  /** When this plan has to be made anew; undefined: it holds until another authority is made. */
  readonly nextChangeMs?: number;
}

function planned(authorities: readonly Authority[], certificateLifetimeMs: number): PlannedAuthority[] {
  const sorted = authorities.toSorted((a, b) => a.createTimeMs - b.createTimeMs || (a.name < b.name ? -1 : 1));
  const signsFrom = (index: number): number => {
    const createTimeMs = sorted[index]?.createTimeMs ?? 0;
    return index === 0 ? createTimeMs : createTimeMs + certificateLifetimeMs;
  };
  return sorted.map(({ name, certificate, privateKey, createTimeMs }, index) => ({
    name,
    certificate,
    privateKey,
    createTimeMs,
    fingerprint: fingerprintOf(certificate),
    signsFromMs: signsFrom(index),
    ...(index + 1 < sorted.length ? { trustedUntilMs: signsFrom(index + 1) + certificateLifetimeMs } : {}),
  }));
}

/** @returns undefined if there is no authority at all. */
export function planAuthorities(
  authorities: readonly Authority[],
  nowMs: number,
  certificateLifetimeMs: number,
): AuthorityPlan | undefined {
  const all = planned(authorities, certificateLifetimeMs);
  const signing = all.findLast(({ signsFromMs }) => signsFromMs <= nowMs) ?? all[0];
  if (!signing) return undefined;
  const isTrusted = ({ trustedUntilMs }: PlannedAuthority) => trustedUntilMs === undefined || trustedUntilMs > nowMs;
  const others = all.filter((one) => one !== signing && isTrusted(one)).reverse();
  const changes = all
    .flatMap(({ signsFromMs, trustedUntilMs }) => [signsFromMs, trustedUntilMs ?? 0])
    .filter((timeMs) => timeMs > nowMs);
  return {
    signing,
    trusted: [signing, ...others],
    retired: all.filter((one) => one !== signing && !isTrusted(one)),
    ...(changes.length > 0 ? { nextChangeMs: Math.min(...changes) } : {}),
  };
}

/** Whether the newest authority is so old that another has to be made. */
export function needsSuccessor(authorities: readonly Authority[], nowMs: number, lifetimeMs: number): boolean {
  const newest = Math.max(...authorities.map(({ createTimeMs }) => createTimeMs));
  return newest + lifetimeMs - nowMs < AUTHORITY_RENEWAL_MS;
}

/** All trusted certificates in one PEM. */
export function bundleOf(plan: AuthorityPlan): string {
  return plan.trusted.map(({ certificate }) => `${certificate.trim()}\n`).join("");
}
