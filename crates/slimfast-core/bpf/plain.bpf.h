/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * TCP between accelerated endpoints and plain peers: processes with sockets of their own namespace, and the node's own.
 *
 * Their packets travel over the network's router like everything that is not accelerated. Between the router and the
 * node's namespace, where the accelerated sockets are, addresses are translated one to one (see SF_ALIAS_PEER), so that
 * networks with overlapping prefixes cannot meet. Only connections from an endpoint of the node to a plain one have an
 * entry each, for the port: what the container has bound and what the host socket has may differ.
 *
 * One path for both families: IPv4 addresses are in IPv4-mapped form here, and only what reads or writes a packet, or
 * knows how aliases are made, asks which it is.
 *
 * No conntrack, no NAT rules, no marks; nothing of this is on the path of connections between accelerated endpoints.
 */
#ifndef SLIMFAST_PLAIN_BPF_H
#define SLIMFAST_PLAIN_BPF_H

#include <linux/pkt_cls.h>
#include "packet.bpf.h"

#define IP_CHECKSUM        (ETHERNET_BYTES + 10)
#define IP_SOURCE          (ETHERNET_BYTES + 12)
#define IP_DESTINATION     (ETHERNET_BYTES + 16)
#define IP6_SOURCE         (ETHERNET_BYTES + 8)
#define IP6_DESTINATION    (ETHERNET_BYTES + 24)
#define AFTER_IP           (ETHERNET_BYTES + sizeof(struct ip_header))
#define AFTER_IP6          (ETHERNET_BYTES + sizeof(struct ip6_header))
#define TCP_SOURCE_AT      0
#define TCP_DESTINATION_AT 2
#define TCP_CHECKSUM_AT    16

/* ---- aliases ----------------------------------------------------------------------------------------------------- */

static __always_inline bool is_plain_peer(__be32 alias) {
    return (bpf_ntohl(alias) & SF_ALIAS_MASK) == SF_ALIAS_PEER;
}

static __always_inline bool is_own_alias(__be32 alias) {
    return (bpf_ntohl(alias) & SF_ALIAS_MASK) == (SF_ALIAS_PEER | SF_ALIAS_OWN);
}

static __always_inline __be32 alias_of(const struct sf_network *network, __be32 address) {
    return aliases_of(network) | (address & ~network->mask);
}

/* `kind`: SF_ALIAS_PEER, with SF_ALIAS_OWN or not. */
static __always_inline struct sf_address6 alias6_of(__u32 vni, __u32 id, __u32 kind) {
    struct sf_address6 alias = {{bpf_htonl(SF_ALIAS6_PREFIX), 0, bpf_htonl(kind | vni), bpf_htonl(id)}};

    return alias;
}

