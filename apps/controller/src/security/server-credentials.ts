/**
 * TLS of a listener: the server's certificate and the authorities of clients, which can be replaced while it listens.
 *
 * A client may come without a certificate (it has a token, or wants to join). One that cannot be verified counts for
 * nothing; `peer.ts` sees only those that were.
 */
import { constants } from "node:crypto";
import type { SecureContextOptions } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";

export interface ServerTls {
  /** PEM: the certificate, then those that vouch for it. */
  readonly chain: string;
  readonly privateKey: string;
  /** PEM: authorities of clients. */
  readonly clientAuthorities: string;
}

function contextOptions({ chain, privateKey, clientAuthorities }: ServerTls): SecureContextOptions {
  return {
    cert: chain,
    key: privateKey,
    ca: clientAuthorities,
    minVersion: "TLSv1.3",
    // A resumed session would carry the verification of an earlier handshake into another time.
    secureOptions: constants.SSL_OP_NO_TICKET,
  };
}

export class RenewableServerCredentials extends ServerCredentials {
  constructor(tls: ServerTls) {
    super({ requestCert: true, rejectUnauthorized: false }, contextOptions(tls));
  }

  /** For connections from now on; those that are open stay as they are. */
  renew(tls: ServerTls): void {
    this.updateSecureContextOptions(contextOptions(tls));
  }

  override _equals(other: ServerCredentials): boolean {
    return this === other;
  }
}
