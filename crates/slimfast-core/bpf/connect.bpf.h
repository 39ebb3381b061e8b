/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * connect(2): where a connection goes is decided here, on the kernel's own copy of the address.
 *
 * Everything that is not explicitly reachable is refused with the errno that a program expects of an address that is
 * not there. Runs with the socket locked, and only for a socket that is not connected or connecting.
 */
#ifndef SLIMFAST_CONNECT_BPF_H
#define SLIMFAST_CONNECT_BPF_H

#include "egress.bpf.h"
#include "events.bpf.h"
#include "limits.bpf.h"
#include "plain.bpf.h"
#include "policy.bpf.h"
#include "tuples.bpf.h"

/* An IPv4 destination: what was asked for, then what the kernel is to use. */
struct target {
    __be32 address;
    __be16 port;
    /* SF_LOOPBACK or SF_LOOPBACK6 if a loopback address of the container was asked for. */
    __u32 flags;
    /* The host socket's own port; 0 if it has none yet. */
    __u16 own_port;
};

static __noinline int refuse_connect(struct sf_socket *record, int errno, enum sf_counter counter) {
    struct sf_connection *event = reserve_refusal(record->flags, errno);

    count(counter);
    if (event) {
        describe(event, record, 0);
        submit(event);
    }
    bpf_set_retval(-errno);
    return 0;
}

/*
 * Whether a socket connects to the very name that it is bound to and that its connection would come from. The kernel
 * lets it talk to itself (RFC 9293, 3.5: simultaneous open), with no listener in it.
 */
static __always_inline bool is_self(const struct sf_socket *record, const struct target *target) {
    __be32 loopback = bpf_htonl(0x7f000001);
    __be32 address = target->address ? target->address : loopback;
    bool is_v6 = target->flags & SF_LOOPBACK6;

    if (!target->own_port || !(record->flags & SF_BOUND) || target->port != record->local_port)
        return false;
    switch (record->bind_class) {
    case SF_BIND_ANY4:
    case SF_BIND_DUAL:
        return is_v6 || address == loopback || address == record->address;
    case SF_BIND_ADDRESS4:
        return !is_v6 && address == record->address;
    case SF_BIND_LOOPBACK4:
        return !is_v6 && address == record->loopback_address;
    case SF_BIND_ADDRESS6:
        return false;
    default:
        return is_v6;
    }
}

/* The same of an IPv6 address other than ::1. */
static __always_inline bool is_self6(const struct sf_socket *record, const struct bpf_sock_addr *ctx) {
    if (!ctx->sk->src_port || !(record->flags & SF_BOUND) || (__be16)ctx->user_port != record->local_port ||
        !is_equal6(&record->peer_address6, &record->address6))
        return false;
    return record->bind_class == SF_BIND_ANY6 || record->bind_class == SF_BIND_ADDRESS6 ||
           record->bind_class == SF_BIND_DUAL;
}

/* Forgets what an earlier connect(2) of the socket has left. */
static __always_inline void begin_connect(struct sf_socket *record, __be16 port) {
    end_untold(record);
    record->flags &= ~(SF_OVERLAY | SF_LOOPBACK | SF_LOOPBACK6 | SF_OUTSIDE | SF_ESTABLISHED | SF_ACCEPTED | SF_SELF |
                       SF_PLAIN | SF_TOLD | SF_IPV6 | SF_OTHER6);
    record->peer_port = port;
    record->since_ns = bpf_ktime_get_ns();
    /* The one of an earlier connection; the kernel chooses another one. */
    if (!(record->flags & SF_BOUND))
        record->local_port = 0;
}

/* Whether the endpoint is there, and may open one more connection now; else the answer is set. */
static __always_inline bool is_admitted(struct sf_socket *record) {
    const __u32 account = account_of(record);
    const struct sf_limits *most = limits_of(account);
    struct sf_usage *usage = usage_of(account);

    if (!most || !usage || !most->is_attached)
        return refuse_connect(record, ENETDOWN, SF_COUNTER_connects_denied);
    /* Before anything that costs more, and without an event: a storm of them would crowd out those of others. */
    if (may_connect(most, usage, record->since_ns))
        return true;
    count(SF_COUNTER_connects_limited);
    bpf_set_retval(-EADDRNOTAVAIL);
    return false;
}

