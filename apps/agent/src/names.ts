/** Names: which are allowed, which are made up, and what the network namespace of an endpoint is called. */
import { createHash, randomBytes } from "node:crypto";

const DNS_LABEL = /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/;

/** `ip netns` takes names up to 255 bytes; more than this is unreadable in listings. */
const NETNS_NAME_MAX = 60;
const HASH_LENGTH = 8;

/** Whether `name` is a DNS label (RFC 1123), in lower case. */
export function isDnsLabel(name: string): boolean {
  return DNS_LABEL.test(name);
}

/** A name for an endpoint to which nobody gave one. */
export function madeUpName(): string {
  return `ep-${randomBytes(4).toString("hex")}`;
}

/**
 * The network namespace of an endpoint: `sf-NODE-NETWORK-NAME`, or a shortened form that ends in a hash if that is too
 * long, or taken: `-` is allowed inside each part, so that two endpoints can come to the same name.
 */
export function netnsName(
  node: string,
  network: string,
  endpoint: string,
  isTaken: (name: string) => boolean = () => false,
): string {
  const plain = `sf-${node}-${network}-${endpoint}`;
  if (plain.length <= NETNS_NAME_MAX && !isTaken(plain)) return plain;
  const hash = createHash("sha256").update(`${node}/${network}/${endpoint}`).digest("hex").slice(0, HASH_LENGTH);
  return `${plain.slice(0, NETNS_NAME_MAX - HASH_LENGTH - 1)}-${hash}`;
}
