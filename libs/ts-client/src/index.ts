/** The client library: what the command line, the agent and users' programs use. */
export { type AgentClient, connectAgent } from "./agent.js";
export type { CallDeadline } from "./connection.js";
export {
  type ControllerClient,
  connectController,
  type ListEndpointsOptions,
  type ListOptions,
  type ListPortReservationsOptions,
} from "./controller.js";
export {
  type ErrorCode,
  type ErrorDetails,
  type FieldViolation,
  type PreconditionViolation,
  type ResourceDetail,
  SlimFastError,
} from "./errors.js";
export type { ConnectOptions, RetryOptions } from "./options.js";
