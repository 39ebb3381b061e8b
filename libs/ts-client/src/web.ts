/**
 * The client library for browsers: the same clients over gRPC-Web by `fetch`. Nothing that is imported here needs
 * Node.js. Calls with a stream of requests (`agent.sync`, `agent.report`) do not work over gRPC-Web.
 */
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
import type { DeadlineOptions } from "nice-grpc-client-middleware-deadline";
import { createChannel, createClientFactory, FetchTransport } from "nice-grpc-web";
import { type ControllerClient, controllerLists, controllerStreams } from "./controller-client.js";
import { SlimFastError } from "./errors.js";
import { Closing, surroundings } from "./middleware.js";
import type { CallSettings } from "./options.js";
import { pause } from "./pause.js";
import { checkToken } from "./token.js";

export * from "./common.js";

export interface WebConnectOptions extends CallSettings {
  /** Where the controller's gRPC-Web service is, for example `https://controller.example:7443`. */
  readonly url: string;
  /** Sent as headers with every call, besides the token if there is one; for example a token against forged requests. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** Whether cookies are sent, as `fetch` has it. Default `same-origin`. */
  readonly credentials?: "omit" | "same-origin" | "include";
}

/** Pause between two looks whether the server answers. */
const READY_INTERVAL_MS = 100;

/**
 * A client of a controller over gRPC-Web. Returns at once; every call is a request of its own.
 *
 * @throws SlimFastError `invalid_argument` if an option is malformed.
 */
export function connectController(options: WebConnectOptions): ControllerClient {
  const { url } = options;
  checkUrl(url);
  checkToken(options.token, undefined);
  const closing = new Closing();
  const destination = { address: url, prepare: async () => undefined, giveUp: () => undefined };
  const factory = createClientFactory().use(surroundings(options, destination, closing));
  const channel = createChannel(url, FetchTransport({ credentials: options.credentials ?? "same-origin" }));
  const cluster: ClusterServiceClient<DeadlineOptions> = factory.create(ClusterServiceDefinition, channel);
  const operations: OperationsServiceClient<DeadlineOptions> = factory.create(OperationsServiceDefinition, channel);
  const access: AccessServiceClient<DeadlineOptions> = factory.create(AccessServiceDefinition, channel);
  const agent: AgentServiceClient<DeadlineOptions> = factory.create(AgentServiceDefinition, channel);
  const enrollment: EnrollmentServiceClient<DeadlineOptions> = factory.create(EnrollmentServiceDefinition, channel);
  const services = { cluster, operations, access, agent, enrollment };
  return {
    ...services,
    ...controllerLists(services),
    ...controllerStreams(services, options.retry),
    ready: (timeoutMs) => untilAnswering(access, url, timeoutMs),
    close: () => closing.close(),
  };
}

/** Any answer of the server will do, a refusal too. */
async function untilAnswering(
  access: AccessServiceClient<DeadlineOptions>,
  url: string,
  timeoutMs: number,
): Promise<void> {
  const end = Date.now() + timeoutMs;
  for (;;) {
    try {
      await access.whoAmI({}, { deadline: new Date(end) });
      return;
    } catch (error) {
      if (!(error instanceof SlimFastError) || error.code === "failed_precondition") throw error;
      if (error.code !== "unavailable" && error.code !== "unknown" && error.code !== "deadline_exceeded") return;
      if (Date.now() >= end) {
        throw new SlimFastError("unavailable", `${url} did not answer within ${timeoutMs} ms`, { cause: error });
      }
    }
    await pause(READY_INTERVAL_MS);
  }
}

function checkUrl(url: string): void {
  let protocol: string;
  try {
    ({ protocol } = new URL(url));
  } catch {
    protocol = "";
  }
  if (protocol === "http:" || protocol === "https:") return;
  throw new SlimFastError("invalid_argument", `${JSON.stringify(url)} is no http or https URL`, {
    details: { fieldViolations: [{ field: "url", description: "must be an http or https URL" }] },
  });
}
