/** The client of a controller over gRPC, for Node.js. */
import {
  type AccessServiceClient,
  AccessServiceDefinition,
  type AgentServiceClient,
  AgentServiceDefinition,
  type ClusterServiceClient,
  ClusterServiceDefinition,
  type EnrollmentServiceClient,
  EnrollmentServiceDefinition,
  type OperationsServiceClient,
  OperationsServiceDefinition,
} from "@slimfast/proto";
import { type CallDeadline, Connection } from "./connection.js";
import { type ControllerClient, controllerLists, controllerStreams } from "./controller-client.js";
import type { ConnectOptions } from "./options.js";

/**
 * Connects to a controller, or to the one of several that answers. Returns at once; the connection is made by the first
 * call, and again after it was lost.
 *
 * @throws SlimFastError `invalid_argument` if an option is malformed.
 */
export function connectController(options: ConnectOptions): ControllerClient {
  const connection = new Connection(options);
  const { factory, channel } = connection;
  const cluster: ClusterServiceClient<CallDeadline> = factory.create(ClusterServiceDefinition, channel);
  const operations: OperationsServiceClient<CallDeadline> = factory.create(OperationsServiceDefinition, channel);
  const access: AccessServiceClient<CallDeadline> = factory.create(AccessServiceDefinition, channel);
  const agent: AgentServiceClient<CallDeadline> = factory.create(AgentServiceDefinition, channel);
  const enrollment: EnrollmentServiceClient<CallDeadline> = factory.create(EnrollmentServiceDefinition, channel);
  const services = { cluster, operations, access, agent, enrollment };
  return {
    ...services,
    ...controllerLists(services),
    ...controllerStreams(services, options.retry),
    ready: (timeoutMs) => connection.ready(timeoutMs),
    close: () => connection.close(),
  };
}
