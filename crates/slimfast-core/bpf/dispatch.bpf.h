/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Inbound connections: the SYN's option is read where the packet is seen, and acted on where the stack looks for a
 * listener. Two hooks, because sk_lookup sees no packet; see docs/adr/0002-ingress-hook.md.
 *
 * Verdicts: the ingress hook never drops. What it does not record, sk_lookup answers with RST.
 */
#ifndef SLIMFAST_DISPATCH_BPF_H
#define SLIMFAST_DISPATCH_BPF_H

#include "events.bpf.h"
#include "handshakes.bpf.h"
#include "limits.bpf.h"
#include "packet.bpf.h"
#include "plain.bpf.h"
#include "policy.bpf.h"
#include "ports.bpf.h"

/* A SYN to a front port whose option is `option` (0: it has none). Leaves no entry of an earlier SYN behind. */
VERIFIED_ONCE int record_syn(const struct sf_flow_key *key, bool from_here, const struct sf_option *option) {
    struct sf_flow flow = {};
    __u8 version = option ? option->version_flags >> 4 : 0;
    bool is_other_source;

    if (!key)
        return 0;
    count(SF_COUNTER_syns_seen);
    /* Loopback is told by version 1, that of IPv6 too. */
    if (!option || option->kind != SF_OPTION_KIND || option->length != sizeof(*option) ||
        option->exid != bpf_htons(SF_OPTION_EXID) ||
        (version != SF_OPTION_VERSION &&
         (version != SF_OPTION_VERSION6 || option->version_flags & (SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6)))) {
        count(SF_COUNTER_syns_no_option);
        drop_handshake(key);
        return 0;
    }
    flow.destination.vni = option->vni[0] << 16 | option->vni[1] << 8 | option->vni[2];
    flow.destination.id = bpf_ntohl(option->destination_id);
    flow.source_address = option->source_address;
    flow.source_port = option->source_port;
    flow.destination_port = port_of(option->destination_port);
    flow.flags = option->version_flags & (SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6);
    is_other_source = option->version_flags & SF_OPTION_SOURCE && from_here;
    if (version == SF_OPTION_VERSION6) {
        flow.flags = SF_OPTION_IPV6;
        if (is_other_source && bpf_ntohl(flow.source_address) == flow.destination.id)
            flow.flags |= SF_OPTION_SOURCE;
    } else if (is_other_source && flow.flags & SF_OPTION_LOOPBACK6) {
        flow.flags |= SF_OPTION_SOURCE;
    } else if (is_other_source) {
        const __be32 *client = bpf_map_lookup_elem(&sources, key);

        if (client)
            flow.client_address = *client;
    }
    /* A loopback connection comes from the node itself, or it is a lie. */
    if ((flow.flags & (SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6)) && !from_here) {
        count(SF_COUNTER_syns_unknown_node);
        drop_handshake(key);
        return 0;
    }
    put_handshake(key, &flow);
    return 0;
}

extern void *bpf_rdonly_cast(const void *object, __u32 btf_id) __ksym;

#define KERNEL_VIEW(type, address) ((type *)bpf_rdonly_cast(address, bpf_core_type_id_kernel(type)))

extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *ptr) __ksym;
extern void *bpf_dynptr_slice(const struct bpf_dynptr *ptr, __u32 offset, void *buffer, __u32 size) __ksym;

/* A packet's addresses and ports. */
static __always_inline struct sf_flow_key flow_of(const struct iphdr *ip, __be16 source, __be16 destination) {
    struct sf_flow_key key = {ip->saddr, ip->daddr, source, destination};

    return key;
}

/* Whether the SYN is a node's; if not it is counted. */
static __always_inline bool is_from_node(const struct sf_flow_key *key) {
    if (bpf_map_lookup_elem(&nodes, &key->source))
        return true;
    count(SF_COUNTER_syns_unknown_node);
    return false;
}

