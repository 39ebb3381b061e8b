/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * TCP between accelerated endpoints and plain peers: processes with sockets of their own namespace, and the node's own.
 *
 * Their packets travel over the network's router like everything that is not accelerated. Between the router and the
 * node's namespace, where the accelerated sockets are, addresses are translated one to one (see SF_ALIAS_PEER), so that
 * networks with overlapping prefixes cannot meet. Only connections from an endpoint of the node to a plain one have an
 * entry each, for the port: what the container has bound and what the host socket has may differ.
 *
 * No conntrack, no NAT rules, no marks; nothing of this is on the path of connections between accelerated endpoints.
 */
#ifndef SLIMFAST_PLAIN_BPF_H
#define SLIMFAST_PLAIN_BPF_H

#include <linux/pkt_cls.h>
#include "packet.bpf.h"

#define ETHERTYPE_IPV4  0x0800
#define IPPROTO_ICMP    1
#define ETHERNET_BYTES  14
#define IP_CHECKSUM     (ETHERNET_BYTES + 10)
#define IP_SOURCE       (ETHERNET_BYTES + 12)
#define IP_DESTINATION  (ETHERNET_BYTES + 16)
#define TCP_OFFSET      (ETHERNET_BYTES + 20)
#define TCP_SOURCE      TCP_OFFSET
#define TCP_DESTINATION (TCP_OFFSET + 2)
#define TCP_CHECKSUM    (TCP_OFFSET + 16)

/* ---- addresses --------------------------------------------------------------------------------------------------- */

static __always_inline bool is_plain_peer(__be32 address) {
    return (bpf_ntohl(address) & SF_ALIAS_MASK) == SF_ALIAS_PEER;
}

static __always_inline bool is_own_alias(__be32 address) {
    return (bpf_ntohl(address) & SF_ALIAS_MASK) == (SF_ALIAS_PEER | SF_ALIAS_OWN);
}

static __always_inline __be32 alias_of(const struct sf_network *network, __be32 address) {
    return aliases_of(network) | (address & ~network->mask);
}

/* The address for which an alias of either kind stands. */
static __always_inline __be32 address_of(const struct sf_network *network, __be32 alias) {
    __be32 place = alias & ~network->mask;

    return place ? network->prefix | place : bpf_htonl(SF_NODE_ALIAS);
}

static __always_inline __be32 address_behind(__u32 vni, __be32 alias) {
    const struct sf_network *network = bpf_map_lookup_elem(&networks, &vni);

    return network ? address_of(network, alias) : 0;
}

/* ---- outbound connections ---------------------------------------------------------------------------------------- */

static __always_inline struct sf_crossing_key crossing_of(const struct sf_socket *record, __be16 real_port) {
    struct sf_crossing_key key = {
        .vni = record->owner.vni,
        .local = record->address,
        .peer = record->peer_address,
        .local_port = record->local_port ? record->local_port : real_port,
        .peer_port = record->peer_port,
    };

    return key;
}

/* When there is no room, the answers to the SYN are lost, and connect(2) ends with ETIMEDOUT. */
static __always_inline void add_crossing(const struct sf_socket *record, __be16 real_port) {
    struct sf_crossing_key key = crossing_of(record, real_port);

    if (bpf_map_update_elem(&crossings, &key, &real_port, BPF_ANY))
        count(SF_COUNTER_plain_dropped);
}

static __always_inline void remove_crossing(const struct sf_socket *record, __be16 real_port) {
    struct sf_crossing_key key = crossing_of(record, real_port);
    const __be16 *port = bpf_map_lookup_elem(&crossings, &key);

    if (port && *port == real_port)
        bpf_map_delete_elem(&crossings, &key);
}

/* ---- packets ----------------------------------------------------------------------------------------------------- */

struct plain_packet {
    struct ip_header ip;
    struct tcp_header tcp;
};

