/**
 * Why a TLS connection to a controller failed, for the one who runs the agent; and which failures pass by themselves.
 *
 * gRPC hands a failed handshake on as text, so this is the one place that looks at the wording: it only makes a message
 * clearer, and ends attempts that cannot succeed.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { SlimFastError } from "@slimfast/client";
import type { Clock } from "./clock.js";

const ATTEMPT_PAUSE_MS = 250;

const CAUSES: readonly { readonly pattern: RegExp; readonly explain: (nowMs: number) => string }[] = [
  {
    pattern: /certificate is not yet valid/i,
    explain: (nowMs) =>
      `the controller's certificate is not valid yet by the clock of this node, which says ${timeOf(nowMs)}: set the clock`,
  },
  {
    pattern: /certificate has expired/i,
    explain: (nowMs) =>
      `the controller's certificate has expired by the clock of this node, which says ${timeOf(nowMs)}: set the clock, or ` +
      "renew the certificate of --tls-cert",
  },
  {
    pattern: /unable to (verify|get)|self-signed certificate|certificate signature failure/i,
    explain: () =>
      "the controller's certificate is signed by an authority that this node does not trust: check --controller, " +
      "--ca-file and --ca-pin; a node of another cluster has to be removed there and to join here",
  },
  {
    pattern: /does not match certificate's altnames/i,
    explain: () =>
      "the controller's certificate is for other names than this address: start the controller with --advertise ADDRESS",
  },
  {
    pattern: /wrong version number|disconnected before secure TLS connection/i,
    explain: () => "what listens there does not speak TLS: start the controller with --tls",
  },
];

function timeOf(nowMs: number): string {
  return new Date(nowMs).toISOString();
}

/** Whether {@link explained} has found what is the matter: trying again cannot help then. */
export function isExplained(error: SlimFastError): boolean {
  return error.cause instanceof SlimFastError;
}

/** The same failure, with what to do about it where that is known. */
export function explained(error: unknown, nowMs: number): unknown {
  if (!(error instanceof SlimFastError) || error.code !== "unavailable") return error;
  const found = CAUSES.find(({ pattern }) => pattern.test(error.message));
  if (!found) return error;
  return new SlimFastError(error.code, `${error.message}: ${found.explain(nowMs)}`, { cause: error });
}

/**
 * Repeats a call that reached no controller.
 *
 * @throws What the call threw last, explained.
 */
export async function whileUnavailable<Result>(
  call: () => Promise<Result>,
  { clock, timeoutMs }: { readonly clock: Clock; readonly timeoutMs: number },
): Promise<Result> {
  const deadlineMs = performance.now() + timeoutMs;
  for (;;) {
    try {
      return await call();
    } catch (error) {
      const reason = explained(error, clock.nowMs());
      const isPassing = reason === error && error instanceof SlimFastError && error.code === "unavailable";
      if (!isPassing || performance.now() >= deadlineMs) throw reason;
    }
    await sleep(ATTEMPT_PAUSE_MS);
  }
}