/* The same of a packet whose headers do not lie in its linear part. */
static __noinline int read_scattered(struct sk_buff *skb) {
    const struct iphdr *ip = KERNEL_VIEW(struct iphdr, skb->head + skb->network_header);
    __u32 ip_bytes = skb->transport_header - skb->network_header;
    const struct sf_option *slice = 0;
    struct sf_option option;
    struct tcp_header tcp_buffer;
    const struct tcp_header *tcp;
    struct bpf_dynptr packet;
    struct sf_flow_key key;
    __u32 tcp_bytes;

    if (bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &packet))
        return 0;
    tcp = bpf_dynptr_slice(&packet, ip_bytes, &tcp_buffer, sizeof(tcp_buffer));
    if (!tcp || !is_syn(tcp->flags) || !is_front_port(port_of(tcp->destination)))
        return 0;
    key = flow_of(ip, tcp->source, tcp->destination);
    if (!is_from_node(&key))
        return 0;
    tcp_bytes = (tcp->length >> 4) * 4;
    if (tcp_bytes >= sizeof(*tcp) + sizeof(option))
        slice = bpf_dynptr_slice(&packet, ip_bytes + tcp_bytes - sizeof(option), &option, sizeof(option));
    if (slice)
        option = *slice;
    record_syn(&key, key.source == node_address, slice ? &option : 0);
    return 0;
}

/*
 * NF_INET_LOCAL_IN of IPv4: packets for the host itself, from any device, whole (defragmented). Every one of them pays
 * what comes before the question whether it is a SYN to a front port: plain loads, no calls.
 */
SEC("netfilter")
int sf_ingress(struct bpf_nf_ctx *ctx) {
    const struct sk_buff *skb = ctx->skb;
    const struct iphdr *ip = KERNEL_VIEW(struct iphdr, skb->head + skb->network_header);
    __u64 tcp_offset = skb->head + skb->transport_header - skb->data;
    __u32 linear = skb->len - skb->data_len;
    const struct tcphdr *tcp;
    struct sf_option option;
    struct sf_flow_key key;
    __u32 tcp_bytes;
    bool has_option;

    if (ip->protocol != IPPROTO_TCP)
        return NF_ACCEPT;
    if (tcp_offset + sizeof(struct tcp_header) > linear) {
        read_scattered(ctx->skb);
        return NF_ACCEPT;
    }
    tcp = KERNEL_VIEW(struct tcphdr, skb->head + skb->transport_header);
    if (!BPF_CORE_READ_BITFIELD(tcp, syn) || BPF_CORE_READ_BITFIELD(tcp, ack) || !is_front_port(port_of(tcp->dest)))
        return NF_ACCEPT;
    tcp_bytes = BPF_CORE_READ_BITFIELD(tcp, doff) * 4;
    if (tcp_offset + tcp_bytes > linear) {
        read_scattered(ctx->skb);
        return NF_ACCEPT;
    }
    key = flow_of(ip, tcp->source, tcp->dest);
    if (!is_from_node(&key))
        return NF_ACCEPT;
    has_option = tcp_bytes >= sizeof(struct tcp_header) + sizeof(option) &&
                 !bpf_probe_read_kernel(&option, sizeof(option), (const char *)tcp + tcp_bytes - sizeof(option));
    record_syn(&key, key.source == node_address, has_option ? &option : 0);
    return NF_ACCEPT;
}

/* ---- choosing the listener
 * -------------------------------------------------------------------------------------------- */

/* How many are set: in pairs of bits, in fours, in bytes, and then of all bytes (lib/hweight.c). */
static __always_inline __u32 set_bits(__u64 mask) {
    mask -= mask >> 1 & 0x5555555555555555ULL;
    mask = (mask & 0x3333333333333333ULL) + (mask >> 2 & 0x3333333333333333ULL);
    mask = (mask + (mask >> 4)) & 0x0f0f0f0f0f0f0f0fULL;
    return mask * 0x0101010101010101ULL >> 56;
}

/* The n-th set bit of a mask that has more than n. */
static __always_inline __u32 nth_set_bit(__u64 mask, __u32 n) {
    __u32 bit = 0;

#pragma unroll
    for (__u32 width = 32; width; width /= 2) {
        __u32 below = set_bits(mask & ((1ULL << width) - 1));

        if (n < below)
            continue;
        n -= below;
        mask >>= width;
        bit += width;
    }
    return bit;
}

/*
 * Assigns one of the listeners of one class, which has these slots: not none. 1: assigned, 0: it is gone, -1: the
 * kernel refused it.
 */
