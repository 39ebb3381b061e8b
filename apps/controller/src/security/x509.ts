/**
 * X.509 as this project uses it: ECDSA on P-256, an authority, certificates of nodes and controllers, requests for them.
 *
 * Pure, but for the random numbers. Who is given what is decided elsewhere.
 */
import { createHash, X509Certificate as NodeCertificate, randomBytes, webcrypto } from "node:crypto";
import { isIP } from "node:net";
import type * as X509 from "@peculiar/x509";
import { invalidField } from "../errors.js";
import { AUTHORITY_LIFETIME_MS, CLOCK_SKEW_MS, MAX_CERTIFICATE_REQUEST_BYTES } from "./limits.js";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;
/** Curves of keys that are certified, by their OIDs in JSON Web Key spelling. */
const CURVES = new Set(["P-256", "P-384"]);

/** The extended key usage of who connects (RFC 5280, 4.2.1.12). */
const CLIENT_AUTHENTICATION = "1.3.6.1.5.5.7.3.2";

let library: typeof X509 | undefined;

/** Loads what makes certificates, which takes a while: only where there is TLS. */
export async function loadX509(): Promise<typeof X509> {
  if (library) return library;
  await import("reflect-metadata");
  library = await import("@peculiar/x509");
  library.cryptoProvider.set(webcrypto);
  return library;
}

/** A certificate and its key, both in PEM. */
export interface KeyedCertificate {
  readonly certificate: string;
  readonly privateKey: string;
}

/** Whose a certificate is: the organisation in its subject. */
export type Holder = "node" | "controller";

/** What a certificate of the cluster says. */
export interface CertificateFacts {
  readonly holder: Holder;
  /** Name of the node, or id of the controller. */
  readonly name: string;
  /** In hex, lower case. */
  readonly serial: string;
  readonly expireTimeMs: number;
}

const ORGANISATIONS: Readonly<Record<Holder, string>> = { node: "slimfast-node", controller: "slimfast-controller" };

/** The first bit is clear: serial numbers are positive (RFC 5280, 4.1.2.2). */
function newSerial(): string {
  const bytes = randomBytes(16);
  bytes[0] = ((bytes[0] ?? 0) & 0x3f) | 0x40;
  return bytes.toString("hex");
}

function newKeys(): Promise<webcrypto.CryptoKeyPair> {
  return webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]) as Promise<webcrypto.CryptoKeyPair>;
}

async function exportKey(key: webcrypto.CryptoKey): Promise<string> {
  const x509 = await loadX509();
  return x509.PemConverter.encode(await webcrypto.subtle.exportKey("pkcs8", key), "PRIVATE KEY");
}

async function importKey(pem: string): Promise<webcrypto.CryptoKey> {
  const x509 = await loadX509();
  const [der] = x509.PemConverter.decode(pem);
  if (!der) throw new Error("the authority's key is not PEM");
  return webcrypto.subtle.importKey("pkcs8", der, ALGORITHM, false, ["sign"]);
}

/** SHA-256 of a certificate (PEM), in hex: by it a joining node recognises the cluster. */
export function fingerprintOf(certificate: string): string {
  return createHash("sha256").update(new NodeCertificate(certificate).raw).digest("hex");
}

/** When a certificate (PEM) ends. */
export function expireTimeOf(certificate: string): number {
  return Date.parse(new NodeCertificate(certificate).validTo);
}

/** A new self-signed authority. */
export async function createAuthority(nowMs: number, lifetimeMs = AUTHORITY_LIFETIME_MS): Promise<KeyedCertificate> {
  const x509 = await loadX509();
  const keys = await newKeys();
  const serialNumber = newSerial();
  const certificate = await x509.X509CertificateGenerator.createSelfSigned({
    serialNumber,
    // Two authorities of one cluster must differ in name, or a verifier may try the wrong one's key.
    name: `CN=SlimFast cluster authority ${serialNumber.slice(0, 12)}`,
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(nowMs + lifetimeMs),
    signingAlgorithm: ALGORITHM,
    keys: keys,
    extensions: [
      new x509.BasicConstraintsExtension(true, 0, true),
      new x509.KeyUsagesExtension(x509.KeyUsageFlags.keyCertSign | x509.KeyUsageFlags.cRLSign, true),
      await x509.SubjectKeyIdentifierExtension.create(keys.publicKey),
    ],
  });
  return { certificate: certificate.toString("pem"), privateKey: await exportKey(keys.privateKey) };
}

interface IssueOptions {
  readonly authority: KeyedCertificate;
  readonly holder: Holder;
  readonly name: string;
  readonly publicKey: X509.PublicKey | webcrypto.CryptoKey;
  readonly names: readonly string[];
  readonly nowMs: number;
  readonly lifetimeMs: number;
}

