/**
 * The cluster's own authority at work: made at the first start, rotated when it grows old; it signs
 * nodes, and this controller's own certificate, which it renews while the controller runs.
 */
import { randomBytes } from "node:crypto";
import { checkServerIdentity, rootCertificates } from "node:tls";
import { ChannelCredentials } from "@grpc/grpc-js";
import type { Logger } from "pino";
import { ClusterError } from "../errors.js";
import type { Store } from "../store/store.js";
import { type AuthorityPlan, bundleOf, needsSuccessor, type PlannedAuthority, planAuthorities } from "./authorities.js";
import { AUTHORITY_LIFETIME_MS, CERTIFICATE_RENEWAL_PART, MAX_TIMER_MS, RENEWAL_RETRY_MS } from "./limits.js";
import { RenewableServerCredentials, type ServerTls } from "./server-credentials.js";
import {
  createAuthority,
  issueControllerCertificate,
  issueNodeCertificate,
  loadX509,
  type NodeCertificateIssued,
  type VerifiedRequest,
} from "./x509.js";

export interface ClusterAuthorityOptions {
  readonly store: Store;
  readonly log: Logger;
  /** Life of the certificates that it signs. */
  readonly certificateLifetimeMs: number;
  /** Host names and addresses of this controller. */
  readonly names: readonly string[];
  /** A certificate that the operator has from elsewhere, for the server only. */
  readonly ownCertificate?: { readonly chain: string; readonly privateKey: string };
}

type ConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;
type Connector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

class PeerCredentials extends ChannelCredentials {
  readonly #make: () => ChannelCredentials;

  constructor(make: () => ChannelCredentials) {
    super();
    this.#make = make;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: ConnectorArguments): Connector {
    const first = this.#make()._createSecureConnector(...args);
    return {
      connect: async (socket) =>
        this.#make()
          ._createSecureConnector(...args)
          .connect(socket),
      waitForReady: () => first.waitForReady(),
      getCallCredentials: () => first.getCallCredentials(),
      destroy: () => first.destroy(),
    };
  }
}

type ControllerCertificate = Awaited<ReturnType<typeof issueControllerCertificate>>;

export class ClusterAuthority {
  readonly #options: ClusterAuthorityOptions;
  readonly #stopListening: () => void;
  #credentials: RenewableServerCredentials | undefined;
  readonly #listeners = new Set<(tls: ServerTls) => void>();
  #own: ControllerCertificate | undefined;
  #timer: NodeJS.Timeout | undefined;
  #refreshing: Promise<void> | undefined;
  #isClosed = false;