VERIFIED_ONCE int assign(struct bpf_sk_lookup *ctx, __u64 slots, struct sf_listener_key *key, __u32 class) {
    struct bpf_sock *sk;
    long refused;

    if (!key)
        return 0;
    key->bind_class = class;
    /* One listener is the rule; SO_REUSEPORT spreads by the flow, as the kernel does. */
    if (slots == 1) {
        key->slot = 0;
    } else {
        /* IPv6 itself: plain peers and published ports. Connections between endpoints come by IPv4. */
        __u32 source = ctx->family == AF_INET
                           ? ctx->remote_ip4
                           : ctx->remote_ip6[0] ^ ctx->remote_ip6[1] ^ ctx->remote_ip6[2] ^ ctx->remote_ip6[3];
        __u32 hash = mix(source ^ mix((__u32)bpf_ntohs(ctx->remote_port) << 16 ^ ctx->local_port));

        key->slot = nth_set_bit(slots, (__u64)hash * set_bits(slots) >> 32);
    }
    sk = bpf_map_lookup_elem(&listeners, key);
    if (!sk)
        return 0;
    refused = bpf_sk_assign(ctx, sk, BPF_SK_LOOKUP_F_NO_REUSEPORT);
    bpf_sk_release(sk);
    return refused ? -1 : 1;
}

/* The same, without a call for a class that nobody listens on. */
static __always_inline int assign_if_any(struct bpf_sk_lookup *ctx, const struct sf_port *port,
                                         struct sf_listener_key *key, __u32 class) {
    __u64 slots = port->classes[class_index(class)].slots;

    return slots ? assign(ctx, slots, key, class) : 0;
}

/* Assigns a listener that has bound to this address of 127.0.0.0/8, which is not 127.0.0.1. */
static __always_inline int assign_other_loopback(struct bpf_sk_lookup *ctx, __be32 address,
                                                 struct sf_port_key *port_key, struct sf_listener_key *key) {
    const struct sf_port *port;
    int assigned = 0;

    port_key->loopback = address;
    port = bpf_map_lookup_elem(&ports, port_key);
    key->loopback = address;
    if (port)
        assigned = assign_if_any(ctx, port, key, SF_BIND_LOOPBACK4);
    key->loopback = 0;
    return assigned;
}

static __always_inline int refuse_stranger(enum sf_counter counter) {
    count(counter);
    return SK_DROP;
}

/* Says of a flow between IPv6 addresses who its two ends are. */
static __always_inline void describe_refused6(struct sf_connection *event, const struct sf_endpoint *endpoint,
                                              const struct sf_flow *flow) {
    struct sf_endpoint_key from = {.vni = flow->destination.vni, .id = bpf_ntohl(flow->source_address)};
    const struct sf_source6 *source = bpf_map_lookup_elem(&sources6, &from);

    event->flags |= SF_IPV6;
    event->local_address6 = endpoint->address6;
    if (source)
        event->peer_address6 = source->address;
}

/* A SYN that dispatch understood and that is not let in. Whatever the reason, the other end sees ECONNREFUSED. */
VERIFIED_ONCE int refuse_inbound(const struct sf_endpoint_key *key, const struct sf_flow *flow, int errno,
                                 enum sf_counter counter) {
    const struct sf_endpoint *endpoint = key ? bpf_map_lookup_elem(&endpoints, key) : 0;
    struct sf_connection *event;

    if (!endpoint)
        return refuse_stranger(SF_COUNTER_refused_unknown_endpoint);
    count(counter);
    if (!flow)
        return SK_DROP;
    event = reserve_refusal(SF_OVERLAY | SF_ACCEPTED, errno);
    if (event) {
        event->owner = *key;
        event->flags = SF_OVERLAY | SF_ACCEPTED;
        event->local_address = endpoint->address;
        event->local_port = bpf_htons(flow->destination_port);
        if (flow->flags & SF_OPTION_IPV6)
            describe_refused6(event, endpoint, flow);
        else
            event->peer_address = flow->flags ? bpf_htonl(0x7f000001) : flow->source_address;
        event->peer_port = flow->source_port;
        submit(event);
    }
    return SK_DROP;
}

/*
 * SK_DROP answers with RST. `flags`: SF_OPTION_*. That the endpoint is attached here needs no look-up: `ports`
 * has entries of its sockets only, and they are destroyed when it is detached.
 */
