/** Etags (AIP-154): opaque to callers, here the revision of the resource's last change. Pure. */
import { ClusterError, type ResourceReference } from "../errors.js";

export function etagOf(revision: bigint): string {
  return `"${revision.toString(36)}"`;
}

/**
 * Checks the etag that a request came with; an empty one checks nothing.
 *
 * @throws ClusterError `aborted` if the resource has changed since it was read.
 */
export function checkEtag(etag: string, revision: bigint, resource: ResourceReference): void {
  if (etag === "" || etag === etagOf(revision)) return;
  throw new ClusterError(
    "aborted",
    `${resource.type} ${resource.name} has changed since it was read: read it again and decide anew`,
    { resource, reason: { reason: "ETAG_MISMATCH", metadata: { etag: etagOf(revision) } } },
  );
}