/* Of an address of the block of aliases the word that says of what kind it is, and of which network; otherwise 0. */
static __always_inline __be32 kind6_of(__be32 first, __be32 second, __be32 third) {
    return first == bpf_htonl(SF_ALIAS6_PREFIX) && !second ? third : 0;
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

/* The same of IPv6; false if nobody has the id any more. */
static __always_inline bool find_address6(__u32 vni, __be32 id, struct sf_address6 *address) {
    struct sf_endpoint_key key = {.vni = vni, .id = bpf_ntohl(id)};
    const struct sf_source6 *source;

    if (!id) {
        address->words[0] = bpf_htonl(SF_ALIAS6_PREFIX);
        address->words[1] = 0;
        address->words[2] = 0;
        address->words[3] = bpf_htonl(SF_NODE_ALIAS);
        return true;
    }
    source = bpf_map_lookup_elem(&sources6, &key);
    if (source)
        *address = source->address;
    return source;
}

/* Takes the peer of a connection that came over a router's wire by IPv6; false if it did not. */
static __always_inline bool take_plain_peer6(struct bpf_sock_ops *ctx, struct sf_socket *record) {
    if (ctx->family != AF_INET6 || !is_plain_peer(kind6_of(ctx->remote_ip6[0], ctx->remote_ip6[1], ctx->remote_ip6[2])))
        return false;
    record->flags |= SF_OVERLAY | SF_PLAIN | SF_IPV6;
    record->peer_id = bpf_ntohl(ctx->remote_ip6[3]);
    find_address6(record->owner.vni, ctx->remote_ip6[3], &record->peer_address6);
    return true;
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

    if (record->flags & SF_IPV6) {
        key.vni |= SF_CROSSING_IPV6;
        key.local = bpf_htonl(record->owner.id);
        key.peer = bpf_htonl(record->peer_id);
    }
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
    /* IPv4 ones in IPv4-mapped form. */
    struct sf_address6 source;
    struct sf_address6 destination;
    struct tcp_header tcp;
    __u32 tcp_offset;
    bool is_v6;
};

/* IPv4 without options. Fragments have no ports, and Linux sends no TCP in them. */
static __always_inline bool read_addresses4(struct __sk_buff *ctx, struct plain_packet *packet) {
    struct ip_header ip;

    if (bpf_skb_load_bytes(ctx, ETHERNET_BYTES, &ip, sizeof(ip)) || ip.version_length != 0x45 ||
        ip.protocol != IPPROTO_TCP || ip.fragment & bpf_htons(0x3fff))
        return false;
    packet->source = v4_mapped(ip.source);
    packet->destination = v4_mapped(ip.destination);
    packet->tcp_offset = AFTER_IP;
    packet->is_v6 = false;
    return true;
}

/* IPv6 without extension headers, of which being a fragment is one. */
static __always_inline bool read_addresses6(struct __sk_buff *ctx, struct plain_packet *packet) {
    struct ip6_header ip;

    if (bpf_skb_load_bytes(ctx, ETHERNET_BYTES, &ip, sizeof(ip)) || ip.next_header != IPPROTO_TCP ||
        is_v4_mapped(&ip.source) || is_v4_mapped(&ip.destination))
        return false;
    packet->source = ip.source;
    packet->destination = ip.destination;
    packet->tcp_offset = AFTER_IP6;
    packet->is_v6 = true;
    return true;
}

/* Whole TCP segments. */
static __always_inline bool read_tcp(struct __sk_buff *ctx, struct plain_packet *packet) {
    return (ctx->protocol == bpf_htons(ETHERTYPE_IPV4)   ? read_addresses4(ctx, packet)
            : ctx->protocol == bpf_htons(ETHERTYPE_IPV6) ? read_addresses6(ctx, packet)
                                                         : false) &&
           !bpf_skb_load_bytes(ctx, packet->tcp_offset, &packet->tcp, sizeof(packet->tcp));
}

/* What is made from the kind of an alias: of IPv4 the address itself. */
static __always_inline __be32 kind_of(const struct plain_packet *packet, const struct sf_address6 *address) {
    return packet->is_v6 ? kind6_of(address->words[0], address->words[1], address->words[2]) : address->words[3];
}

static __always_inline bool rewrite_address(struct __sk_buff *ctx, const struct plain_packet *packet, bool is_source,
                                            struct sf_address6 *to) {
    struct sf_address6 from = is_source ? packet->source : packet->destination;
    __u32 checksum = packet->tcp_offset + TCP_CHECKSUM_AT;
    __s64 difference;

    if (packet->is_v6) {
        difference = bpf_csum_diff(from.words, sizeof(from), to->words, sizeof(*to), 0);
        return !bpf_l4_csum_replace(ctx, checksum, 0, difference, BPF_F_PSEUDO_HDR) &&
               !bpf_skb_store_bytes(ctx, is_source ? IP6_SOURCE : IP6_DESTINATION, to, sizeof(*to), 0);
    }
    return !bpf_l4_csum_replace(ctx, checksum, from.words[3], to->words[3], BPF_F_PSEUDO_HDR | sizeof(__be32)) &&
           !bpf_l3_csum_replace(ctx, IP_CHECKSUM, from.words[3], to->words[3], sizeof(__be32)) &&
           !bpf_skb_store_bytes(ctx, is_source ? IP_SOURCE : IP_DESTINATION, &to->words[3], sizeof(__be32), 0);
}

static __always_inline bool rewrite_port(struct __sk_buff *ctx, const struct plain_packet *packet, bool is_source,
                                         __be16 to) {
    __u32 offset = packet->tcp_offset + (is_source ? TCP_SOURCE_AT : TCP_DESTINATION_AT);
    __be16 from = is_source ? packet->tcp.source : packet->tcp.destination;

    return from == to || (!bpf_l4_csum_replace(ctx, packet->tcp_offset + TCP_CHECKSUM_AT, from, to, sizeof(to)) &&
                          !bpf_skb_store_bytes(ctx, offset, &to, sizeof(to), 0));
}

static __always_inline int drop_plain(void) {
    count(SF_COUNTER_plain_dropped);
    return TC_ACT_SHOT;
}

/* ---- from the node's namespace ----------------------------------------------------------------------------------- */

/* The overlay address for which an alias of network `vni` stands; false if there is none. */
static __always_inline bool resolve_alias(const struct sf_network *network, __u32 vni,
                                          const struct plain_packet *packet, const struct sf_address6 *alias,
                                          struct sf_address6 *address) {
    if (packet->is_v6)
        return (bpf_ntohl(alias->words[2]) & ~(SF_ALIAS_PEER | SF_ALIAS_OWN)) == vni &&
               find_address6(vni, alias->words[3], address);
    *address = v4_mapped(address_of(network, alias->words[3]));
    return aliases_of(network);
}

/* The alias is that of what the node's own endpoints send to plain ones. */
static __always_inline bool is_outbound_alias(const struct sf_network *network, const struct plain_packet *packet) {
    return !(packet->is_v6 ? packet->source.words[3] : packet->source.words[3] & ~network->mask);
}

/*
 * Leaves the node's namespace for a network's router: aliases become overlay addresses. What has none is the node's own
 * traffic; a container's socket never gets here with another address, whatever it may connect to outside.
 */
SEC("tc")
int sf_from_node(struct __sk_buff *ctx) {
    struct plain_packet packet = {};
    struct sf_address6 local, peer;
    const struct sf_network *network;
    const struct sf_socket *record = 0;
    __u32 device = ctx->ifindex;
    const __u32 *vni;
    struct bpf_sock *sk = ctx->sk;
    __be16 port;

    if (sk)
        sk = bpf_sk_fullsock(sk);
    if (sk)
        record = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (!read_tcp(ctx, &packet) || !is_plain_peer(kind_of(&packet, &packet.destination)))
        return record ? drop_plain() : TC_ACT_OK;
    vni = bpf_map_lookup_elem(&uplinks, &device);
    network = vni ? bpf_map_lookup_elem(&networks, vni) : 0;
    if (!network || !is_own_alias(kind_of(&packet, &packet.source)) ||
        !resolve_alias(network, *vni, &packet, &packet.destination, &peer))
        return drop_plain();
    port = packet.tcp.source;
    if (!is_outbound_alias(network, &packet)) {
        if (!resolve_alias(network, *vni, &packet, &packet.source, &local))
            return drop_plain();
    } else {
        if (!record || !(record->flags & SF_PLAIN))
            return drop_plain();
        local = packet.is_v6 ? record->address6 : v4_mapped(record->address);
        if (record->local_port)
            port = record->local_port;
    }
    if (!rewrite_address(ctx, &packet, true, &local) || !rewrite_address(ctx, &packet, false, &peer) ||
        !rewrite_port(ctx, &packet, true, port))
        return drop_plain();
    return TC_ACT_OK;
}

extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym;

/* ---- to the node's namespace ------------------------------------------------------------------------------------- */

static __always_inline const struct sf_peer *find_peer(__u32 vni, const struct plain_packet *packet,
                                                       const struct sf_address6 *address) {
    struct sf_address_key key = {.vni = vni, .address = address->words[3]};
    struct sf_address6_key key6 = {.vni = vni, .address = *address};

    return packet->is_v6 ? bpf_map_lookup_elem(&peers6, &key6) : bpf_map_lookup_elem(&peers, &key);
}

/* What the node's namespace knows of a packet for one of its endpoints. */
struct plain_ends {
    /* The peer's alias, and those of the endpoint: as a client's, and as a server's. */
    struct sf_address6 peer;
    struct sf_address6 client;
    struct sf_address6 server;
    /* In sf_crossing_key. */
    __be32 crossing_peer;
    __be32 crossing_local;
    /* The endpoint's. */
    __u32 id;
};

/* False for what is no endpoint's: it is for the container's own sockets. */
static __always_inline bool find_ends(const struct sf_network *network, __u32 vni, const struct plain_packet *packet,
                                      struct plain_ends *ends) {
    const struct sf_address6 *from = &packet->source;
    __be32 node = bpf_htonl(SF_NODE_ALIAS), own = bpf_htonl(SF_ALIAS_OWN);
    const struct sf_peer *peer, *endpoint = find_peer(vni, packet, &packet->destination);
    struct sf_address6 node6;

    if (!endpoint)
        return false;
    ends->id = endpoint->id;
    if (packet->is_v6) {
        __u32 peer_id = 0;

        find_address6(vni, 0, &node6);
        if (!is_equal6(from, &node6)) {
            peer = find_peer(vni, packet, from);
            if (!peer)
                return false;
            peer_id = peer->id;
        }
        ends->peer = alias6_of(vni, peer_id, SF_ALIAS_PEER);
        ends->client = alias6_of(vni, 0, SF_ALIAS_PEER | SF_ALIAS_OWN);
        ends->server = alias6_of(vni, ends->id, SF_ALIAS_PEER | SF_ALIAS_OWN);
        ends->crossing_peer = ends->peer.words[3];
        ends->crossing_local = ends->server.words[3];
        return true;
    }
    if (!aliases_of(network) || ((from->words[3] & network->mask) != network->prefix && from->words[3] != node))
        return false;
    ends->peer = v4_mapped(from->words[3] == node ? aliases_of(network) : alias_of(network, from->words[3]));
    ends->client = v4_mapped(aliases_of(network) | own);
    ends->server = v4_mapped(alias_of(network, packet->destination.words[3]) | own);
    ends->crossing_peer = from->words[3];
    ends->crossing_local = packet->destination.words[3];
    return true;
}

/* An accelerated listener of the endpoint that takes connections to its own address. */
static __always_inline bool has_listener(__u32 vni, __u32 id, const struct plain_packet *packet) {
    struct sf_port_key key = {.endpoint = {.vni = vni, .id = id}, .port = port_of(packet->tcp.destination)};
    const struct sf_port *port = bpf_map_lookup_elem(&ports, &key);

    return port && (port->classes[packet->is_v6 ? SF_BIND_ANY6 : SF_BIND_ANY4].slots |
                    port->classes[packet->is_v6 ? SF_BIND_ADDRESS6 : SF_BIND_ADDRESS4].slots |
                    port->classes[SF_BIND_DUAL].slots);
}

/* A host socket has the connection: it outlives its listener. */
static __always_inline bool has_connection(struct __sk_buff *ctx, const struct sf_router *router,
                                           const struct plain_packet *packet, const struct plain_ends *ends) {
    struct bpf_sock_tuple tuple = {};
    struct bpf_sock *sk;
    bool is_listening;

    if (packet->is_v6) {
        __builtin_memcpy(tuple.ipv6.saddr, &ends->peer, sizeof(ends->peer));
        __builtin_memcpy(tuple.ipv6.daddr, &ends->server, sizeof(ends->server));
        tuple.ipv6.sport = packet->tcp.source;
        tuple.ipv6.dport = packet->tcp.destination;
        sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv6), router->node_nsid, 0);
    } else {
        tuple.ipv4.saddr = ends->peer.words[3];
        tuple.ipv4.daddr = ends->server.words[3];
        tuple.ipv4.sport = packet->tcp.source;
        tuple.ipv4.dport = packet->tcp.destination;
        sk = bpf_skc_lookup_tcp(ctx, &tuple, sizeof(tuple.ipv4), router->node_nsid, 0);
    }
    if (!sk)
        return false;
    is_listening = sk->state == BPF_TCP_LISTEN;
    bpf_sk_release(sk);
    return !is_listening;
}

