/**
 * Sync responses as bytes. Each resource is encoded once, whichever streams it goes to: a response is the encoded resources
 * one behind the other, since fields of a message may come in any order and repeated ones add up.
 */
import { AgentServiceDefinition, type NodeAddresses, SyncResponse } from "@slimfast/proto";
import type { ServiceImplementation } from "nice-grpc";

const RESOURCES = ["nodes", "networks", "endpoints", "policies"] as const;
type Resources = (typeof RESOURCES)[number];

const EMPTY = SyncResponse.fromPartial({});

/** By message: messages are never changed, only replaced. */
const encoded = new WeakMap<object, Uint8Array>();

/** Addresses of nodes are the same for all streams that are told of them at a time. */
function encodedAddresses(nodeAddresses: NodeAddresses): Uint8Array {
  let bytes = encoded.get(nodeAddresses);
  if (!bytes) {
    bytes = SyncResponse.encode({ ...EMPTY, nodeAddresses }).finish();
    encoded.set(nodeAddresses, bytes);
  }
  return bytes;
}

/** A resource as the field of the response that it is in. */
function encodedResource<Kind extends Resources>(kind: Kind, message: SyncResponse[Kind][number]): Uint8Array {
  let bytes = encoded.get(message);
  if (!bytes) {
    bytes = SyncResponse.encode({ ...EMPTY, [kind]: [message] }).finish();
    encoded.set(message, bytes);
  }
  return bytes;
}

export function encodeSyncResponse(response: SyncResponse): Uint8Array {
  const { nodeAddresses } = response;
  const rest = { ...response, nodes: [], networks: [], endpoints: [], policies: [], nodeAddresses: undefined };
  const parts: Uint8Array[] = [SyncResponse.encode(rest).finish()];
  if (nodeAddresses) parts.push(encodedAddresses(nodeAddresses));
  for (const kind of RESOURCES) {
    for (const message of response[kind]) parts.push(encodedResource(kind, message));
  }
  return Buffer.concat(parts);
}

/** What the server needs of it: without `fromPartial`, which would copy each response. */
const codec = {
  encode: (response: SyncResponse) => ({ finish: () => encodeSyncResponse(response) }),
  decode: SyncResponse.decode,
};

/** The agents' service, with this encoding. */
export const EncodedAgentServiceDefinition = {
  ...AgentServiceDefinition,
  methods: {
    ...AgentServiceDefinition.methods,
    sync: { ...AgentServiceDefinition.methods.sync, responseType: codec },
  },
} as const;

export type EncodedAgentService = ServiceImplementation<typeof EncodedAgentServiceDefinition>;
