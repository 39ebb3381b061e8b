/** The gRPC servers of a controller, one for each address on which it listens: a unix socket, loopback TCP, TCP with TLS. */
import { readFileSync } from "node:fs";
import { chmod, mkdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname } from "node:path";
import { ServerCredentials } from "@grpc/grpc-js";
import { createServer, type Server } from "nice-grpc";
import { HealthDefinition, HealthServiceImpl } from "nice-grpc-server-health";
import { ServerReflection, ServerReflectionService } from "nice-grpc-server-reflection";
import { StartupError } from "./errors.js";
import { MAX_MESSAGE_BYTES, SHUTDOWN_GRACE_MS } from "./limits.js";
import { formatListenAddress, type ListenAddress, removeStaleSocket } from "./listen.js";
import { type ListenerKind, peerInterceptor } from "./security/peer.js";
import type { Registry } from "./services/registry.js";

const SERVER_OPTIONS = {
  "grpc.max_receive_message_length": MAX_MESSAGE_BYTES,
  "grpc.max_send_message_length": MAX_MESSAGE_BYTES,
  // An agent that vanished without a word must not count as connected for ever. One on a busy machine has not vanished.
  "grpc.keepalive_time_ms": 10_000,
  "grpc.keepalive_timeout_ms": 15_000,
} as const;

export interface GrpcServers {
  /** In the order in which they were asked for, with real ports. */
  readonly addresses: readonly ListenAddress[];
  /** Lets running calls finish, but not for longer than the grace period. */
  stop(): Promise<void>;
}

function createGrpcServer(registry: Registry, kind: ListenerKind): Server {
  const options = { ...SERVER_OPTIONS, interceptors: [peerInterceptor(kind)] };
  const server = registry.middleware.reduce<Server>(
    (outer, middleware) => outer.use(middleware),
    createServer(options),
  );
  for (const service of registry.services) service.addTo(server);
  server.add(HealthDefinition, HealthServiceImpl());
  // So that grpcurl and the like need no .proto files.
  const descriptors = readFileSync(createRequire(import.meta.url).resolve("@slimfast/proto/descriptors.binpb"));
  server.add(
    ServerReflectionService,
    ServerReflection(
      descriptors,
      registry.services.map(({ definition }) => definition.fullName),
    ),
  );
  return server;
}

async function bind(
  server: Server,
  address: ListenAddress,
  credentials: ServerCredentials | undefined,
): Promise<ListenAddress> {
  try {
    if (address.kind === "tcp") {
      const text = `${address.host}:${address.port}`;
      const port = await server.listen(text, credentials ?? ServerCredentials.createInsecure());
      return { ...address, port };
    }
    await mkdir(dirname(address.path), { recursive: true, mode: 0o755 });
    await removeStaleSocket(address.path);
    await server.listen(`unix:${address.path}`);
    // Whoever may write to the socket may change the cluster.
    await chmod(address.path, 0o600);
    return address;
  } catch (error) {
    if (error instanceof StartupError) throw error;
    const reason = error instanceof Error ? error.message : String(error);
    throw new StartupError("address_in_use", `cannot listen on ${formatListenAddress(address)}: ${reason}`, error);
  }
}

async function stopServer(server: Server): Promise<void> {
  const cut = setTimeout(() => server.forceShutdown(), SHUTDOWN_GRACE_MS);
  try {
    await server.shutdown();
  } finally {
    clearTimeout(cut);
  }
}

/**
 * @param credentials Of the TCP listeners, if they have TLS.
 * @throws StartupError if an address cannot be used; none is left open then.
 */
export async function openGrpcServers(
  registry: Registry,
  wanted: readonly ListenAddress[],
  credentials: ServerCredentials | undefined,
): Promise<GrpcServers> {
  const servers: Server[] = [];
  const addresses: ListenAddress[] = [];
  try {
    for (const address of wanted) {
      const kind = address.kind === "unix" ? "unix" : credentials ? "tls" : "plain";
      const server = createGrpcServer(registry, kind);
      servers.push(server);
      addresses.push(await bind(server, address, credentials));
    }
  } catch (error) {
    for (const server of servers) server.forceShutdown();
    throw error;
  }
  return { addresses, stop: async () => void (await Promise.all(servers.map(stopServer))) };
}
