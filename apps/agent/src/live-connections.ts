/** Live connections of the node, as many as a message has room for. */
import type { ConnectionState, Core } from "@slimfast/core";

export interface LiveConnections {
  readonly connections: readonly ConnectionState[];
  /** Whether there are more than these. */
  readonly more: boolean;
}

/** Of a node with very many, all would cost the agent more than everything else. */
export async function liveConnections(core: Pick<Core, "connections">, atMost: number): Promise<LiveConnections> {
  // One more, to know that there are more.
  const some = await core.connections(atMost + 1);
  return { connections: some.slice(0, atMost), more: some.length > atMost };
}
