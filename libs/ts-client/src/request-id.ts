/** Request ids (AIP-155): which calls take one, and making them. */
import { AccessServiceDefinition, ClusterServiceDefinition, OperationsServiceDefinition } from "@slimfast/proto";

const RANDOM_BYTES = 16;

/** Paths of the methods whose request has a `request_id`. */
const PATHS: ReadonlySet<string> = new Set(
  [ClusterServiceDefinition, OperationsServiceDefinition, AccessServiceDefinition].flatMap((service) =>
    Object.values(service.methods)
      .filter(({ requestType }) => "requestId" in requestType.fromPartial({}))
      .map(({ name }) => `/${service.fullName}/${name}`),
  ),
);

/** The request with an id, if its method takes one and it has none. */
export function withRequestId<Request>(path: string, request: Request): Request {
  if (!PATHS.has(path)) return request;
  const given = (request as { readonly requestId?: string }).requestId;
  return given ? request : { ...request, requestId: newRequestId() };
}

/** 128 random bits in hex. Not crypto.randomUUID, which browsers have in secure contexts only. */
export function newRequestId(): string {
  const bytes = globalThis.crypto.getRandomValues(new Uint8Array(RANDOM_BYTES));
  return Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