  private constructor(options: ClusterAuthorityOptions) {
    this.#options = options;
    this.#stopListening = options.store.onCommit(({ changes }) => {
      if (changes.some(({ kind }) => kind === "authority")) this.#refreshSoon();
    });
  }

  static async open(options: ClusterAuthorityOptions): Promise<ClusterAuthority> {
    await loadX509();
    const authority = new ClusterAuthority(options);
    try {
      if (options.store.count("authority") === 0) await authority.#create((count) => count === 0);
      await authority.#refresh();
      return authority;
    } catch (error) {
      authority.close();
      throw error;
    }
  }

  /** All authorities that nodes and controllers trust now, in PEM. */
  get bundle(): string {
    return bundleOf(this.#plan());
  }

  /** Of the authority that signs now. */
  get fingerprint(): string {
    return this.#plan().signing.fingerprint;
  }

  /** The signing one first. */
  get trusted(): readonly PlannedAuthority[] {
    return this.#plan().trusted;
  }

  /**
   * Makes the next authority: trusted from now on, signing after one life of certificates.
   *
   * @throws ClusterError `failed_precondition` while an earlier one follows another.
   */
  async rotate(): Promise<PlannedAuthority> {
    const before = new Set(this.trusted.map(({ name }) => name));
    // Those that are retired are still there until the next refresh.
    const isWanted = () => this.#plan().trusted.length === 1;
    if (!isWanted() || !(await this.#create(isWanted))) throw rotating(this.#plan());
    const made = this.trusted.find(({ name }) => !before.has(name));
    if (!made) throw new ClusterError("unavailable", "the authority that was made is gone again");
    return made;
  }

  /** Of the listeners with TLS; they follow every renewal. */
  serverCredentials(): RenewableServerCredentials {
    this.#credentials ??= new RenewableServerCredentials(this.serverTls);
    return this.#credentials;
  }

  /** The certificate of the listeners with TLS, for a server that is none of gRPC's. */
  get serverTls(): ServerTls {
    const { ownCertificate } = this.#options;
    const clientAuthorities = this.bundle;
    if (ownCertificate) return { ...ownCertificate, clientAuthorities };
    const { certificate, privateKey } = this.#ownCertificate();
    // The authority itself is sent along: a joining node picks it by its fingerprint.
    const chain = `${certificate.trim()}\n${this.#plan().signing.certificate.trim()}\n`;
    return { chain, privateKey, clientAuthorities };
  }

  /** @returns What ends it. */
  onRenewed(listener: (tls: ServerTls) => void): () => void {
    this.#listeners.add(listener);
    return () => void this.#listeners.delete(listener);
  }

  /** For calls to another controller of the cluster; each connection is made with the certificate of its time. */
  peerCredentials(host: string): ChannelCredentials {
    return new PeerCredentials(() => {
      const own = this.#ownCertificate();
      const [ca, key, certificate] = [this.#peerAuthorities(), own.privateKey, own.certificate].map((pem) =>
        Buffer.from(pem),
      );
      return ChannelCredentials.createSsl(ca, key, certificate, {
        checkServerIdentity: (_, theirs) => checkServerIdentity(host, theirs),
      });
    });
  }

  /** The other controllers have certificates from where this one has its own. */
  #peerAuthorities(): string {
    const { ownCertificate } = this.#options;
    return ownCertificate ? [this.bundle, ownCertificate.chain, ...rootCertificates].join("\n") : this.bundle;
  }

  issueNode(node: string, request: VerifiedRequest): Promise<NodeCertificateIssued> {
    const validity = { nowMs: Date.now(), lifetimeMs: this.#options.certificateLifetimeMs };
    return issueNodeCertificate(this.#plan().signing, node, request, validity);
  }

  close(): void {
    this.#isClosed = true;
    this.#stopListening();
    clearTimeout(this.#timer);
  }

  #plan(): AuthorityPlan {
    const { store, certificateLifetimeMs } = this.#options;
    const plan = planAuthorities(store.list("authority", { limit: -1 }), Date.now(), certificateLifetimeMs);
    if (!plan) throw new ClusterError("unavailable", "the cluster has no authority");
    return plan;
  }

  /** @returns Whether it was made: not if another controller was faster. */
  async #create(isWanted: (count: number) => boolean): Promise<boolean> {
    const createTimeMs = Date.now();
    const name = `authority-${randomBytes(6).toString("hex")}`;
    const made = await createAuthority(createTimeMs);
    return this.#options.store.transaction((tx) => {
      if (!isWanted(tx.list("authority", { limit: -1 }).length)) return false;
      tx.put("authority", { name, ...made, createTimeMs });
      return true;
    });
  }

  #ownCertificate(): ControllerCertificate {
    if (!this.#own) throw new ClusterError("unavailable", "the controller has no certificate yet");
    return this.#own;
  }

  #refreshSoon(): void {
    this.#refreshing ??= this.#refresh()
      .catch((error: unknown) => {
        this.#options.log.error({ err: error }, "the controller's certificate could not be renewed");
        this.#schedule(RENEWAL_RETRY_MS);
      })
      .finally(() => {
        this.#refreshing = undefined;
      });
  }

  /** Does what is due: a successor, the end of retired authorities, a new certificate of its own. */
  async #refresh(): Promise<void> {
    const { store, names, certificateLifetimeMs, log } = this.#options;
    const authorities = store.list("authority", { limit: -1 });
    if (authorities.length === 1 && needsSuccessor(authorities, Date.now(), AUTHORITY_LIFETIME_MS)) {
      await this.#create((count) => count === 1);
    }
    const plan = this.#plan();
    if (plan.retired.length > 0) {
      await store.transaction((tx) => {
        for (const { name } of plan.retired) tx.delete("authority", name);
      });
    }
    const nowMs = Date.now();
    const own = await issueControllerCertificate(
      plan.signing,
      { id: store.controllerId, names },
      { nowMs, lifetimeMs: certificateLifetimeMs },
    );
    this.#own = own;
    const tls = this.serverTls;
    this.#credentials?.renew(tls);
    for (const listener of this.#listeners) listener(tls);
    log.debug({ expireTime: new Date(own.expireTimeMs).toISOString() }, "certificate of the controller renewed");
    const renewMs = (own.expireTimeMs - nowMs) * CERTIFICATE_RENEWAL_PART;
    this.#schedule(Math.min(renewMs, (plan.nextChangeMs ?? Number.POSITIVE_INFINITY) - nowMs));
  }

  #schedule(delayMs: number): void {
    if (this.#isClosed) return;
    clearTimeout(this.#timer);
    const waitMs = Math.min(Math.max(delayMs, 1), MAX_TIMER_MS);
    this.#timer = setTimeout(() => this.#refreshSoon(), waitMs).unref();
  }
}

function rotating({ nextChangeMs = 0 }: AuthorityPlan): ClusterError {
  const until = new Date(nextChangeMs).toISOString();
  return new ClusterError(
    "failed_precondition",
    `a rotation of the authority is under way: its next step is due at ${until}; wait until one authority is left`,
    { precondition: { type: "ROTATION_UNDER_WAY", subject: "authority" } },
  );
}
