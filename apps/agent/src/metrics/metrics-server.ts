/** Serves `GET /metrics` over HTTP, on a loopback address only: there is no authentication on it. */
import { once } from "node:events";
import { createServer } from "node:http";
import { BlockList } from "node:net";
import type { Registry } from "prom-client";

/** Time for a scraper to send its request. */
const REQUEST_TIMEOUT_MS = 10_000;

const LOOPBACK = new BlockList();
LOOPBACK.addSubnet("127.0.0.0", 8, "ipv4");
LOOPBACK.addAddress("::1", "ipv6");

export interface MetricsServer {
  /** `host:port` with the real port. */
  readonly address: string;
  close(): Promise<void>;
}

/**
 * Reads `HOST:PORT`, an IPv6 address in brackets; port 0 takes any free one.
 *
 * @throws RangeError if it is malformed or not a loopback address.
 */
export function parseMetricsAddress(text: string): { host: string; port: number } {
  const [, bracketed, plain, digits] = /^(?:\[([0-9a-fA-F:.]+)\]|([^:[\]\s]+)):(\d{1,5})$/.exec(text) ?? [];
  const host = bracketed ?? plain ?? "";
  const port = Number(digits);
  if (host === "" || port > 65_535) throw new RangeError(`${JSON.stringify(text)} is not HOST:PORT`);
  const isLoopback = host === "localhost" || LOOPBACK.check(host, bracketed === undefined ? "ipv4" : "ipv6");
  if (!isLoopback)
    throw new RangeError(`${host} is not a loopback address, and metrics are served without credentials`);
  return { host, port };
}

/** @throws the system's error if it cannot listen there. */
export async function serveMetrics(listen: string, registry: Registry): Promise<MetricsServer> {
  const { host, port } = parseMetricsAddress(listen);
  const server = createServer({ requestTimeout: REQUEST_TIMEOUT_MS }, (request, response) => {
    const path = request.url?.split("?")[0];
    if (path !== "/metrics") {
      response.writeHead(404, { "content-type": "text/plain" }).end("there is only /metrics\n");
    } else if (request.method !== "GET" && request.method !== "HEAD") {
      response.writeHead(405, { allow: "GET, HEAD", "content-type": "text/plain" }).end("GET only\n");
    } else {
      registry.metrics().then(
        (body) => response.writeHead(200, { "content-type": registry.contentType }).end(body),
        () => response.writeHead(503, { "content-type": "text/plain" }).end("the agent is stopping\n"),
      );
    }
  });
  server.listen(port, host);
  await once(server, "listening");
  const address = server.address();
  if (address === null || typeof address === "string") throw new Error("the metrics server has no address");
  const shown = address.family === "IPv6" ? `[${address.address}]` : address.address;
  return {
    address: `${shown}:${address.port}`,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, "close");
    },
  };
}
