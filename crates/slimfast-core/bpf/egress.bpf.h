/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Who may leave the overlay, and where to: a network's egress ranges, and the addresses that a range opens only if it
 * is about nothing else.
 *
 * Fails closed: a network without ranges reaches nothing outside.
 */
#ifndef SLIMFAST_EGRESS_BPF_H
#define SLIMFAST_EGRESS_BPF_H

#include "maps.bpf.h"

/* Prefix length that a range must have at least to be about the address. More than 32: no range is. */
static __always_inline __u32 required_length(__be32 address) {
    __u32 host = bpf_ntohl(address);

    /* 0.0.0.0/8 this host, 127.0.0.0/8 loopback, 224.0.0.0/3 multicast, reserved, broadcast */
    if ((host >> 24) == 0 || (host >> 24) == 127 || (host >> 29) == 7)
        return 33;
    if ((host >> 16) == 0xa9fe) /* 169.254.0.0/16: link-local (RFC 3927), metadata of most clouds */
        return 16;
    switch (host) {
    case 0x646464c8: /* 100.100.100.200: metadata of Alibaba Cloud */
    case 0xa83f8110: /* 168.63.129.16: the host of an Azure machine */
    case 0xc00000c0: /* 192.0.0.192: metadata of Oracle Cloud */
        return 32;
    }
    if (bpf_map_lookup_elem(&host_addresses, &address) || bpf_map_lookup_elem(&nodes, &address))
        return 32;
    return 0;
}

/* 0, or the errno with which connect(2) fails. */
static __always_inline int may_leave(__u32 vni, __be32 address) {
    struct sf_egress_key key = {.prefix_length = SF_EGRESS_BITS, .vni = vni, .address = address};
    const __u8 *length = bpf_map_lookup_elem(&egress, &key);
    __u32 required = required_length(address);

    if (length && *length >= required)
        return 0;
    /* What is never outside is not there; what no range names has no route, as groups have none for TCP. */
    return required && bpf_ntohl(address) >> 29 != 7 ? EHOSTUNREACH : ENETUNREACH;
}

/*
 * The same of IPv6. More than 128: no range is about the address. Ranges that carry IPv4 addresses are not a second way
 * to them.
 */
static __always_inline __u32 required_length6(const struct sf_address6 *address) {
    __u32 first = bpf_ntohl(address->words[0]), second = bpf_ntohl(address->words[1]);

    /* ::/32: unspecified, loopback, v4-compatible, v4-mapped (RFC 4291); 64:ff9b::/32: NAT64 (RFC 6052, 8215);
     * 2002::/16: 6to4 (RFC 3056); 2001::/32: Teredo (RFC 4380) */
    if (first == 0 || first == 0x0064ff9b || (first >> 16) == 0x2002 || first == 0x20010000)
        return 129;
    /* 100::/64: discarded everywhere (RFC 6666), and what stands for plain peers in the node's namespace */
    if (first == SF_ALIAS6_PREFIX && second == 0)
        return 129;
    /* fe80::/10 link-local, fec0::/10 once site-local, ff00::/8 multicast: they need a device */
    if ((first >> 23) == 0xfe80 >> 7 || (first >> 24) == 0xff)
        return 129;
    /* fd00:ec2::254: metadata of AWS */
    if (first == 0xfd000ec2 && second == 0 && address->words[2] == 0 && bpf_ntohl(address->words[3]) == 0x254)
        return 128;
    return bpf_map_lookup_elem(&host_addresses6, address) ? 128 : 0;
}

/* To a container, IPv6 addresses that are not reached are a family without a route. */
static __always_inline int may_leave6(__u32 vni, const struct sf_address6 *address) {
    struct sf_egress6_key key = {.prefix_length = SF_EGRESS6_BITS, .vni = vni, .address = *address};
    const __u8 *length = bpf_map_lookup_elem(&egress6, &key);

    return length && *length >= required_length6(address) ? 0 : ENETUNREACH;
}

#endif
