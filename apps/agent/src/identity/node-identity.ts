/**
 * Who this node is to the controllers: takes its credentials from the file, or joins with a token; renews them before
 * they end; has them for each new connection.
 *
 * Invariant: what {@link NodeIdentity.tls} gives is what is in the file. A renewal that fails leaves both as they are and
 * is tried again. Credentials that the cluster no longer accepts are replaced only with a join token.
 */
import { connectController, SlimFastError, type TlsOptions } from "@slimfast/client";
import type { Logger } from "pino";
import { messageOf } from "../errors.js";
import type { Clock } from "./clock.js";
import {
  type CertificateFacts,
  type Credentials,
  prepareDirectory,
  readCredentials,
  readFacts,
  writeCredentials,
} from "./credentials.js";
import { enroll, requireValid, type Trust } from "./enrollment.js";
import { isExplained, whileUnavailable } from "./explain.js";
import { createNodeKey } from "./node-key.js";
import { REJOIN_MS, renewalTimeMs, retryMs } from "./renewal-time.js";

export interface IdentityOptions {
  readonly node: string;
  /** `host:port` of the controllers, at least one. */
  readonly addresses: readonly string[];
  /** The file that keeps the credentials. */
  readonly path: string;
  readonly trust: Trust;
  /** Asked whenever one is needed; undefined: there is none. */
  readonly joinToken: () => Promise<string | undefined>;
  readonly clock: Clock;
  /** Time for a controller to answer. */
  readonly timeoutMs: number;
  readonly log: Logger;
}

/** What renews a certificate: AgentService of a client that has this identity. */
export interface Renewing {
  renewCertificate(request: { certificateRequest: Buffer }): Promise<{ certificate: string; authorities: string }>;
}

/** Codes with which the certificate will not be renewed any more. */
const REFUSALS: ReadonlySet<string> = new Set(["unauthenticated", "permission_denied"]);

export class NodeIdentity {
  readonly #options: IdentityOptions;
  readonly #stop = new AbortController();
  #credentials: Credentials;
  #facts: CertificateFacts;
  #renewMs: number;
  /** The cluster has refused the certificate. */
  #isRefused = false;
  #wake = new AbortController();
  #isStarted = false;

  private constructor(options: IdentityOptions, credentials: Credentials, receivedMs: number) {
    this.#options = options;
    this.#credentials = credentials;
    this.#facts = readFacts(credentials);
    this.#renewMs = renewalTimeMs(this.#facts, receivedMs, Math.random());
  }

  /**
   * The credentials of the file if the cluster accepts them, otherwise new ones against a join token.
   *
   * @throws SlimFastError that says what to do.
   */
  static async open(options: IdentityOptions): Promise<NodeIdentity> {
    const { clock, log, node, path } = options;
    const kept = await readCredentials(path);
    if (kept) {
      const identity = new NodeIdentity(options, kept, readFacts(kept).fromMs);
      const problem = await identity.#problem();
      if (!problem) return identity;
      if ((await options.joinToken()) === undefined) throw problem;
      log.warn({ reason: problem.message }, "the certificate is not accepted: joining again");
    }
    const credentials = await join(options);
    log.info({ node, path }, "joined the cluster");
    return new NodeIdentity(options, credentials, clock.nowMs());
  }

  /** When the certificate ends, by the wall clock. */
  get expireTimeMs(): number {
    return this.#facts.expireTimeMs;
  }

  /** For a new connection. */
  tls(): TlsOptions {
    const { certificate, privateKey, authorities } = this.#credentials;
    const { ca = "" } = this.#options.trust;
    return { ca: `${authorities.trim()}\n${ca}`, cert: certificate, key: privateKey };
  }

