/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What one endpoint may take of its node: sockets, listeners, connections a second. Counted here and nowhere else, at
 * the points where the kernel itself makes and destroys a socket, so that no way of passing it on or losing it matters.
 *
 *   a socket is made    the core claims it for an endpoint, before anybody else can have it (options.bpf.h)
 *   ... or accepted     the handshake is complete (sockops.bpf.h), also before accept(2)
 *   and destroyed       tcp_destroy_sock: closed by the last who held it, and its connection at an end
 *
 * Accounts outlive their endpoint: what its processes still hold is counted off where it was counted.
 */
#ifndef SLIMFAST_LIMITS_BPF_H
#define SLIMFAST_LIMITS_BPF_H

#include <bpf/bpf_tracing.h>
#include "maps.bpf.h"

/* Connections that may come at once: those of this time. */
#define CONNECT_BURST_NS 1000000000ULL
/* How often a connection tries again when others of its endpoint start at the same moment. */
#define CONNECT_TRIES 4

static __always_inline const struct sf_limits *limits_of(__u32 account) {
    return bpf_map_lookup_elem(&limits, &account);
}

static __always_inline struct sf_usage *usage_of(__u32 account) {
    return bpf_map_lookup_elem(&usages, &account);
}

/* The owner's, from the record's first line if it is there: the second one is not needed for anything else. */
static __always_inline __u32 account_of(const struct sf_socket *record) {
    __u16 near = record->near_account;

    return near ? near - 1u : record->account;
}

/* Sockets outlive their endpoint in its processes and in its dispenser; its address does not. */
static __always_inline bool is_attached(const struct sf_socket *record) {
    const struct sf_limits *most = limits_of(account_of(record));

    return most && most->is_attached;
}

/* ---- sockets
 * --------------------------------------------------------------------------------------------------------- */

static __always_inline int refuse_claim(int errno) {
    bpf_set_retval(-errno);
    return 0;
}

/*
 * The core's own setsockopt(2): from here on the socket is the endpoint's, and counted. All of it, or nothing. The call
 * goes on as one that the socket needs as well: a Fast Open cookie would take the space of the option that says where a
 * connection goes (options.bpf.h). Two calls would cost every socket half a microsecond more.
 */
static __always_inline int claim_socket(struct bpf_sockopt *ctx) {
    const struct sf_claim *claim = ctx->optval;
    __u32 *value = ctx->optval;
    const struct sf_endpoint *endpoint;
    const struct sf_limits *most;
    struct sf_socket record = {};
    struct sf_usage *usage;

    if (ctx->optname != SF_CLAIM || (void *)(claim + 1) > ctx->optval_end)
        return 1; /* the kernel has its own error for options that it does not know */
    record.owner = claim->owner;
    record.flags = claim->flags & SF_PRELOAD;
    endpoint = bpf_map_lookup_elem(&endpoints, &record.owner);
    if (!endpoint)
        return refuse_claim(ENETDOWN);
    record.address = endpoint->address;
    record.address6 = endpoint->address6;
    record.account = endpoint->account;
    record.near_account = endpoint->account + 1;
    most = limits_of(record.account);
    usage = usage_of(record.account);
    if (!most || !usage)
        return refuse_claim(ENETDOWN);
    if (__sync_fetch_and_add(&usage->sockets, 1) >= most->sockets) {
        __sync_fetch_and_add(&usage->sockets, -1);
        /* A dispenser tries again and again, whether or not anybody wants a socket. */
        if (!record.flags) {
            __sync_fetch_and_add(&usage->refused_sockets, 1);
            count(SF_COUNTER_sockets_limited);
        }
        return refuse_claim(ENFILE);
    }
    if (!bpf_sk_storage_get(&sockets, ctx->sk, &record, BPF_SK_STORAGE_GET_F_CREATE)) {
        __sync_fetch_and_add(&usage->sockets, -1);
        return refuse_claim(ENOMEM);
    }
    *value = 1;
    /* One by one: the verifier wants each store to the context as a store of one field. */
    *(volatile __s32 *)&ctx->level = IPPROTO_TCP;
    *(volatile __s32 *)&ctx->optname = TCP_FASTOPEN_NO_COOKIE;
    ctx->optlen = sizeof(*value);
    return 1;
}