/* Leaves a router for one of the node's accelerated endpoints: to the node's namespace if a host socket is meant. */
SEC("tc")
int sf_to_endpoint(struct __sk_buff *ctx) {
    /* Of the uplink's end in the node's namespace: 02:53, then SF_NODE_ALIAS. */
    static const __u8 link_address[6] = {0x02, 0x53, 0xa9, 0xfe, 0x01, 0x02};
    const struct sk_buff *skb;
    struct plain_packet packet = {};
    struct sf_crossing_key crossing = {};
    const struct sf_network *network;
    const struct sf_router *router;
    struct plain_ends ends = {};
    struct sf_address6 *local;
    const __be16 *host_port;
    __be16 port;
    __u64 cookie;

    if (!read_tcp(ctx, &packet))
        return TC_ACT_OK;
    skb = bpf_cast_to_kern_ctx(ctx);
    cookie = skb->dev->nd_net.net->net_cookie;
    router = bpf_map_lookup_elem(&routers, &cookie);
    network = router ? bpf_map_lookup_elem(&networks, &router->vni) : 0;
    if (!network || !find_ends(network, router->vni, &packet, &ends))
        return TC_ACT_OK;
    port = packet.tcp.destination;
    crossing.vni = packet.is_v6 ? router->vni | SF_CROSSING_IPV6 : router->vni;
    crossing.local = ends.crossing_local;
    crossing.peer = ends.crossing_peer;
    crossing.local_port = packet.tcp.destination;
    crossing.peer_port = packet.tcp.source;
    host_port = bpf_map_lookup_elem(&crossings, &crossing);
    if (host_port) {
        port = *host_port;
        local = &ends.client;
    } else {
        local = &ends.server;
        if (!has_listener(router->vni, ends.id, &packet) &&
            (is_syn(packet.tcp.flags) || !has_connection(ctx, router, &packet, &ends)))
            return TC_ACT_OK;
    }
    if (!rewrite_address(ctx, &packet, true, &ends.peer) || !rewrite_address(ctx, &packet, false, local) ||
        !rewrite_port(ctx, &packet, false, port) || bpf_skb_store_bytes(ctx, 0, link_address, sizeof(link_address), 0))
        return drop_plain();
    return bpf_redirect(router->uplink, 0);
}

