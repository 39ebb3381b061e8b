/** What a transaction does with a network. */
import { isDeepStrictEqual } from "node:util";
import { lowestFree } from "../domain/allocation.js";
import { messageType } from "../domain/descriptors.js";
import { checkEtag } from "../domain/etag.js";
import { type NewNetwork, validNetworkChange, type WantedNetwork } from "../domain/requests/network.js";
import type { Network } from "../domain/resources.js";
import { readUpdateMask } from "../domain/update-mask.js";
import { ClusterError, notFound } from "../errors.js";
import { MAX_VNI } from "../limits.js";
import type { StoreReader, StoreTransaction } from "../store/store.js";

const MUTABLE = ["description", "labels", "default_deny", "egress"];

export function networkMask(paths: readonly string[] | undefined) {
  return readUpdateMask(paths, messageType("Network"), MUTABLE);
}

export function requireNetwork(reader: StoreReader, name: string): Network {
  const network = reader.getNetwork(name);
  if (!network) throw notFound("network", name);
  return network;
}

function chooseVni(tx: StoreTransaction): number {
  const range = { first: 1, last: MAX_VNI };
  // One that was never used, if there is one: nobody can have stale state under it.
  const vni = lowestFree(range, tx.vnisEverUsed()) ?? lowestFree(range, tx.vnisInUse());
  if (vni === undefined) throw new ClusterError("resource_exhausted", `all ${MAX_VNI} VNIs are taken`);
  return vni;
}

export function createNetwork(tx: StoreTransaction, { vni, ...wanted }: NewNetwork): Network {
  const { name } = wanted;
  if (tx.getNetwork(name)) {
    throw new ClusterError("already_exists", `network ${name} exists already`, { resource: { type: "network", name } });
  }
  const holder = vni === 0 ? undefined : tx.getNetworkByVni(vni);
  if (holder) {
    throw new ClusterError("already_exists", `VNI ${vni} belongs to network ${holder.name}`, {
      resource: { type: "network", name: holder.name, owner: `network/${holder.name}` },
      fields: [{ field: "network.vni", description: `is taken by network ${holder.name}` }],
    });
  }
  return tx.insertNetwork({
    ...wanted,
    vni: vni === 0 ? chooseVni(tx) : vni,
    createTimeMs: Date.now(),
  });
}

export function updateNetwork(
  tx: StoreTransaction,
  wanted: WantedNetwork & { readonly etag: string },
  mask: ReturnType<typeof networkMask>,
): Network {
  const present = requireNetwork(tx, wanted.name);
  checkEtag(wanted.etag, present.revision, { type: "network", name: wanted.name });
  const change = validNetworkChange({
    description: mask.choose("description", wanted.description ?? "", present.description),
    labels: mask.labels(wanted.labels ?? {}, present.labels),
    defaultDeny: mask.choose("default_deny", wanted.defaultDeny ?? false, present.defaultDeny),
    egress: mask.choose("egress", wanted.egress ?? [], present.egress ?? []),
  });
  const next = { ...present, ...change };
  return isDeepStrictEqual(next, present) ? present : tx.updateNetwork(next);
}

export function deleteNetwork(tx: StoreTransaction, name: string, etag: string): void {
  const { revision } = requireNetwork(tx, name);
  checkEtag(etag, revision, { type: "network", name });
  if (tx.hasEndpoints(name)) {
    throw new ClusterError(
      "failed_precondition",
      `network ${name} still has endpoints on ${tx.nodesOfNetwork(name).join(", ")}: delete them first`,
      { precondition: { type: "NETWORK_NOT_EMPTY", subject: `network/${name}` } },
    );
  }
  tx.deleteNetwork(name);
}