/* Whole TCP segments in IPv4 without options. Fragments have no ports, and Linux sends no TCP in them. */
static __always_inline bool read_tcp(struct __sk_buff *ctx, struct plain_packet *packet) {
    return ctx->protocol == bpf_htons(ETHERTYPE_IPV4) &&
           !bpf_skb_load_bytes(ctx, ETHERNET_BYTES, &packet->ip, sizeof(packet->ip)) &&
           packet->ip.version_length == 0x45 && packet->ip.protocol == IPPROTO_TCP &&
           !(packet->ip.fragment & bpf_htons(0x3fff)) &&
           !bpf_skb_load_bytes(ctx, TCP_OFFSET, &packet->tcp, sizeof(packet->tcp));
}

static __always_inline bool rewrite_address(struct __sk_buff *ctx, __u32 offset, __be32 from, __be32 to) {
    return !bpf_l4_csum_replace(ctx, TCP_CHECKSUM, from, to, BPF_F_PSEUDO_HDR | sizeof(to)) &&
           !bpf_l3_csum_replace(ctx, IP_CHECKSUM, from, to, sizeof(to)) &&
           !bpf_skb_store_bytes(ctx, offset, &to, sizeof(to), 0);
}

static __always_inline bool rewrite_port(struct __sk_buff *ctx, __u32 offset, __be16 from, __be16 to) {
    return from == to || (!bpf_l4_csum_replace(ctx, TCP_CHECKSUM, from, to, sizeof(to)) &&
                          !bpf_skb_store_bytes(ctx, offset, &to, sizeof(to), 0));
}

static __always_inline int drop_plain(void) {
    count(SF_COUNTER_plain_dropped);
    return TC_ACT_SHOT;
}

/*
 * Leaves the node's namespace for a network's router: aliases become overlay addresses. What has none is the node's own
 * traffic; a container's socket never gets here with another address, whatever it may connect to outside.
 */
SEC("tc")
int sf_from_node(struct __sk_buff *ctx) {
    struct plain_packet packet = {};
    const struct sf_network *network;
    const struct sf_socket *record = 0;
    __u32 device = ctx->ifindex;
    const __u32 *vni;
    struct bpf_sock *sk = ctx->sk;
    __be32 local, peer;
    __be16 port;

    if (sk)
        sk = bpf_sk_fullsock(sk);
    if (sk)
        record = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (!read_tcp(ctx, &packet) || !is_plain_peer(packet.ip.destination))
        return record ? drop_plain() : TC_ACT_OK;
    vni = bpf_map_lookup_elem(&uplinks, &device);
    network = vni ? bpf_map_lookup_elem(&networks, vni) : 0;
    if (!network || !aliases_of(network) || !is_own_alias(packet.ip.source))
        return drop_plain();
    port = packet.tcp.source;
    if (packet.ip.source & ~network->mask) {
        local = address_of(network, packet.ip.source);
    } else {
        if (!record || !(record->flags & SF_PLAIN))
            return drop_plain();
        local = record->address;
        if (record->local_port)
            port = record->local_port;
    }
    peer = address_of(network, packet.ip.destination);
    if (!rewrite_address(ctx, IP_SOURCE, packet.ip.source, local) ||
        !rewrite_address(ctx, IP_DESTINATION, packet.ip.destination, peer) ||
        !rewrite_port(ctx, TCP_SOURCE, packet.tcp.source, port))
        return drop_plain();
    return TC_ACT_OK;
}

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/* An accelerated listener of the endpoint that takes connections to its own address. */
static __always_inline bool has_listener(const struct sf_address_key *address, __u16 number) {
    const struct sf_peer *peer = bpf_map_lookup_elem(&peers, address);
    struct sf_port_key key = {.endpoint = {.vni = address->vni}, .port = number};
    const struct sf_port *port;

    if (!peer)
        return false;
    key.endpoint.id = peer->id;
    port = bpf_map_lookup_elem(&ports, &key);
    return port && (port->classes[SF_BIND_ANY4].slots | port->classes[SF_BIND_ADDRESS4].slots |
                    port->classes[SF_BIND_DUAL].slots);
}

