/** The agent protocol (AgentService): what changed, and what a controller and an agent of different versions make of it. */

/**
 * Version that this code speaks; RegisterNodeRequest.protocol_version. 1: nodes, networks, endpoints. 2: policies, reports,
 * store ids, several controllers.
 */
export const AGENT_PROTOCOL_VERSION = 2;
