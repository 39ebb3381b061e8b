/** Keys of a node, and requests for certificates of them. The key never leaves the node. Pure, but for the random numbers. */
import { webcrypto } from "node:crypto";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

export interface NodeKey {
  /** PKCS #8 in PEM. */
  readonly privateKey: string;
  /** PKCS #10 (RFC 2986) in DER, signed with the key. */
  readonly certificateRequest: Uint8Array;
}

/** A fresh key. Its request names nobody: the controller puts the node's name into the certificate. */
export async function createNodeKey(): Promise<NodeKey> {
  // Loaded only where there is TLS: it takes a while.
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({
    name: "CN=node",
    keys,
    signingAlgorithm: ALGORITHM,
  });
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    privateKey: `${x509.PemConverter.encode(pkcs8, "PRIVATE KEY")}\n`,
    certificateRequest: new Uint8Array(request.rawData),
  };
}
