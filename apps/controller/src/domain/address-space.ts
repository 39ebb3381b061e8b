/** What addresses are for: which of them a network or a host can have, and which of a prefix its endpoints get. Pure. */
import { containsRange, type IpPrefix, type IpRange, parseIpPrefix } from "@slimfast/proto";

/** A prefix that is known to be well-formed: of a table, or one that was checked when it was stored. */
export function knownPrefix(text: string): IpPrefix {
  const prefix = parseIpPrefix(text);
  if (typeof prefix === "string") throw new Error(`prefix ${text} is ${prefix}`);
  return prefix;
}

/** What endpoints can have: the first and the last address of the prefix are reserved, and nothing else. */
export function endpointAddresses({ family, first, last }: IpRange): IpRange {
  return { family, first: first + 1n, last: last - 1n };
}

/** What addresses are for that cannot be a container's. */
const SPECIAL = (
  [
    ["0.0.0.0/8", "“this network” (RFC 1122)"],
    ["127.0.0.0/8", "loopback"],
    ["169.254.0.0/16", "link-local addresses"],
    ["224.0.0.0/4", "multicast"],
    ["240.0.0.0/4", "reserved (RFC 1112)"],
    ["::/128", "the unspecified address"],
    ["::1/128", "loopback"],
    ["::ffff:0.0.0.0/96", "IPv4 addresses in IPv6 form (RFC 4291)"],
    ["64:ff9b::/96", "IPv4 addresses behind NAT64 (RFC 6052)"],
    ["fe80::/10", "link-local addresses"],
    ["ff00::/8", "multicast"],
  ] as const
).map(([text, use]) => ({ text, range: knownPrefix(text), use }));

/** Of IPv6, only these are unicast addresses that mean the same everywhere: unique local and global ones. */
const USABLE_IPV6 = ["fc00::/7", "2000::/3"].map(knownPrefix);

/** What an address in the range is for if it cannot be a container's, else undefined. */
export function specialUse(range: IpRange): string | undefined {
  const special = SPECIAL.find((other) => overlap(other.range, range));
  if (special) return special.use;
  const isUsable = range.family === 4 || USABLE_IPV6.some((usable) => containsRange(usable, range));
  return isUsable ? undefined : "neither unique local (fc00::/7) nor global unicast (2000::/3)";
}

function overlap(one: IpRange, other: IpRange): boolean {
  return one.family === other.family && one.first <= other.last && one.last >= other.first;
}

/** Metadata services are at link-local addresses, and a NAT64 is somebody else's router: who names them can have them. */
const REACHABLE_WHERE_NAMED: ReadonlySet<string> = new Set(["169.254.0.0/16", "64:ff9b::/96"]);
const UNREACHABLE = SPECIAL.filter(({ text }) => !REACHABLE_WHERE_NAMED.has(text));

/**
 * Why no connection can leave for the range, whatever is allowed; undefined if it can. A wide range may contain such
 * addresses, and does not open them.
 */
export function unreachableUse(range: IpRange): string | undefined {
  return UNREACHABLE.find((special) => containsRange(special.range, range))?.use;
}
