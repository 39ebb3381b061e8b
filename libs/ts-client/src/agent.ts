/** The client of the agent on this node. */
import { type LocalServiceClient, LocalServiceDefinition } from "@slimfast/proto";
import { type CallDeadline, Connection } from "./connection.js";
import type { ConnectOptions } from "./options.js";

/** An open connection to an agent. Calls throw SlimFastError and nothing else. */
export interface AgentClient {
  /** What the command line and orchestrator plugins ask. */
  readonly local: LocalServiceClient<CallDeadline>;
  /** Resolves once the server accepts a connection; `unavailable` after `timeoutMs`. No call needs it. */
  ready(timeoutMs: number): Promise<void>;
  /** Ends running calls (`cancelled`) and refuses later ones (`failed_precondition`). May be called twice. */
  close(): void;
}

/**
 * Connects to an agent. Returns at once; the connection is made by the first call, and again after it was lost.
 *
 * @throws SlimFastError `invalid_argument` if the address is malformed.
 */
export function connectAgent(options: ConnectOptions): AgentClient {
  const connection = new Connection(options);
  return {
    local: connection.factory.create(LocalServiceDefinition, connection.channel),
    ready: (timeoutMs) => connection.ready(timeoutMs),
    close: () => connection.close(),
  };
}
