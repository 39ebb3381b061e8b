/** How a machine becomes a node: a join token against a certificate, over TLS to a controller that is recognised first. */
import { connectController, SlimFastError } from "@slimfast/client";
import { messageOf } from "../errors.js";
import type { Clock } from "./clock.js";
import { type CertificateFacts, type Credentials, readFacts } from "./credentials.js";
import { whileUnavailable } from "./explain.js";
import { createNodeKey } from "./node-key.js";

/** How the joining side recognises the cluster; at least one of the two, or a join token that carries the pin. */
export interface Trust {
  /** Authorities of the controllers' certificates, in PEM. */
  readonly ca?: string;
  /** SHA-256 of the cluster's authority, in hex. */
  readonly pin?: string;
}

export interface Enrolling {
  readonly node: string;
  /** `host:port` each. */
  readonly addresses: readonly string[];
  readonly joinToken: string;
  readonly trust: Trust;
  readonly clock: Clock;
  /** Time for a controller to answer. */
  readonly timeoutMs: number;
}

/** "SECRET.PIN", as the controller shows a join token; the pin may be missing. */
export function readJoinToken(text: string): { readonly secret: string; readonly pin?: string } {
  const match = /^(sf_[A-Za-z0-9_-]{43})(?:\.([0-9a-f]{64}))?$/.exec(text.trim());
  if (!match?.[1]) {
    throw new SlimFastError(
      "invalid_argument",
      "the join token is malformed: make one with slimfast node join-command",
    );
  }
  return match[2] === undefined ? { secret: match[1] } : { secret: match[1], pin: match[2] };
}

/**
 * @throws SlimFastError `invalid_argument` if nothing says by what to recognise the cluster; what the controller says
 *   otherwise, with what to do about it.
 */
export async function enroll(options: Enrolling): Promise<{ credentials: Credentials; facts: CertificateFacts }> {
  const { node, addresses, trust, clock } = options;
  const token = readJoinToken(options.joinToken);
  const pin = trust.pin ?? token.pin;
  if (trust.ca === undefined && pin === undefined) {
    throw new SlimFastError("invalid_argument", "nothing says which cluster this is: add --ca-pin or --ca-file");
  }
  const tls = trust.ca === undefined ? { fingerprint: pin ?? "" } : { ca: trust.ca };
  const client = connectController({ address: addresses, tls, retry: { maxAttempts: 1 } });
  try {
    const { privateKey, certificateRequest } = await createNodeKey();
    const request = { node, joinToken: token.secret, certificateRequest: Buffer.from(certificateRequest) };
    const answer = await whileUnavailable(() => client.enrollment.enrollNode(request), options);
    const credentials = { privateKey, certificate: answer.certificate, authorities: answer.authorities };
    const facts = readFacts(credentials);
    requireValid(facts, clock.nowMs());
    return { credentials, facts };
  } catch (error) {
    throw refusal(error, node);
  } finally {
    client.close();
  }
}

/** @throws SlimFastError `failed_precondition` if a certificate that has just been made is not valid by this node's clock. */
export function requireValid({ fromMs, expireTimeMs }: CertificateFacts, nowMs: number): void {
  if (fromMs <= nowMs && nowMs < expireTimeMs) return;
  const [now, from, until] = [nowMs, fromMs, expireTimeMs].map((ms) => new Date(ms).toISOString());
  throw new SlimFastError(
    "failed_precondition",
    `the clocks of this node and of the controller differ: it is ${now} here, and the new certificate is valid from ` +
      `${from} to ${until}: set the clock, revoke the node's certificates, and join again`,
  );
}

function refusal(error: unknown, node: string): unknown {
  if (!(error instanceof SlimFastError)) return error;
  return new SlimFastError(error.code, `node ${node} cannot join: ${messageOf(error)}${advice(error)}`, {
    details: error.details,
    cause: error,
  });
}

function advice({ code, cause }: SlimFastError): string {
  if (code !== "unauthenticated" && code !== "permission_denied") return "";
  // What the client itself has found, without a word of the controller's.
  if (cause === undefined)
    return ": check --controller and --ca-pin, or make a new command with slimfast node join-command";
  return ": make another one with slimfast node join-command";
}
