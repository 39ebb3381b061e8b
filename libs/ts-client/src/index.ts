/** The client library for Node.js: what the command line, the agent and users' programs use. */
export { type AgentClient, connectAgent } from "./agent.js";
export * from "./common.js";
export { connectController } from "./controller.js";
export type { ConnectOptions, LivenessOptions, TlsOptions } from "./options.js";
