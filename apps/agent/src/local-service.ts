/** LocalService: what the command line and orchestrator plugins ask of the agent of their node. Converts and delegates. */
import type { Core } from "@slimfast/core";
import type { LocalServiceImplementation, Node } from "@slimfast/proto";
import type { CallContext } from "nice-grpc";
import type { ControllerLink } from "./controller-link.js";
import type { Controllers } from "./controllers.js";
import type { Converter } from "./convert.js";
import type { Endpoints } from "./endpoints.js";
import type { EventFanout } from "./event-fanout.js";
import type { Limits } from "./limits.js";
import { liveConnections } from "./live-connections.js";

export interface LocalServiceParts {
  core: Pick<Core, "connections" | "listeners" | "counters" | "endpointLimits" | "seccompSocket">;
  link: ControllerLink;
  controller: Pick<Controllers, "addresses">;
  endpoints: Endpoints;
  events: EventFanout;
  convert: Converter;
  node: Node;
  limits: Pick<Limits, "messageConnections">;
  version: string;
}

export function localService(parts: LocalServiceParts): LocalServiceImplementation {
  const { core, link, controller, endpoints, events, convert, node, limits, version } = parts;
  return {
    async getStatus() {
      return {
        node: { ...node, connected: link.connected },
        controllerConnected: link.connected,
        appliedRevision: link.appliedRevision,
        counters: await core.counters(),
        attachedEndpoints: endpoints.count,
        pid: process.pid,
        version,
        seccompSocket: core.seccompSocket(),
        controller: controller.addresses,
        endpointLimits: core.endpointLimits(),
      };
    },
    async attachEndpoint(request, context: CallContext) {
      return { endpoint: await endpoints.attach(request, context.signal) };
    },
    async detachEndpoint({ network, name }) {
      await endpoints.detach(network, name);
      return {};
    },
    async listAttachedEndpoints() {
      return { endpoints: await endpoints.list() };
    },
    async listConnections({ atMost }) {
      const room = limits.messageConnections;
      const { connections, more } = await liveConnections(core, atMost === 0 ? room : Math.min(atMost, room));
      return { connections: connections.map((connection) => convert.connection(connection)), more };
    },
    async listListeners() {
      return { listeners: (await core.listeners()).map((listener) => convert.listener(listener)) };
    },
    watchConnectionEvents(_request: unknown, context: CallContext) {
      return events.watch(context.signal);
    },
  };
}
