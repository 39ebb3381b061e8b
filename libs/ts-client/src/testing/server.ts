/** A server on a unix socket that answers as a test says, for tests of the client. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import {
  AgentServiceDefinition,
  type AgentServiceImplementation,
  ClusterServiceDefinition,
  type ClusterServiceImplementation,
  LocalServiceDefinition,
  type LocalServiceImplementation,
} from "@slimfast/proto";
import { createServer, type Server, ServerError, Status } from "nice-grpc";
import { errorDetailsServerMiddleware } from "nice-grpc-error-details";

export interface Answers {
  readonly cluster?: Partial<ClusterServiceImplementation>;
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

  async start(answers: Answers): Promise<void> {
    const server = createServer().use(errorDetailsServerMiddleware);
    server.add(
      ClusterServiceDefinition,
      complete<ClusterServiceImplementation>(ClusterServiceDefinition.methods, answers.cluster),
    );
    server.add(
      AgentServiceDefinition,
      complete<AgentServiceImplementation>(AgentServiceDefinition.methods, answers.agent),
    );
    server.add(
      LocalServiceDefinition,
      complete<LocalServiceImplementation>(LocalServiceDefinition.methods, answers.local),
    );
    await server.listen(this.address);
    this.#server = server;
  }

  remove(): void {
    this.#server?.forceShutdown();
    rmSync(this.#directory, { recursive: true, force: true });
  }
}