async function issue(options: IssueOptions): Promise<X509.X509Certificate> {
  const { authority, holder, name, names, nowMs, lifetimeMs, publicKey } = options;
  const x509 = await loadX509();
  const issuer = new x509.X509Certificate(authority.certificate);
  // Nothing outlives what vouches for it.
  const expireTimeMs = Math.min(nowMs + lifetimeMs, issuer.notAfter.getTime());
  const usages = [x509.ExtendedKeyUsage.clientAuth];
  if (holder === "controller") usages.push(x509.ExtendedKeyUsage.serverAuth);
  const extensions: X509.Extension[] = [
    new x509.BasicConstraintsExtension(false, undefined, true),
    new x509.KeyUsagesExtension(x509.KeyUsageFlags.digitalSignature, true),
    new x509.ExtendedKeyUsageExtension(usages),
    await x509.SubjectKeyIdentifierExtension.create(publicKey),
    await x509.AuthorityKeyIdentifierExtension.create(issuer.publicKey),
  ];
  if (names.length > 0) {
    const alternatives = names.map((text) => ({ type: isIP(text) ? ("ip" as const) : ("dns" as const), value: text }));
    extensions.push(new x509.SubjectAlternativeNameExtension(alternatives));
  }
  return x509.X509CertificateGenerator.create({
    serialNumber: newSerial(),
    subject: [{ O: [ORGANISATIONS[holder]] }, { CN: [name] }],
    issuer: issuer.subjectName,
    // The clocks of a cluster differ.
    notBefore: new Date(nowMs - CLOCK_SKEW_MS),
    notAfter: new Date(expireTimeMs),
    signingAlgorithm: ALGORITHM,
    publicKey,
    signingKey: await importKey(authority.privateKey),
    extensions,
  });
}

/** A certificate for a controller: for its server (with these host names and addresses), and for calls to others. */
export async function issueControllerCertificate(
  authority: KeyedCertificate,
  controller: { readonly id: string; readonly names: readonly string[] },
  validity: { readonly nowMs: number; readonly lifetimeMs: number },
): Promise<KeyedCertificate & { readonly expireTimeMs: number }> {
  const keys = await newKeys();
  const certificate = await issue({
    authority,
    holder: "controller",
    name: controller.id,
    names: controller.names,
    publicKey: keys.publicKey,
    ...validity,
  });
  return {
    certificate: certificate.toString("pem"),
    privateKey: await exportKey(keys.privateKey),
    expireTimeMs: certificate.notAfter.getTime(),
  };
}

/** A request of which is known that its sender has the private key. */
export interface VerifiedRequest {
  readonly publicKey: X509.PublicKey;
}

/**
 * Reads a PKCS #10 request (DER) and checks its signature.
 *
 * @throws ClusterError `invalid_argument` that names the field.
 */
export async function readCertificateRequest(der: Uint8Array): Promise<VerifiedRequest> {
  const field = "certificate_request";
  if (der.length === 0) throw invalidField(field, "must be set");
  if (der.length > MAX_CERTIFICATE_REQUEST_BYTES) {
    throw invalidField(field, `has ${der.length} bytes, at most ${MAX_CERTIFICATE_REQUEST_BYTES} are taken`);
  }
  let request: X509.Pkcs10CertificateRequest;
  let curve: string | undefined;
  let isSigned: boolean;
  try {
    const x509 = await loadX509();
    request = new x509.Pkcs10CertificateRequest(new Uint8Array(der));
    const algorithm = request.publicKey.algorithm as { name: string; namedCurve?: string };
    curve = algorithm.name === "ECDSA" ? algorithm.namedCurve : undefined;
    isSigned = curve !== undefined && CURVES.has(curve) && (await request.verify());
  } catch {
    throw invalidField(field, "is not a PKCS #10 request in DER");
  }
  if (curve === undefined || !CURVES.has(curve)) throw invalidField(field, "needs an ECDSA key on P-256 or P-384");
  if (!isSigned) throw invalidField(field, "is not signed with the key that it is for");
  return { publicKey: request.publicKey };
}

export interface NodeCertificateIssued {
  readonly certificate: string;
  readonly serial: string;
  readonly expireTimeMs: number;
}

export async function issueNodeCertificate(
  authority: KeyedCertificate,
  node: string,
  request: VerifiedRequest,
  validity: { readonly nowMs: number; readonly lifetimeMs: number },
): Promise<NodeCertificateIssued> {
  const { publicKey } = request;
  const certificate = await issue({ authority, holder: "node", name: node, names: [], publicKey, ...validity });
  return {
    certificate: certificate.toString("pem"),
    serial: certificate.serialNumber.toLowerCase(),
    expireTimeMs: certificate.notAfter.getTime(),
  };
}

/**
 * What a certificate (DER) says that was verified against the cluster's authorities; undefined if it is none of ours. By what
 * Node.js has built in: every call and every stream of an agent asks for it, and the library takes milliseconds.
 */
export function readCertificate(der: Uint8Array): CertificateFacts | undefined {
  const certificate = new NodeCertificate(der);
  const { subject } = certificate.toLegacyObject();
  // A name that is there more than once is an array.
  const { O: organisation, CN: name } = subject as Readonly<Record<string, unknown>>;
  const holder = (["node", "controller"] as const).find((one) => ORGANISATIONS[one] === organisation);
  if (!holder || typeof name !== "string" || name === "") return undefined;
  if (!certificate.keyUsage?.includes(CLIENT_AUTHENTICATION)) return undefined;
  return {
    holder,
    name,
    serial: certificate.serialNumber.toLowerCase(),
    expireTimeMs: Date.parse(certificate.validTo),
  };
}