/* ---- to the node itself ------------------------------------------------------------------------------------------ */

/* An answer to a ping, or about a packet that was sent; no question. */
static __always_inline bool is_icmp_answer(struct __sk_buff *ctx) {
    struct ip6_header ip6;
    struct ip_header ip;
    __u8 type;

    if (ctx->protocol == bpf_htons(ETHERTYPE_IPV4))
        return !bpf_skb_load_bytes(ctx, ETHERNET_BYTES, &ip, sizeof(ip)) && ip.version_length == 0x45 &&
               ip.protocol == IPPROTO_ICMP && !bpf_skb_load_bytes(ctx, AFTER_IP, &type, sizeof(type)) &&
               (type == 0 || type == 3 || type == 11); /* echo reply, unreachable, time exceeded */
    return ctx->protocol == bpf_htons(ETHERTYPE_IPV6) && !bpf_skb_load_bytes(ctx, ETHERNET_BYTES, &ip6, sizeof(ip6)) &&
           ip6.next_header == IPPROTO_ICMPV6 && !bpf_skb_load_bytes(ctx, AFTER_IP6, &type, sizeof(type)) &&
           ((type >= 1 && type <= 3) || type == 129); /* unreachable, too big, time exceeded; echo reply */
}

/*
 * Leaves a router for the node itself. Containers answer the node's connections and pings; nobody opens one to the
 * node, whose own services listen there.
 */
SEC("tc")
int sf_to_node(struct __sk_buff *ctx) {
    struct plain_packet packet = {};

    if (read_tcp(ctx, &packet)) {
        if (is_own_alias(kind_of(&packet, &packet.destination)) || !is_syn(packet.tcp.flags))
            return TC_ACT_OK;
        return drop_plain();
    }
    return is_icmp_answer(ctx) ? TC_ACT_OK : drop_plain();
}

#endif