  /** To be called when a controller has answered that it does not accept the certificate (any more). */
  noteRefusal(): void {
    if (this.#isRefused) return;
    this.#isRefused = true;
    this.#wake.abort();
  }

  /**
   * Keeps the credentials valid until {@link close}.
   *
   * @param onReplaced - called when there are new ones: connections are to be made anew with them
   */
  start(renewing: Renewing, onReplaced: () => void): void {
    if (this.#isStarted) return;
    this.#isStarted = true;
    void this.#run(renewing, onReplaced);
  }

  /** What is under way is not waited for: its result still goes to the file, and to nothing else. May be called twice. */
  close(): void {
    this.#stop.abort();
    this.#wake.abort();
  }

  async #run(renewing: Renewing, onReplaced: () => void): Promise<void> {
    const { clock, log, node } = this.#options;
    let said = "";
    while (!this.#stop.signal.aborted) {
      const isUseless = this.#isRefused || clock.nowMs() >= this.#facts.expireTimeMs;
      if (!isUseless && clock.nowMs() < this.#renewMs) {
        await this.#pause(this.#renewMs - clock.nowMs());
        continue;
      }
      try {
        const credentials = isUseless ? await this.#rejoin() : await this.#renew(renewing);
        await writeCredentials(this.#options.path, credentials);
        if (this.#stop.signal.aborted) return;
        this.#adopt(credentials);
        log.info({ node, expireTime: new Date(this.#facts.expireTimeMs).toISOString() }, "certificate renewed");
        said = "";
        onReplaced();
      } catch (error) {
        if (this.#stop.signal.aborted) return;
        if (error instanceof SlimFastError && REFUSALS.has(error.code)) this.#isRefused = true;
        const reason = messageOf(error);
        if (reason !== said) log.error({ node, reason }, "the certificate cannot be renewed");
        said = reason;
        await this.#pause(this.#isRefused ? REJOIN_MS : retryMs(this.#facts, clock.nowMs(), Math.random()));
      }
    }
  }

  #adopt(credentials: Credentials): void {
    this.#credentials = credentials;
    this.#facts = readFacts(credentials);
    this.#renewMs = renewalTimeMs(this.#facts, this.#options.clock.nowMs(), Math.random());
    this.#isRefused = false;
  }

  async #renew(renewing: Renewing): Promise<Credentials> {
    const { privateKey, certificateRequest } = await createNodeKey();
    const request = { certificateRequest: Buffer.from(certificateRequest) };
    const { certificate, authorities } = await renewing.renewCertificate(request);
    const credentials = { privateKey, certificate, authorities };
    requireValid(readFacts(credentials), this.#options.clock.nowMs());
    return credentials;
  }

  /** @throws SlimFastError `unauthenticated` if there is no token to join with. */
  async #rejoin(): Promise<Credentials> {
    if ((await this.#options.joinToken()) === undefined) throw this.#useless(this.#isRefused ? "revoked" : "expired");
    return (await enroll(await enrolling(this.#options))).credentials;
  }

  /** Ends early when something has happened. */
  async #pause(ms: number): Promise<void> {
    if (this.#wake.signal.aborted && !this.#stop.signal.aborted) this.#wake = new AbortController();
    await this.#options.clock.pause(ms, this.#wake.signal);
  }

  /** Why the kept credentials cannot be used; undefined if they can, or if no controller is there to say so. */
  async #problem(): Promise<SlimFastError | undefined> {
    const { node, path, clock, addresses, timeoutMs } = this.#options;
    if (this.#facts.node !== node) {
      const reason = `${path} has the certificate of node ${this.#facts.node}, not of ${node}: choose another --state-dir`;
      throw new SlimFastError("failed_precondition", reason);
    }
    if (clock.nowMs() >= this.#facts.expireTimeMs) return this.#useless("expired");
    const client = connectController({ address: addresses, tls: () => this.tls(), retry: { maxAttempts: 1 } });
    try {
      await whileUnavailable(() => client.access.whoAmI({}), { clock, timeoutMs });
      return undefined;
    } catch (error) {
      if (error instanceof SlimFastError && error.code === "unauthenticated") return this.#useless("revoked");
      // A controller that is away is waited for by whoever opens the stream, and said by it.
      if (error instanceof SlimFastError && error.code === "unavailable" && !isExplained(error)) return undefined;
      throw error;
    } finally {
      client.close();
    }
  }

  #useless(why: "revoked" | "expired"): SlimFastError {
    const { node, path } = this.#options;
    const until = new Date(this.#facts.expireTimeMs).toISOString();
    const what = why === "expired" ? `has expired at ${until}` : "was revoked, or is another cluster's";
    return new SlimFastError(
      "unauthenticated",
      `the certificate of node ${node} in ${path} ${what}: join again with the command that slimfast node join-command prints`,
    );
  }
}

async function enrolling(options: IdentityOptions) {
  const { node, addresses, trust, clock, timeoutMs, path } = options;
  const joinToken = await options.joinToken();
  if (joinToken === undefined) {
    throw new SlimFastError(
      "failed_precondition",
      `node ${node} has no certificate in ${path}, and there is no join token to get one: add --join-token or ` +
        "--join-token-file, as slimfast node join-command prints it",
    );
  }
  return { node, addresses, trust, clock, timeoutMs, joinToken };
}

/** Where the file goes has to be there before a token is used up. */
async function join(options: IdentityOptions): Promise<Credentials> {
  const request = await enrolling(options);
  await prepareDirectory(options.path);
  const { credentials } = await enroll(request);
  await writeCredentials(options.path, credentials);
  return credentials;
}
