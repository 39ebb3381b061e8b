/**
 * How the benchmark's agents get their certificates: with a join token, as real nodes. They share one key, since keys are
 * made on the nodes and cost a controller nothing.
 */
import { webcrypto } from "node:crypto";
import { EnrollmentServiceDefinition } from "@slimfast/proto";
import { ChannelCredentials, createClientFactory } from "nice-grpc";
import { openChannel } from "./channel.js";

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256", hash: "SHA-256" } as const;

/** Where the cluster can be joined, and by what. */
export interface Joining {
  /** `host:port`, with TLS. */
  readonly address: string;
  /** PEM */
  readonly authority: string;
  readonly secret: string;
}

interface Key {
  readonly privateKey: Buffer;
  readonly request: Buffer;
}

let key: Promise<Key> | undefined;

async function makeKey(): Promise<Key> {
  await import("reflect-metadata");
  const x509 = await import("@peculiar/x509");
  x509.cryptoProvider.set(webcrypto);
  const keys = await webcrypto.subtle.generateKey(ALGORITHM, true, ["sign", "verify"]);
  const request = await x509.Pkcs10CertificateRequestGenerator.create({ keys, signingAlgorithm: ALGORITHM });
  const pkcs8 = await webcrypto.subtle.exportKey("pkcs8", keys.privateKey);
  return {
    privateKey: Buffer.from(x509.PemConverter.encode(pkcs8, "PRIVATE KEY")),
    request: Buffer.from(request.rawData),
  };
}

/** Enrolls nodes over one connection that has no certificate. */
export class Enrollment {
  readonly #joining: Joining;
  readonly #channel;
  readonly #client;

  constructor(joining: Joining) {
    this.#joining = joining;
    this.#channel = openChannel(joining.address, ChannelCredentials.createSsl(Buffer.from(joining.authority)));
    this.#client = createClientFactory().create(EnrollmentServiceDefinition, this.#channel);
  }

  /** What the node shows on its connections. */
  async enroll(node: string): Promise<ChannelCredentials> {
    key ??= makeKey();
    const { privateKey, request } = await key;
    const { certificate, authorities } = await this.#client.enrollNode({
      node,
      joinToken: this.#joining.secret,
      certificateRequest: request,
    });
    return ChannelCredentials.createSsl(Buffer.from(authorities), privateKey, Buffer.from(certificate));
  }

  close(): void {
    this.#channel.close();
  }
}
