/**
 * Everything that is generated from the .proto files, one flat name space per file, the meaning of policies, and IP addresses
 * as texts and numbers.
 */

export type { Duration } from "./generated/google/protobuf/duration.js";
export * from "./generated/slimfast/v1/access.js";
// Declared in every generated file that has a server-streaming method; one has to be named.
export type { ServerStreamingMethodResult } from "./generated/slimfast/v1/agent.js";
export * from "./generated/slimfast/v1/agent.js";
export * from "./generated/slimfast/v1/cluster.js";
export * from "./generated/slimfast/v1/local.js";
export * from "./generated/slimfast/v1/operations.js";
export * from "./generated/slimfast/v1/resources.js";
export * from "./ip.js";
export * from "./limits.js";
export * from "./policy.js";
export * from "./version.js";
