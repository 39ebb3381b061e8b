/** What both entry points export: all that does not depend on the transport. */
export type { DeadlineOptions as CallDeadline } from "nice-grpc-client-middleware-deadline";
export type {
  ControllerClient,
  ControllerLists,
  ControllerServices,
  ControllerStreams,
  ListConnectionRecordsOptions,
  ListEndpointsOptions,
  ListOptions,
  ListPoliciesOptions,
  ListPortReservationsOptions,
} from "./controller-client.js";
export {
  type ErrorCode,
  type ErrorDetails,
  type ErrorReason,
  type FieldViolation,
  type PreconditionViolation,
  type ResourceDetail,
  SlimFastError,
} from "./errors.js";
export type { CallSettings, RetryOptions } from "./options.js";
export { newRequestId } from "./request-id.js";
export type { AuditTailItem, ConnectionTailItem, TailInterruption, TailOptions } from "./tail.js";
export type { WatchEvent, WatchedResource, WatchResourcesOptions } from "./watch.js";
