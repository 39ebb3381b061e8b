/**
 * What is known of a caller before it says anything: the listener that it came to, its address, and the certificate that
 * the TLS handshake verified.
 *
 * nice-grpc's contexts do not carry it, so an interceptor of gRPC writes it into the call's metadata, under a name that no
 * caller can know, and over whatever is there. A call without it came through no listener of gRPC but, in the clear, from
 * a browser over the console's HTTP server: it needs a token.
 */
import { randomBytes } from "node:crypto";
import type { Metadata as GrpcMetadata, ServerInterceptor } from "@grpc/grpc-js";
import { ServerInterceptingCall, ServerListenerBuilder } from "@grpc/grpc-js";
import type { CallContext } from "nice-grpc";
import { z } from "zod";

/** `unix`: only the owner of the socket; `plain`: loopback TCP in the clear; `tls`: with certificates. */
export type ListenerKind = "unix" | "plain" | "tls";

export interface Peer {
  readonly listener: ListenerKind;
  /** "unix", or "ADDRESS:PORT". */
  readonly address: string;
  /** DER of the client's certificate: signed by a trusted authority, and valid when the connection was made. */
  readonly certificate?: Uint8Array;
}

const KEY = `slimfast-peer-${randomBytes(16).toString("hex")}`;

const PEER = z.object({
  listener: z.enum(["unix", "plain", "tls"]),
  address: z.string(),
  certificate: z.base64().optional(),
});

/** Goes into the server's option `interceptors`. Every server whose calls are to be recognised needs it. */
export function peerInterceptor(listener: ListenerKind): ServerInterceptor {
  return (_method, call) =>
    new ServerInterceptingCall(call, {
      start: (next) => {
        const describe = (metadata: GrpcMetadata, forward: (metadata: GrpcMetadata) => void): void => {
          // Empty unless the certificate was verified.
          const certificate = listener === "tls" ? call.getAuthContext().sslPeerCertificate : undefined;
          const peer = {
            listener,
            address: listener === "unix" ? "unix" : call.getPeer(),
            ...(certificate ? { certificate: certificate.raw.toString("base64") } : {}),
          };
          metadata.set(KEY, JSON.stringify(peer));
          forward(metadata);
        };
        next(new ServerListenerBuilder().withOnReceiveMetadata(describe).build());
      },
    });
}

export function peerOf(context: Pick<CallContext, "metadata" | "peer">): Peer {
  const text = context.metadata.get(KEY);
  if (typeof text !== "string") return { listener: "plain", address: context.peer };
  const { listener, address, certificate } = PEER.parse(JSON.parse(text));
  return {
    listener,
    address,
    ...(certificate === undefined ? {} : { certificate: Buffer.from(certificate, "base64") }),
  };
}
