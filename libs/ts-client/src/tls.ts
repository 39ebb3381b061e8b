/** From TLS options to gRPC's credentials. Where only a fingerprint is known, the server is asked for its authority first. */
import { createHash, X509Certificate } from "node:crypto";
import { isIP } from "node:net";
import { checkServerIdentity, connect, type DetailedPeerCertificate, type TLSSocket } from "node:tls";
import { ChannelCredentials } from "nice-grpc";
import type { ServerAddress } from "./address.js";
import { SlimFastError } from "./errors.js";
import { CERTIFICATE_LOOK_MS } from "./limits.js";
import type { TlsOptions } from "./options.js";

/** Sent where only an IP address is known; no certificate has it (RFC 2606). */
const NO_NAME = "slimfast.invalid";

/** Options, or where to ask for them whenever a connection is made. */
export type TlsSource = TlsOptions | (() => TlsOptions);

export function currentTls(source: TlsSource): TlsOptions {
  return typeof source === "function" ? source() : source;
}

/** @throws SlimFastError `invalid_argument` if the options contradict each other or are no PEM. */
export function checkTlsOptions(tls: TlsOptions): void {
  if ((tls.cert === undefined) !== (tls.key === undefined)) {
    throw refused("tls.cert and tls.key belong together: one of them is missing", tls.cert ? "tls.key" : "tls.cert");
  }
  if (tls.fingerprint !== undefined) parseFingerprint(tls.fingerprint);
  for (const field of ["ca", "cert"] as const) {
    const pem = tls[field];
    if (pem === undefined) continue;
    try {
      new X509Certificate(pem);
    } catch (cause) {
      throw refused(`tls.${field} is no certificate in PEM`, `tls.${field}`, cause);
    }
  }
}

/**
 * Credentials for a channel to `address`.
 *
 * @throws SlimFastError `unauthenticated` if the server has no authority with the wanted fingerprint, `unavailable` if it
 *   cannot be asked.
 */
export async function credentialsFor(
  address: ServerAddress,
  source: TlsSource | undefined,
): Promise<ChannelCredentials> {
  if (!source || address.kind === "unix") return ChannelCredentials.createInsecure();
  const first = await withAuthority(address, currentTls(source));
  const credentials = createCredentials(address.host, first);
  if (typeof source !== "function") return credentials;
  // The authority that a fingerprint has led to stays the same; what else there is may change.
  return new RenewableCredentials(credentials, () => createCredentials(address.host, { ...first, ...source() }));
}

async function withAuthority(address: ServerAddress & { kind: "tcp" }, tls: TlsOptions): Promise<TlsOptions> {
  if (tls.ca !== undefined || tls.fingerprint === undefined) return tls;
  return { ...tls, ca: await fetchAuthority(address.text, tls.fingerprint, address) };
}

type SecureConnectorArguments = Parameters<ChannelCredentials["_createSecureConnector"]>;
type SecureConnector = ReturnType<ChannelCredentials["_createSecureConnector"]>;

/** Credentials that are made anew for each connection. */
class RenewableCredentials extends ChannelCredentials {
  readonly #first: ChannelCredentials;
  readonly #make: () => ChannelCredentials;

  constructor(first: ChannelCredentials, make: () => ChannelCredentials) {
    super();
    this.#first = first;
    this.#make = make;
  }

  override _isSecure(): boolean {
    return true;
  }

  override _equals(other: ChannelCredentials): boolean {
    return this === other;
  }

  override _createSecureConnector(...args: SecureConnectorArguments): SecureConnector {
    const first = this.#first._createSecureConnector(...args);
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

function createCredentials(host: string, { ca, key, cert, serverName }: TlsOptions): ChannelCredentials {
  try {
    return ChannelCredentials.createSsl(toBuffer(ca), toBuffer(key), toBuffer(cert), {
      // Not what gRPC gives: see tlsChannelOptions.
      checkServerIdentity: (_name, certificate) => checkServerIdentity(serverName ?? host, certificate),
    });
  } catch (cause) {
    throw refused("tls.cert and tls.key cannot be used: they are not a certificate and its key", "tls.key", cause);
  }
}

/**
 * The name that is sent in the handshake (SNI). It must not be an IP address (RFC 6066), which gRPC would send; which name the
 * certificate has to have is `credentialsFor`'s business.
 */
export function tlsChannelOptions(address: ServerAddress, source: TlsSource | undefined): Record<string, string> {
  if (!source || address.kind === "unix") return {};
  const tls = currentTls(source);
  const name = tls.serverName ?? address.host;
  return { "grpc.ssl_target_name_override": isIP(name) === 0 ? name : NO_NAME };
}

async function fetchAuthority(text: string, fingerprint: string, address: ServerAddress & { kind: "tcp" }) {
  const wanted = parseFingerprint(fingerprint);
  const chain = await certificateChain(address);
  const found = chain.find((der) => createHash("sha256").update(der).digest("hex") === wanted);
  if (!found) {
    throw new SlimFastError(
      "unauthenticated",
      `${text} is not the cluster that the fingerprint names: none of its ${chain.length} certificates has it`,
    );
  }
  return new X509Certificate(found).toString();
}

/**
 * What the server sends before anything is trusted. Nothing is sent to it; the connection that follows verifies the whole
 * chain against the certificate that was picked by its fingerprint.
 */
function certificateChain(address: ServerAddress & { kind: "tcp" }): Promise<Buffer[]> {
  const { host, port, text } = address;
  return new Promise((resolve, reject) => {
    const socket = connect({
      host,
      port,
      rejectUnauthorized: false,
      ALPNProtocols: ["h2"],
      ...(isIP(host) === 0 ? { servername: host } : {}),
    });
    const fail = (reason: string, cause?: unknown) => {
      socket.destroy();
      reject(new SlimFastError("unavailable", `${text} is unavailable: ${reason}`, { cause }));
    };
    socket.setTimeout(CERTIFICATE_LOOK_MS, () => fail(`no TLS handshake within ${CERTIFICATE_LOOK_MS} ms`));
    socket.once("error", (error) => fail(error.message, error));
    socket.once("secureConnect", () => {
      const chain = readChain(socket);
      socket.destroy();
      resolve(chain);
    });
  });
}

function readChain(socket: TLSSocket): Buffer[] {
  const chain: Buffer[] = [];
  const seen = new Set<string>();
  let certificate: DetailedPeerCertificate | undefined = socket.getPeerCertificate(true);
  // The authority at the end is its own issuer.
  while (certificate?.raw && !seen.has(certificate.fingerprint256)) {
    seen.add(certificate.fingerprint256);
    chain.push(certificate.raw);
    certificate = certificate.issuerCertificate;
  }
  return chain;
}

/** 64 hex digits in lower case. */
function parseFingerprint(text: string): string {
  const hex = text.replaceAll(":", "").toLowerCase();
  if (!/^[0-9a-f]{64}$/.test(hex)) throw refused("tls.fingerprint is not a SHA-256 in hex", "tls.fingerprint");
  return hex;
}

function toBuffer(pem: string | Uint8Array | undefined): Buffer | undefined {
  return pem === undefined ? undefined : Buffer.from(pem);
}

function refused(message: string, field: string, cause?: unknown): SlimFastError {
  return new SlimFastError("invalid_argument", message, {
    details: { fieldViolations: [{ field, description: message }] },
    cause,
  });
}
