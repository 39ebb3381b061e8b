/** What a transaction does with a policy. */
import { isDeepStrictEqual } from "node:util";
import { messageType } from "../domain/descriptors.js";
import { checkEtag } from "../domain/etag.js";
import { type NewPolicy, validPolicy, type WantedPolicy } from "../domain/requests/policy.js";
import type { Policy } from "../domain/resources.js";
import { readUpdateMask } from "../domain/update-mask.js";
import { ClusterError, notFound } from "../errors.js";
import { MAX_POLICIES_PER_NETWORK } from "../limits.js";
import type { StoreReader, StoreTransaction } from "../store/store.js";
import { requireNetwork } from "./networks.js";

const MUTABLE = ["action", "from", "to", "ports", "description"];

export function policyMask(paths: readonly string[] | undefined) {
  return readUpdateMask(paths, messageType("Policy"), MUTABLE);
}

export function requirePolicy(reader: StoreReader, network: string, name: string): Policy {
  const policy = reader.getPolicy(network, name);
  if (!policy) throw notFound("policy", `${network}/${name}`);
  return policy;
}

export function createPolicy(tx: StoreTransaction, wanted: NewPolicy): Policy {
  const { network, name } = wanted;
  requireNetwork(tx, network);
  if (tx.getPolicy(network, name)) {
    throw new ClusterError("already_exists", `network ${network} has a policy ${name} already`, {
      resource: { type: "policy", name: `${network}/${name}`, owner: `network/${network}` },
    });
  }
  if (tx.listPolicies({ network, limit: MAX_POLICIES_PER_NETWORK }).length === MAX_POLICIES_PER_NETWORK) {
    throw new ClusterError(
      "resource_exhausted",
      `network ${network} has ${MAX_POLICIES_PER_NETWORK} policies, which is the most: join some of them`,
      { resource: { type: "network", name: network } },
    );
  }
  return tx.put("policy", { ...wanted, createTimeMs: Date.now() });
}

export function updatePolicy(
  tx: StoreTransaction,
  wanted: WantedPolicy & { readonly etag: string },
  mask: ReturnType<typeof policyMask>,
): Policy {
  const { network, name } = wanted;
  const present = requirePolicy(tx, network, name);
  checkEtag(wanted.etag, present.revision, { type: "policy", name: `${network}/${name}` });
  const change = validPolicy({
    network,
    name,
    action: mask.choose("action", wanted.action, present.action),
    from: mask.choose("from", wanted.from, present.from),
    to: mask.choose("to", wanted.to, present.to),
    ports: mask.choose("ports", wanted.ports, present.ports),
    description: mask.choose("description", wanted.description, present.description),
  });
  const next = { ...present, ...change };
  return isDeepStrictEqual(next, present) ? present : tx.put("policy", next);
}

export function deletePolicy(tx: StoreTransaction, network: string, name: string, etag: string): void {
  const { revision } = requirePolicy(tx, network, name);
  checkEtag(etag, revision, { type: "policy", name: `${network}/${name}` });
  tx.delete("policy", `${network}/${name}`);
}
