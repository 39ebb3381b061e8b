/** How nodes get certificates, and lose them. What is remembered of a certificate is what makes it valid. */
import type { NodeCertificates } from "../domain/resources.js";
import { nodeOwner } from "../domain/resources.js";
import { validName } from "../domain/validation.js";
import { ClusterError, notFound } from "../errors.js";
import type { Store, StoreTransaction } from "../store/store.js";
import type { Authenticator } from "./authenticator.js";
import { currentCall } from "./call-context.js";
import type { ClusterAuthority } from "./cluster-authority.js";
import { permissionDenied } from "./identity.js";
import { MAX_CERTIFICATES_PER_NODE } from "./limits.js";
import { takeUse } from "./tokens.js";
import { type NodeCertificateIssued, readCertificateRequest } from "./x509.js";

export interface Enrolled {
  /** Both in PEM. */
  readonly certificate: string;
  readonly authorities: string;
}

export interface EnrollmentParts {
  readonly store: Store;
  readonly authority: () => Promise<ClusterAuthority>;
  readonly authenticator: Authenticator;
}

export class Enrollment {
  readonly #parts: EnrollmentParts;

  constructor(parts: EnrollmentParts) {
    this.#parts = parts;
  }

  /** A first certificate, against a join token. */
  async enroll(node: string, joinToken: string, certificateRequest: Uint8Array): Promise<Enrolled> {
    const { store, authenticator } = this.#parts;
    const token = authenticator.token(joinToken);
    const call = currentCall();
    if (call) call.actor = `token/${token.name}`;
    if (token.role !== "join" && token.role !== "admin") {
      throw permissionDenied(`token ${token.name} is no join token`);
    }
    validName("node", node);
    const request = await readCertificateRequest(certificateRequest);
    const authority = await this.#parts.authority();
    // Before anything is signed; what counts is what the transaction finds.
    refuseNamesake(store.get("certificates", node), node);
    const issued = await authority.issueNode(node, request);
    await store.transaction((tx) => {
      takeUse(tx, token.hash);
      refuseNamesake(tx.get("certificates", node), node);
      remember(tx, node, issued);
    });
    return { certificate: issued.certificate, authorities: authority.bundle };
  }

  /** The next certificate of a node that has one. */
  async renew(node: string, certificateRequest: Uint8Array): Promise<Enrolled> {
    const { store } = this.#parts;
    const call = currentCall();
    if (call) call.resource = nodeOwner(node);
    const request = await readCertificateRequest(certificateRequest);
    const authority = await this.#parts.authority();
    const issued = await authority.issueNode(node, request);
    await store.transaction((tx) => {
      if (valid(tx.get("certificates", node)).length === 0) {
        throw permissionDenied(`the certificates of node ${node} were revoked: it must join again`);
      }
      remember(tx, node, issued);
    });
    return { certificate: issued.certificate, authorities: authority.bundle };
  }

  /** Ends the rights of all certificates that the node has now. */
  async revoke(node: string): Promise<void> {
    validName("node", node);
    await this.#parts.store.transaction((tx) => {
      if (!tx.get("certificates", node) && !tx.getNode(node)) throw notFound("node", node);
      tx.delete("certificates", node);
      showExpiry(tx, node, undefined);
    });
  }
}

function valid(known: NodeCertificates | undefined): NodeCertificates["certificates"] {
  const nowMs = Date.now();
  return known?.certificates.filter(({ expireTimeMs }) => expireTimeMs > nowMs) ?? [];
}

/** A join token is for new nodes: with it nobody gets the name of one that is there. */
function refuseNamesake(known: NodeCertificates | undefined, node: string): void {
  if (valid(known).length === 0) return;
  throw new ClusterError(
    "already_exists",
    `node ${node} has a certificate already: give this node another name, or revoke the certificates of that one`,
    { resource: { type: "node", name: node, owner: nodeOwner(node) } },
  );
}

function remember(tx: StoreTransaction, node: string, { serial, expireTimeMs }: NodeCertificateIssued): void {
  const kept = valid(tx.get("certificates", node)).slice(-(MAX_CERTIFICATES_PER_NODE - 1));
  tx.put("certificates", { node, certificates: [...kept, { serial, expireTimeMs }] });
  showExpiry(tx, node, expireTimeMs);
}

/** In the node's resource, if it has registered. */
function showExpiry(tx: StoreTransaction, name: string, expireTimeMs: number | undefined): void {
  const node = tx.getNode(name);
  if (!node || node.certificateExpireTimeMs === expireTimeMs) return;
  const { certificateExpireTimeMs: _, ...others } = node;
  tx.putNode(expireTimeMs === undefined ? others : { ...others, certificateExpireTimeMs: expireTimeMs });
}
