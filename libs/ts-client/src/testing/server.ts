/** A server on a unix socket, or on TCP with TLS, that answers as a test says, for tests of the client. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { ServerCredentials } from "@grpc/grpc-js";
import {
  AccessServiceDefinition,
  type AccessServiceImplementation,
  AgentServiceDefinition,
  type AgentServiceImplementation,
  ClusterServiceDefinition,
  type ClusterServiceImplementation,
  LocalServiceDefinition,
  type LocalServiceImplementation,
  OperationsServiceDefinition,
  type OperationsServiceImplementation,
} from "@slimfast/proto";
import { createServer, type Server, ServerError, Status } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";

export interface Answers {
  readonly cluster?: Partial<ClusterServiceImplementation>;
  readonly operations?: Partial<OperationsServiceImplementation>;
  readonly access?: Partial<AccessServiceImplementation>;
  readonly agent?: Partial<AgentServiceImplementation>;
  readonly local?: Partial<LocalServiceImplementation>;
}

/** The implementation with every method that it lacks answering UNIMPLEMENTED. */
function complete<Implementation extends object>(
  methods: Readonly<Record<string, unknown>>,
  given: Partial<Implementation> = {},
): Implementation {
  const missing = async (): Promise<never> => {
    throw new ServerError(Status.UNIMPLEMENTED, "not part of this test");
  };
  const all = Object.fromEntries(Object.keys(methods).map((name) => [name, missing]));
  return { ...all, ...given } as Implementation;
}

export class TestServer {
  readonly #directory = mkdtempSync(join(tmpdir(), "slimfast-client-test-"));
  readonly address = `unix:${this.#directory}/server.sock`;
  #server: Server | undefined;

  /** @param listen Where, if not at `address`: `host:0` takes any free port. @returns The address. */
  async start(answers: Answers, listen?: { host: string; credentials?: ServerCredentials }): Promise<string> {
    const server = createServer().use(errorDetailsServerMiddleware);
    server.add(
      ClusterServiceDefinition,
      complete<ClusterServiceImplementation>(ClusterServiceDefinition.methods, answers.cluster),
    );
    server.add(
      OperationsServiceDefinition,
      complete<OperationsServiceImplementation>(OperationsServiceDefinition.methods, answers.operations),
    );
    server.add(
      AccessServiceDefinition,
      complete<AccessServiceImplementation>(AccessServiceDefinition.methods, answers.access),
    );
    server.add(
      AgentServiceDefinition,
      complete<AgentServiceImplementation>(AgentServiceDefinition.methods, answers.agent),
    );
    server.add(
      LocalServiceDefinition,
      complete<LocalServiceImplementation>(LocalServiceDefinition.methods, answers.local),
    );
    this.#server = server;
    if (!listen) {
      await server.listen(this.address);
      return this.address;
    }
    return `${listen.host}:${await server.listen(`${listen.host}:0`, listen.credentials)}`;
  }

  /** As if it was killed. May be started again. */
  stop(): void {
    this.#server?.forceShutdown();
    this.#server = undefined;
  }

  remove(): void {
    this.stop();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