static __always_inline int route(struct sf_socket *record, struct target *target) {
    struct sf_address_key key = {.vni = record->owner.vni, .address = target->address};
    const struct sf_network *network;
    const struct sf_peer *peer;
    __u16 first, ports;
    int error;

    begin_connect(record, target->port);
    record->peer_address = target->address;
    if (!is_admitted(record))
        return 0;
    if (is_self(record, target)) {
        if (target->address == 0)
            record->peer_address = bpf_htonl(0x7f000001);
        record->flags |= SF_OVERLAY | SF_SELF;
        if (target->flags || is_loopback4(record->peer_address))
            record->flags |= target->flags ? target->flags : SF_LOOPBACK;
        record->peer_id = record->owner.id;
        target->address = node_address;
        target->port = bpf_htons(target->own_port);
        count(SF_COUNTER_connects_loopback);
        return 1;
    }
    if (target->flags || target->address == 0 || is_loopback4(target->address)) {
        /* Linux takes connect(0.0.0.0) for loopback, too (net/ipv4/route.c, ip_route_output_key_hash_rcu). */
        if (target->address == 0)
            record->peer_address = bpf_htonl(0x7f000001);
        record->flags |= SF_OVERLAY | (target->flags ? target->flags : SF_LOOPBACK);
        if (target->flags && is_bound_as(record, SF_BIND_ADDRESS6))
            record->flags |= SF_OTHER6;
        record->peer_id = record->owner.id;
        target->address = node_address;
        first = front_first;
        ports = front_count;
        count(SF_COUNTER_connects_loopback);
    } else if ((peer = bpf_map_lookup_elem(&peers, &key))) {
        record->flags |= SF_OVERLAY;
        record->peer_id = peer->id;
        /* connect(2): EPERM, the connection request failed because of a local firewall rule. */
        if (!is_allowed(key.vni, record->owner.id, peer->id, port_of(target->port)))
            return refuse_connect(record, EPERM, SF_COUNTER_connects_denied_policy);
        target->address = peer->node;
        first = peer->ports.front_first;
        ports = peer->ports.front_count;
        count(SF_COUNTER_connects_overlay);
    } else if (!record->address) {
        /* In a network of IPv6 only, IPv4 is a family without a route. */
        return refuse_connect(record, ENETUNREACH, SF_COUNTER_connects_no_address);
    } else {
        network = bpf_map_lookup_elem(&networks, &key.vni);
        if (!network || (target->address & network->mask) == network->prefix)
            return refuse_connect(record, EHOSTUNREACH, SF_COUNTER_connects_no_address);
        /* As the node itself would reach it. */
        error = may_leave(key.vni, target->address);
        if (error)
            return refuse_connect(record, error, SF_COUNTER_connects_denied_egress);
        record->flags |= SF_OUTSIDE;
        count(SF_COUNTER_connects_outside);
        return 1;
    }
    if (!ports) {
        network = bpf_map_lookup_elem(&networks, &key.vni);
        if (!network || !aliases_of(network))
            return refuse_connect(record, EHOSTUNREACH, SF_COUNTER_connects_no_address);
        record->flags |= SF_PLAIN;
        target->address = alias_of(network, key.address);
        count(SF_COUNTER_connects_plain);
        return 1;
    }
    /* Spread: each front port has the whole ephemeral range of source ports to itself. */
    target->port = bpf_htons(first + bpf_get_prandom_u32() % ports);
    return 1;
}

