/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * getsockname(2), getpeername(2) and the address that accept(2) returns: overlay addresses only.
 *
 * A host socket's own local address is unset until it is connected or accepted, since bind(2) leaves the wildcard
 * there. That is how the two states are told apart, after a disconnect as well.
 */
#ifndef SLIMFAST_NAMES_BPF_H
#define SLIMFAST_NAMES_BPF_H

#include "maps.bpf.h"

static __always_inline struct sf_socket *record_of(struct bpf_sock_addr *ctx) {
    if (!ctx->sk || ctx->protocol != IPPROTO_TCP)
        return 0;
    return bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
}

/* The IPv4 address that a client has by itself: that of the device on which it reaches its peer. */
static __always_inline __be32 usual_source(const struct sf_socket *record) {
    return record->flags & (SF_LOOPBACK | SF_LOOPBACK6) ? bpf_htonl(0x7f000001) : record->address;
}

/* Whether bind(2) has said that the socket is for addresses of this class. */
static __always_inline bool is_bound_as(const struct sf_socket *record, enum sf_bind_class class) {
    return record->flags & SF_ADDRESS && record->bind_class == class;
}

/* Whether the client's, or the other, name of a connection by IPv6 is ::1. */
static __always_inline bool is_named_loopback6(const struct sf_socket *record, bool is_clients) {
    bool is_to_loopback = record->flags & SF_LOOPBACK6;

    return is_clients && record->flags & SF_OTHER6 ? !is_to_loopback : is_to_loopback;
}

/* The IPv4 address of a client: within its container it may be bound to any of the container's. */
static __always_inline __be32 source_of(const struct sf_socket *record) {
    if (record->flags & SF_LOOPBACK6 || record->peer_id != record->owner.id)
        return usual_source(record);
    if (is_bound_as(record, SF_BIND_LOOPBACK4))
        return record->loopback_address;
    if (is_bound_as(record, SF_BIND_ADDRESS4))
        return record->address;
    return usual_source(record);
}

/* The local IPv4 address to show; `real` is the host socket's. */
static __always_inline __be32 local_address(const struct sf_socket *record, __be32 real) {
    if (real) {
        if (record->flags & SF_ACCEPTED)
            return record->flags & SF_LOOPBACK ? record->loopback_address : record->address;
        return record->flags & SF_SELF ? record->peer_address : source_of(record);
    }
    if (!(record->flags & SF_ADDRESS))
        return 0;
    switch (record->bind_class) {
    case SF_BIND_ADDRESS4:
        return record->address;
    case SF_BIND_LOOPBACK4:
        return record->loopback_address;
    default:
        return 0;
    }
}

SEC("cgroup/getsockname4")
int sf_getsockname4(struct bpf_sock_addr *ctx) {
    struct sf_socket *record = record_of(ctx);

    if (!record)
        return 1;
    ctx->user_ip4 = local_address(record, ctx->user_ip4);
    if (record->local_port)
        ctx->user_port = record->local_port;
    return 1;
}

SEC("cgroup/getsockname6")
int sf_getsockname6(struct bpf_sock_addr *ctx) {
    struct sf_address6 real = read_address6(ctx);
    struct sf_socket *record = record_of(ctx);

    if (!record)
        return 1;
    if (record->local_port)
        ctx->user_port = record->local_port;
    if (!is_any6(&real)) {
        if (is_named_loopback6(record, !(record->flags & SF_ACCEPTED)))
            write_loopback6(ctx);
        else if (record->flags & (SF_IPV6 | SF_LOOPBACK6))
            write_address6(ctx, &record->address6);
        else
            write_v4_mapped(ctx, local_address(record, real.words[3]));
    } else if (record->flags & SF_ADDRESS) {
        __be32 address = local_address(record, 0);

        if (record->bind_class == SF_BIND_LOOPBACK6)
            write_loopback6(ctx);
        else if (record->bind_class == SF_BIND_ADDRESS6)
            write_address6(ctx, &record->address6);
        else if (address || record->bind_class == SF_BIND_ANY4)
            write_v4_mapped(ctx, address);
    }
    return 1;
}

SEC("cgroup/getpeername4")
int sf_getpeername4(struct bpf_sock_addr *ctx) {
    struct sf_socket *record = record_of(ctx);

    if (record && (record->flags & SF_OVERLAY)) {
        ctx->user_ip4 = record->peer_address;
        ctx->user_port = record->peer_port;
    }
    return 1;
}

SEC("cgroup/getpeername6")
int sf_getpeername6(struct bpf_sock_addr *ctx) {
    struct sf_socket *record = record_of(ctx);

    if (record && (record->flags & SF_OVERLAY)) {
        if (is_named_loopback6(record, record->flags & SF_ACCEPTED))
            write_loopback6(ctx);
        else if (record->flags & SF_LOOPBACK6)
            write_address6(ctx, &record->address6);
        else if (record->flags & SF_IPV6)
            write_address6(ctx, &record->peer_address6);
        else
            write_v4_mapped(ctx, record->peer_address);
        ctx->user_port = record->peer_port;
    }
    return 1;
}

#endif