VERIFIED_ONCE int to_endpoint(struct bpf_sk_lookup *ctx, const struct sf_endpoint_key *endpoint, __u16 number,
                              __u32 flags, const struct sf_flow *flow) {
    struct sf_port_key port_key = {.port = number};
    struct sf_listener_key key = {.port = number};
    const struct sf_port *port;
    int assigned;

    if (!endpoint)
        return SK_DROP;
    port_key.endpoint = *endpoint;
    key.endpoint = *endpoint;
    port = bpf_map_lookup_elem(&ports, &port_key);
    if (!port)
        return refuse_inbound(endpoint, flow, ECONNREFUSED, SF_COUNTER_refused_no_listener);
    if (is_full(port->account))
        return refuse_stranger(SF_COUNTER_inbound_limited);
    /* The more specific address first, then IPv4 before dual-stack: net/ipv4/inet_hashtables.c, compute_score. */
    if (flow && flags & SF_OPTION_LOOPBACK && flow->source_address != bpf_htonl(LOOPBACK4))
        assigned = assign_other_loopback(ctx, flow->source_address, &port_key, &key);
    else
        assigned = assign_if_any(ctx, port, &key,
                                 !flags                        ? SF_BIND_ADDRESS4
                                 : flags & SF_OPTION_IPV6      ? SF_BIND_ADDRESS6
                                 : flags & SF_OPTION_LOOPBACK6 ? SF_BIND_LOOPBACK6
                                                               : SF_BIND_LOOPBACK4);
    if (!assigned)
        assigned = assign_if_any(ctx, port, &key,
                                 flags & (SF_OPTION_IPV6 | SF_OPTION_LOOPBACK6) ? SF_BIND_ANY6 : SF_BIND_ANY4);
    if (!assigned)
        assigned = assign_if_any(ctx, port, &key, SF_BIND_DUAL);
    if (assigned > 0) {
        count(flow ? SF_COUNTER_dispatched : SF_COUNTER_dispatched_published);
        return SK_PASS;
    }
    return refuse_inbound(endpoint, flow, ECONNREFUSED,
                          assigned ? SF_COUNTER_refused_assign : SF_COUNTER_refused_no_listener);
}

/* A SYN between IPv6 addresses of the overlay, from node `via`. Nobody is let in whose address cannot be told. */
static __always_inline int from_source6(struct bpf_sk_lookup *ctx, const struct sf_flow *flow, __be32 via) {
    struct sf_endpoint_key to = flow->destination;
    struct sf_endpoint_key from = {.vni = to.vni, .id = bpf_ntohl(flow->source_address)};
    const struct sf_source6 *source = bpf_map_lookup_elem(&sources6, &from);

    if (!source)
        return refuse_inbound(&to, flow, ECONNREFUSED, SF_COUNTER_refused_unknown_source);
    if (!is_allowed_from6(to.vni, from.id, source, via, to.id, flow->destination_port))
        return refuse_inbound(&to, flow, EPERM, SF_COUNTER_refused_policy);
    return to_endpoint(ctx, &to, flow->destination_port, SF_OPTION_IPV6, flow);
}

/* A SYN to a published port, by IPv4 or IPv6. */
static __always_inline int to_published(struct bpf_sk_lookup *ctx, const struct sf_published *to) {
    struct sf_endpoint_key key = to->endpoint;
    const struct sf_endpoint *endpoint;

    if (ctx->family == AF_INET)
        return to_endpoint(ctx, &key, to->port, 0, 0);
    endpoint = bpf_map_lookup_elem(&endpoints, &key);
    if (!endpoint || is_any6(&endpoint->address6))
        return refuse_stranger(SF_COUNTER_refused_no_listener);
    return to_endpoint(ctx, &key, to->port, SF_OPTION_IPV6, 0);
}

/* A SYN by IPv4 from a plain peer, or from the node itself, by way of a network's router. */
VERIFIED_ONCE int from_plain4(struct bpf_sk_lookup *ctx) {
    struct sf_address_key key = {};
    struct sf_flow flow = {.source_port = ctx->remote_port, .destination_port = ctx->local_port};
    __u32 device = ctx->ingress_ifindex;
    const __u32 *vni = bpf_map_lookup_elem(&uplinks, &device);
    const struct sf_network *network;
    const struct sf_peer *peer;

    /* Aliases are never on a wire: what comes with them over any other device is forged. */
    if (!vni || !is_plain_peer(ctx->remote_ip4))
        return refuse_stranger(SF_COUNTER_refused_hidden);
    key.vni = *vni;
    network = bpf_map_lookup_elem(&networks, &key.vni);
    if (!network)
        return refuse_stranger(SF_COUNTER_refused_unknown_endpoint);
    key.address = address_of(network, ctx->local_ip4);
    peer = bpf_map_lookup_elem(&peers, &key);
    if (!peer)
        return refuse_stranger(SF_COUNTER_refused_unknown_endpoint);
    flow.destination.vni = key.vni;
    flow.destination.id = peer->id;
    flow.source_address = address_of(network, ctx->remote_ip4);
    /* Policies are between endpoints; the node's own processes probe whom they like, as its published ports do. */
    if (flow.source_address != bpf_htonl(SF_NODE_ALIAS) &&
        !is_allowed_from(key.vni, flow.source_address, 0, peer->id, flow.destination_port))
        return refuse_inbound(&flow.destination, &flow, EPERM, SF_COUNTER_refused_policy);
    count(SF_COUNTER_dispatched_plain);
    return to_endpoint(ctx, &flow.destination, flow.destination_port, 0, &flow);
}

