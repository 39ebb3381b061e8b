/** Why etcd cannot be reached, in words: gRPC often says no more than that it could not connect. */
import { connect as connectPlain } from "node:net";
import { connect } from "node:tls";
import { parseHostPort } from "../../listen.js";
import type { EtcdAccess } from "./etcd-access.js";

const PROBE_MS = 2_000;
/** The beginning of a TLS record that is an alert: what a server with TLS answers to anything else. */
const TLS_ALERT = 0x15;

/** What a connection to the first member that does not work ends with; undefined if all of them can be connected to. */
export async function connectionProblem(hosts: readonly string[], access: EtcdAccess): Promise<string | undefined> {
  for (const text of hosts) {
    const { host, port } = parseHostPort(text);
    const problem = await probe({ host: host.replace(/^\[|\]$/g, ""), port }, access);
    if (problem !== undefined) return `${text}: ${problem}`;
  }
  return undefined;
}

function probe(target: { host: string; port: number }, { tls }: EtcdAccess): Promise<string | undefined> {
  return new Promise((resolve) => {
    const socket = tls
      ? connect({ ...target, ca: tls.ca, cert: tls.certificate, key: tls.privateKey, ALPNProtocols: ["h2"] })
      : connectPlain(target, () => socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"));
    const end = (problem: string | undefined) => {
      socket.destroy();
      resolve(problem);
    };
    // A certificate of ours that etcd does not accept is refused after the handshake; the first bytes say that it is not.
    socket.once("data", (data: Buffer) => {
      end(!tls && data[0] === TLS_ALERT ? "it wants TLS: add --etcd-ca" : undefined);
    });
    socket.once("error", (error) => end(error.message));
    socket.once("end", () =>
      end(tls ? "it ended the connection" : "it ended the connection: it may want TLS (--etcd-ca)"),
    );
    socket.setTimeout(PROBE_MS, () => end(undefined));
  });
}
