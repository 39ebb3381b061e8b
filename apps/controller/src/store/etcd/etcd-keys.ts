/** How documents and claims are named in etcd. */
import type { Kind } from "../kinds.js";

const ROOT = "/slimfast/v1/";

export const STORE_ID_KEY = Buffer.from(`${ROOT}store-id`);
export const DOCUMENTS = `${ROOT}d/`;

export function documentKey(kind: Kind, key: string): string {
  return `${DOCUMENTS}${kind}/${key}`;
}

/** Kind and key of a document by its name in etcd. */
export function splitDocumentKey(name: string): { kind: string; key: string } {
  const rest = name.slice(DOCUMENTS.length);
  const slash = rest.indexOf("/");
  return { kind: rest.slice(0, slash), key: rest.slice(slash + 1) };
}

export function claimKey(kind: Kind, claim: string): string {
  return `${ROOT}c/${kind}/${claim}`;
}

/** There while one controller, which it names, holds all others up. */
export const HOLD_KEY = Buffer.from(`${ROOT}hold`);

export const BATCHES = `${ROOT}batch/`;

/** Holds the number of the last batch that a controller wrote. */
export function batchKey(controllerId: string): string {
  return BATCHES + controllerId;
}

/** Numbers of batches are compared as bytes. */
export function batchNumber(number: number): Buffer {
  return Buffer.from(String(number).padStart(12, "0"));
}

/** The end of the range of all keys with the prefix. No key of ours ends in 0xff. */
export function rangeEnd(prefix: string): Buffer {
  const end = Buffer.from(prefix);
  end[end.length - 1] = (end[end.length - 1] ?? 0) + 1;
  return end;
}
