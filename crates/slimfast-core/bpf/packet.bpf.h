/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Headers as they are on the wire, for the programs that see packets. */
#ifndef SLIMFAST_PACKET_BPF_H
#define SLIMFAST_PACKET_BPF_H

#include "maps.bpf.h"

#define ETHERTYPE_IPV4 0x0800
#define ETHERTYPE_IPV6 0x86dd
#define ETHERNET_BYTES 14
#define IPPROTO_ICMP   1
#define IPPROTO_ICMPV6 58

struct ip_header {
    __u8 version_length;
    __u8 tos;
    __be16 total_length;
    __be16 id;
    __be16 fragment;
    __u8 ttl;
    __u8 protocol;
    __u16 checksum;
    __be32 source;
    __be32 destination;
};

/* Without extension headers, of which TCP has none. */
struct ip6_header {
    __be32 version_class_flow;
    __be16 payload_length;
    __u8 next_header;
    __u8 hop_limit;
    struct sf_address6 source;
    struct sf_address6 destination;
};

struct tcp_header {
    __be16 source;
    __be16 destination;
    __be32 sequence;
    __be32 acknowledgement;
    __u8 length;
    __u8 flags;
    __be16 window;
    __u16 checksum;
    __be16 urgent;
};

#define TCP_FLAG_SYN 0x02
#define TCP_FLAG_ACK 0x10

/* The first segment of a connection. */
static __always_inline bool is_syn(__u8 tcp_flags) {
    return (tcp_flags & (TCP_FLAG_SYN | TCP_FLAG_ACK)) == TCP_FLAG_SYN;
}

#endif
