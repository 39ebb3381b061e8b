/** Resources as the audit log shows them: their names, and proto3 JSON without secrets. Pure. */
import * as proto from "@slimfast/proto";
import type { Token } from "../domain/resources.js";
import { endpointMessage, networkMessage, nodeMessage, policyMessage, reservationMessage } from "../messages.js";
import { ROLE_MESSAGES } from "../security/identity.js";
import type { Documents, Kind } from "../store/kinds.js";
import type { Change } from "../store/store.js";

/** A token as the API shows it: everything but the hash of its secret. */
export function tokenMessage(token: Token): proto.Token {
  return proto.Token.fromPartial({
    name: token.name,
    role: ROLE_MESSAGES[token.role],
    networks: [...token.networks],
    description: token.description,
    usesLeft: token.usesLeft ?? 0,
    createTime: new Date(token.createTimeMs),
    revision: token.revision,
    ...(token.expireTimeMs === undefined ? {} : { expireTime: new Date(token.expireTimeMs) }),
    ...(token.lastUseTimeMs === undefined ? {} : { lastUseTime: new Date(token.lastUseTimeMs) }),
  });
}

type Json = { readonly [K in Kind]?: (document: Documents[K]) => unknown };

const JSON_OF: Json = {
  node: (node) => proto.Node.toJSON(nodeMessage(node, false)),
  network: (network) => proto.Network.toJSON(networkMessage(network)),
  endpoint: (endpoint) => proto.Endpoint.toJSON(endpointMessage(endpoint)),
  reservation: (reservation) => proto.PortReservation.toJSON(reservationMessage(reservation)),
  policy: (policy) => proto.Policy.toJSON(policyMessage(policy)),
  token: (token) => proto.Token.toJSON(tokenMessage(token)),
  // No resources of the API: what people need to tell one from another.
  certificates: ({ node, certificates }) => ({
    node,
    certificates: certificates.map(({ serial, expireTimeMs }) => ({
      serial,
      expireTime: new Date(expireTimeMs).toISOString(),
    })),
  }),
  authority: ({ name, createTimeMs }) => ({ name, createTime: new Date(createTimeMs).toISOString() }),
};

export function resourceJson<K extends Kind>(kind: K, document: Documents[K]): string {
  const convert = JSON_OF[kind];
  return convert ? JSON.stringify(convert(document)) : "";
}

/** "KIND/NAME" */
export function resourceName({ kind, key }: Change): string {
  return kind === "certificates" ? `node/${key}` : `${kind}/${key}`;
}