/* A connection that was accepted for a listener. It is there already: what is too much was refused as a SYN. */
static __always_inline void count_accepted(struct sf_socket *record) {
    struct sf_usage *usage = usage_of(account_of(record));

    record->listener_cookie = 0;
    if (usage)
        __sync_fetch_and_add(&usage->sockets, 1);
}

/* Whether a SYN to a listener of the account would be one socket too many. Handshakes on their way are not counted. */
static __always_inline bool is_full(__u32 account) {
    const struct sf_limits *most = limits_of(account);
    struct sf_usage *usage = usage_of(account);

    if (!most || !usage || usage->sockets < most->sockets)
        return false;
    __sync_fetch_and_add(&usage->refused_inbound, 1);
    return true;
}

SEC("tp_btf/tcp_destroy_sock")
int BPF_PROG(sf_destroy, struct sock *sk) {
    struct sf_socket *record = bpf_sk_storage_get(&sockets, sk, 0, 0);
    struct sf_usage *usage;

    /* While one agent takes over from another, both have this program attached. */
    if (!record || record->flags & SF_COUNTED_OFF)
        return 0;
    /* The copy of a listener's record, on a connection that never came about. */
    if (record->listener_cookie && record->listener_cookie != bpf_get_socket_cookie(sk))
        return 0;
    record->flags |= SF_COUNTED_OFF;
    usage = usage_of(account_of(record));
    if (usage)
        __sync_fetch_and_add(&usage->sockets, -1);
    return 0;
}

/* ---- listeners
 * ------------------------------------------------------------------------------------------------------- */

/* Asked by bind(2), since listen(2) has no hook that could refuse it. */
static __always_inline bool may_listen(const struct sf_socket *record) {
    const struct sf_limits *most = limits_of(account_of(record));
    struct sf_usage *usage = usage_of(account_of(record));

    if (!most || !usage || usage->listeners < most->listeners)
        return true;
    __sync_fetch_and_add(&usage->refused_listeners, 1);
    return false;
}

/* False if it is one too many: then it stays out of the table, and nobody can reach it. */
static __always_inline bool count_listener(struct sf_socket *record) {
    const struct sf_limits *most = limits_of(account_of(record));
    struct sf_usage *usage = usage_of(account_of(record));

    if (!most || !usage)
        return false;
    if (__sync_fetch_and_add(&usage->listeners, 1) >= most->listeners) {
        __sync_fetch_and_add(&usage->listeners, -1);
        __sync_fetch_and_add(&usage->refused_listeners, 1);
        return false;
    }
    record->flags |= SF_COUNTED_LISTENER;
    return true;
}

/* With the socket locked, and nobody else's. */
static __always_inline void uncount_listener(struct sf_socket *record) {
    struct sf_usage *usage = usage_of(account_of(record));

    if (!(record->flags & SF_COUNTED_LISTENER))
        return;
    record->flags &= ~SF_COUNTED_LISTENER;
    if (usage)
        __sync_fetch_and_add(&usage->listeners, -1);
}

/* ---- connections a second
 * -------------------------------------------------------------------------------------------- */

/*
 * The generic cell rate algorithm, which is a token bucket in one word: `connect_due_ns` is when all that was let
 * through would have been due, had it come evenly. It may be ahead of now by the burst.
 */
static __always_inline bool may_connect(const struct sf_limits *most, struct sf_usage *usage, __u64 now) {
    for (int attempt = 0; attempt < CONNECT_TRIES; attempt++) {
        __u64 due = *(volatile __u64 *)&usage->connect_due_ns;
        __u64 next = (due > now ? due : now) + most->connect_interval_ns;

        if (next > now + CONNECT_BURST_NS) {
            __sync_fetch_and_add(&usage->refused_connects, 1);
            return false;
        }
        if (__sync_val_compare_and_swap(&usage->connect_due_ns, due, next) == due)
            return true;
    }
    __sync_fetch_and_add(&usage->connect_due_ns, most->connect_interval_ns);
    return true;
}

#endif