/* Leaves a router for one of the node's accelerated endpoints: to the node's namespace if a host socket is meant. */
SEC("tc")
int sf_to_endpoint(struct __sk_buff *ctx) {
    /* Of the uplink's end in the node's namespace: 02:53, then SF_NODE_ALIAS. */
    static const __u8 link_address[6] = {0x02, 0x53, 0xa9, 0xfe, 0x01, 0x02};
    const struct sk_buff *skb;
    struct plain_packet packet = {};
    struct sf_crossing_key crossing = {};
    struct sf_address_key own = {};
    const struct sf_network *network;
    const struct sf_router *router;
    const __be16 *host_port;
    __be32 peer, local;
    __be16 port;
    __u64 cookie;

    if (!read_tcp(ctx, &packet))
        return TC_ACT_OK;
    skb = bpf_cast_to_kern_ctx(ctx);
    cookie = skb->dev->nd_net.net->net_cookie;
    router = bpf_map_lookup_elem(&routers, &cookie);
    network = router ? bpf_map_lookup_elem(&networks, &router->vni) : 0;
    if (!network || !aliases_of(network))
        return TC_ACT_OK;
    if ((packet.ip.source & network->mask) == network->prefix)
        peer = alias_of(network, packet.ip.source);
    else if (packet.ip.source == bpf_htonl(SF_NODE_ALIAS))
        peer = aliases_of(network);
    else
        return TC_ACT_OK;
    port = packet.tcp.destination;
    local = aliases_of(network) | bpf_htonl(SF_ALIAS_OWN);
    crossing.vni = router->vni;
    crossing.local = packet.ip.destination;
    crossing.peer = packet.ip.source;
    crossing.local_port = packet.tcp.destination;
    crossing.peer_port = packet.tcp.source;
    host_port = bpf_map_lookup_elem(&crossings, &crossing);
    if (host_port) {
        port = *host_port;
    } else {
        own.vni = router->vni;
        own.address = packet.ip.destination;
        local |= packet.ip.destination & ~network->mask;
        if (!has_listener(&own, port_of(port))) {
            struct bpf_sock_tuple tuple = {
                .ipv4 = {.saddr = peer, .sport = packet.tcp.source, .daddr = local, .dport = port}};
            struct bpf_sock *sk;
            bool is_listening;

            /* A connection outlives its listener. */
            if (is_syn(packet.tcp.flags))
                return TC_ACT_OK;
            sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), router->node_nsid, 0);
            if (!sk)
                return TC_ACT_OK;
            is_listening = sk->state == BPF_TCP_LISTEN;
            bpf_sk_release(sk);
            if (is_listening)
                return TC_ACT_OK;
        }
    }
    if (!rewrite_address(ctx, IP_SOURCE, packet.ip.source, peer) ||
        !rewrite_address(ctx, IP_DESTINATION, packet.ip.destination, local) ||
        !rewrite_port(ctx, TCP_DESTINATION, packet.tcp.destination, port) ||
        bpf_skb_store_bytes(ctx, 0, link_address, sizeof(link_address), 0))
        return drop_plain();
    return bpf_redirect(router->uplink, 0);
}

/*
 * Leaves a router for the node itself. Containers answer the node's connections and pings; nobody opens one to the
 * node, whose own services listen there.
 */
SEC("tc")
int sf_to_node(struct __sk_buff *ctx) {
    struct plain_packet packet = {};
    __u8 icmp_type;

    if (read_tcp(ctx, &packet)) {
        if (is_own_alias(packet.ip.destination) || !is_syn(packet.tcp.flags))
            return TC_ACT_OK;
        return drop_plain();
    }
    if (ctx->protocol == bpf_htons(ETHERTYPE_IPV4) && packet.ip.protocol == IPPROTO_ICMP &&
        packet.ip.version_length == 0x45 && !bpf_skb_load_bytes(ctx, TCP_OFFSET, &icmp_type, 1) &&
        (icmp_type == 0 || icmp_type == 3 || icmp_type == 11)) /* echo reply, unreachable, time exceeded */
        return TC_ACT_OK;
    return drop_plain();
}

#endif