/* The same by IPv6. */
VERIFIED_ONCE int from_plain6(struct bpf_sk_lookup *ctx) {
    struct sf_flow flow = {
        .source_address = ctx->remote_ip6[3],
        .source_port = ctx->remote_port,
        .destination_port = ctx->local_port,
        .flags = SF_OPTION_IPV6,
    };
    __u32 device = ctx->ingress_ifindex;
    const __u32 *vni = bpf_map_lookup_elem(&uplinks, &device);

    if (!vni ||
        kind6_of(ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2]) != bpf_htonl(SF_ALIAS_PEER | *vni) ||
        ctx->local_ip6[2] != bpf_htonl(SF_ALIAS_PEER | SF_ALIAS_OWN | *vni))
        return refuse_stranger(SF_COUNTER_refused_hidden);
    flow.destination.vni = *vni;
    flow.destination.id = bpf_ntohl(ctx->local_ip6[3]);
    count(SF_COUNTER_dispatched_plain);
    if (!flow.source_address)
        return to_endpoint(ctx, &flow.destination, flow.destination_port, SF_OPTION_IPV6, &flow);
    return from_source6(ctx, &flow, 0);
}

static __always_inline int from_plain(struct bpf_sk_lookup *ctx) {
    return ctx->family == AF_INET ? from_plain4(ctx) : from_plain6(ctx);
}

/* The SYN's destination stands for an endpoint of the node. */
static __always_inline bool is_to_alias(const struct bpf_sk_lookup *ctx) {
    return is_own_alias(ctx->family == AF_INET ? ctx->local_ip4
                                               : kind6_of(ctx->local_ip6[0], ctx->local_ip6[1], ctx->local_ip6[2]));
}

static __always_inline int dispatch(struct bpf_sk_lookup *ctx) {
    struct sf_hidden_key hidden = {.port = ctx->local_port, .family = ctx->family};
    const struct sf_published *to;
    __u16 port = ctx->local_port;

    if (ctx->protocol != IPPROTO_TCP)
        return SK_PASS;
    if (is_front_port(port)) {
        struct sf_flow_key key = {.source_port = ctx->remote_port, .destination_port = bpf_htons(port)};
        struct sf_endpoint_key endpoint;
        struct sf_flow flow;
        int verdict;

        /* Of IPv6 nothing is here, and no flow has the key. */
        if (ctx->family == AF_INET) {
            key.source = ctx->remote_ip4;
            key.destination = ctx->local_ip4;
        }
        if (!get_handshake(&key, &flow)) {
            if (is_to_alias(ctx))
                return from_plain(ctx);
            return refuse_stranger(SF_COUNTER_refused_no_flow);
        }
        endpoint = flow.destination;
        if (flow.flags & SF_OPTION_IPV6)
            verdict = from_source6(ctx, &flow, key.source);
        else if (flow.flags ||
                 is_allowed_from(endpoint.vni, flow.source_address, key.source, endpoint.id, flow.destination_port))
            verdict = to_endpoint(ctx, &endpoint, flow.destination_port, flow.flags, &flow);
        else
            verdict = refuse_inbound(&endpoint, &flow, EPERM, SF_COUNTER_refused_policy);
        if (verdict == SK_DROP)
            drop_handshake(&key);
        return verdict;
    }
    if (is_to_alias(ctx))
        return from_plain(ctx);
    to = bpf_map_lookup_elem(&published, &port);
    if (to)
        return to_published(ctx, to);
    /* Fails closed: a listener of ours is reachable in no other way. */
    if (bpf_map_lookup_elem(&hidden_ports, &hidden))
        return refuse_stranger(SF_COUNTER_refused_hidden);
    return SK_PASS;
}

SEC("sk_lookup")
int sf_dispatch(struct bpf_sk_lookup *ctx) {
    /* The verifier wants one of the two, and does not know what functions of their own return. */
    return index_of(dispatch(ctx), SK_PASS + 1);
}

#endif
