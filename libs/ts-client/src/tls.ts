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
export async function credentialsFor(address: ServerAddress, tls: TlsOptions | undefined): Promise<ChannelCredentials> {
  if (!tls || address.kind === "unix") return ChannelCredentials.createInsecure();
  const ca =
    tls.ca ??
    (tls.fingerprint === undefined ? undefined : await fetchAuthority(address.text, tls.fingerprint, address));
  try {
    return ChannelCredentials.createSsl(toBuffer(ca), toBuffer(tls.key), toBuffer(tls.cert), {
      // Not what gRPC gives: see tlsChannelOptions.
      checkServerIdentity: (_name, certificate) => checkServerIdentity(tls.serverName ?? address.host, certificate),
    });
  } catch (cause) {
    throw refused("tls.cert and tls.key cannot be used: they are not a certificate and its key", "tls.key", cause);
  }
}

/**
 * The name that is sent in the handshake (SNI). It must not be an IP address (RFC 6066), which gRPC would send; which name the
 * certificate has to have is `credentialsFor`'s business.
 */
export function tlsChannelOptions(address: ServerAddress, tls: TlsOptions | undefined): Record<string, string> {
  if (!tls || address.kind === "unix") return {};
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