/* To an IPv6 address that is neither ::1 nor an IPv4 one: over the underlay's IPv4, as everything. */
static __always_inline int connect_address6(struct bpf_sock_addr *ctx, struct sf_socket *record,
                                            const struct sf_address6 *to) {
    struct sf_address6_key key = {.vni = record->owner.vni, .address = *to};
    const struct sf_network *network;
    const struct sf_peer *peer;
    int error;

    begin_connect(record, ctx->user_port);
    record->peer_address6 = *to;
    record->flags |= SF_IPV6;
    if (!is_admitted(record))
        return 0;
    /* To a container without an address of the family, it is one without a route. */
    if (is_any6(&record->address6))
        return refuse_connect(record, ENETUNREACH, SF_COUNTER_connects_no_address);
    if (is_self6(record, ctx)) {
        record->flags |= SF_OVERLAY | SF_SELF;
        record->peer_id = record->owner.id;
        write_v4_mapped(ctx, node_address);
        ctx->user_port = bpf_htons(ctx->sk->src_port);
        count(SF_COUNTER_connects_loopback);
        return 1;
    }
    peer = bpf_map_lookup_elem(&peers6, &key);
    if (!peer) {
        network = bpf_map_lookup_elem(&networks, &key.vni);
        if (!network || is_inside6(to, network))
            return refuse_connect(record, EHOSTUNREACH, SF_COUNTER_connects_no_address);
        error = may_leave6(key.vni, to);
        if (error)
            return refuse_connect(record, error, SF_COUNTER_connects_denied_egress);
        record->flags |= SF_OUTSIDE;
        count(SF_COUNTER_connects_outside);
        return 1;
    }
    record->flags |= SF_OVERLAY;
    record->peer_id = peer->id;
    if (peer->id == record->owner.id && is_bound_as(record, SF_BIND_LOOPBACK6))
        record->flags |= SF_OTHER6;
    if (!is_allowed(key.vni, record->owner.id, peer->id, port_of(ctx->user_port)))
        return refuse_connect(record, EPERM, SF_COUNTER_connects_denied_policy);
    if (record->flags & SF_BOUND && is_tuple_taken(record))
        return refuse_connect(record, EADDRNOTAVAIL, SF_COUNTER_connects_taken);
    if (!peer->ports.front_count) {
        struct sf_address6 alias = alias6_of(key.vni, peer->id, SF_ALIAS_PEER);

        record->flags |= SF_PLAIN;
        write_address6(ctx, &alias);
        count(SF_COUNTER_connects_plain);
        return 1;
    }
    write_v4_mapped(ctx, peer->node);
    ctx->user_port = bpf_htons(peer->ports.front_first + bpf_get_prandom_u32() % peer->ports.front_count);
    count(SF_COUNTER_connects_overlay);
    return 1;
}

static __always_inline int connect_common(struct sf_socket *record, struct target *target) {
    if (!route(record, target))
        return 0;
    /* A loopback address leads nowhere else: net/ipv4/route.c, __mkroute_output. */
    if (is_bound_as(record, SF_BIND_LOOPBACK4) && (record->flags & SF_OUTSIDE || record->peer_id != record->owner.id))
        return refuse_connect(record, EINVAL, SF_COUNTER_connects_no_address);
    if ((record->flags & (SF_BOUND | SF_SELF)) == SF_BOUND && is_tuple_taken(record))
        return refuse_connect(record, EADDRNOTAVAIL, SF_COUNTER_connects_taken);
    return 1;
}

SEC("cgroup/connect4")
int sf_connect4(struct bpf_sock_addr *ctx) {
    struct target target = {.address = ctx->user_ip4, .port = ctx->user_port};
    struct sf_socket *record;

    /* Only TCP sockets have a record. To ask for the protocol is to wait for a line of memory that nobody else needs.
     */
    if (!ctx->sk)
        return 1;
    record = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
    if (!record)
        return 1;
    target.own_port = ctx->sk->src_port;
    if (!connect_common(record, &target))
        return 0;
    ctx->user_ip4 = target.address;
    ctx->user_port = target.port;
    return 1;
}

SEC("cgroup/connect6")
int sf_connect6(struct bpf_sock_addr *ctx) {
    struct sf_address6 address = read_address6(ctx);
    struct target target = {.port = ctx->user_port};
    struct sf_socket *record;

    if (!ctx->sk)
        return 1;
    record = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
    if (!record)
        return 1;
    if (is_v4_mapped(&address)) {
        target.address = address.words[3];
        if (record->flags & SF_V6ONLY) {
            begin_connect(record, target.port);
            record->peer_address = target.address;
            return refuse_connect(record, ENETUNREACH, SF_COUNTER_connects_no_address);
        }
    } else if (is_loopback6(&address) || is_any6(&address)) {
        target.address = bpf_htonl(0x7f000001);
        target.flags = SF_LOOPBACK6;
    } else {
        return connect_address6(ctx, record, &address);
    }
    target.own_port = ctx->sk->src_port;
    if (!connect_common(record, &target))
        return 0;
    write_v4_mapped(ctx, target.address);
    ctx->user_port = target.port;
    return 1;
}

#endif
