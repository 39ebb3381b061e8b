/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * bind(2), and what is bound to each port of each endpoint.
 *
 * The host socket is always bound to the wildcard address and a port of the kernel's choice: the container's port is a
 * record of ours, so two containers may have the same one, none takes a port that the host wants, and a socket that is
 * bound first and connected later finds its route as if it had not been bound. Conflicts are decided here by Linux's
 * own rules (net/ipv4/inet_connection_sock.c, inet_csk_bind_conflict), per endpoint.
 */
#ifndef SLIMFAST_BIND_BPF_H
#define SLIMFAST_BIND_BPF_H

#include "limits.bpf.h"
#include "thinning.bpf.h"

/* classes_overlapping[c]: bit d is set if sockets of class c and of class d on one port stand in each other's way. */
#define BIT(n) (1 << (n))
static const __u8 classes_overlapping[SF_BIND_CLASSES] = {
    [SF_BIND_ANY4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_ADDRESS4) | BIT(SF_BIND_LOOPBACK4) | BIT(SF_BIND_DUAL),
    [SF_BIND_ADDRESS4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_ADDRESS4) | BIT(SF_BIND_DUAL),
    [SF_BIND_LOOPBACK4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_LOOPBACK4) | BIT(SF_BIND_DUAL),
    [SF_BIND_DUAL] = BIT(SF_BIND_CLASSES) - 1,
    [SF_BIND_ANY6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_ADDRESS6) | BIT(SF_BIND_LOOPBACK6),
    [SF_BIND_ADDRESS6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_ADDRESS6),
    [SF_BIND_LOOPBACK6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_LOOPBACK6),
};

/* Whether a socket with these flags may not be bound beside what is there. To be called with the lock held. */
static __always_inline bool conflicts(const struct sf_port *port, __u32 class, __u32 flags) {
    __u32 overlapping = classes_overlapping[class];

#pragma unroll
    for (int other = 0; other < SF_BIND_CLASSES; other++) {
        if (!(overlapping & BIT(other)) || !port->bound[other])
            continue;
        if ((flags & SF_REUSEADDR) && !port->no_reuseaddr[other] && !port->listening[other])
            continue;
        if ((flags & SF_REUSEPORT) && !port->no_reuseport[other])
            continue;
        return true;
    }
    return false;
}

static __always_inline void add(struct sf_port *port, __u32 class, __u32 flags) {
#pragma unroll
    for (int c = 0; c < SF_BIND_CLASSES; c++) {
        if (c != class)
            continue;
        port->bound[c]++;
        if (!(flags & SF_REUSEADDR))
            port->no_reuseaddr[c]++;
        if (!(flags & SF_REUSEPORT))
            port->no_reuseport[c]++;
    }
}

enum taken { TAKEN_OK, TAKEN_BUSY, TAKEN_RETRY };

static __always_inline enum taken take_once(const struct sf_port_key *key, __u32 class, __u32 flags, bool exclusive) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);
    enum taken result;

    if (!port) {
        struct sf_port fresh = {.key = *key};

        add(&fresh, class, flags);
        return bpf_map_update_elem(&ports, key, &fresh, BPF_NOEXIST) ? TAKEN_RETRY : TAKEN_OK;
    }
    if (exclusive)
        return TAKEN_BUSY;
    bpf_spin_lock(&port->lock);
    if (port->dead || port->key.port != key->port || port->key.endpoint.id != key->endpoint.id ||
        port->key.endpoint.vni != key->endpoint.vni) {
        result = TAKEN_RETRY;
    } else if (conflicts(port, class, flags)) {
        result = TAKEN_BUSY;
    } else {
        add(port, class, flags);
        result = TAKEN_OK;
    }
    bpf_spin_unlock(&port->lock);
    return result;
}

/* Counts a socket on the port. `exclusive`: only if nothing at all is on it. */
static __noinline int take_port(struct sf_port_key *key, __u32 class, __u32 flags, __u32 exclusive) {
    if (!key || class >= SF_BIND_CLASSES)
        return TAKEN_BUSY;
    for (int attempt = 0; attempt < 4; attempt++) {
        enum taken result = take_once(key, class, flags, exclusive);

        if (result != TAKEN_RETRY)
            return result;
    }
    return TAKEN_BUSY;
}

struct any_port {
    struct sf_port_key key;
    __u32 class;
    __u32 flags;
    bool taken;
};

static int try_any_port(__u32 attempt, struct any_port *wanted) {
    wanted->key.port = SF_EPHEMERAL_FIRST + bpf_get_prandom_u32() % SF_EPHEMERAL_COUNT;
    wanted->taken = take_port(&wanted->key, wanted->class, wanted->flags, true) == TAKEN_OK;
    return wanted->taken;
}

/* Takes a port that nobody is on, as an ephemeral one; 0 if none was found. A loop that the verifier goes through once.
 */
static __always_inline __u16 take_any_port(const struct sf_endpoint_key *endpoint, __u32 class, __u32 flags) {
    struct any_port wanted = {.key = {.endpoint = *endpoint}, .class = class, .flags = flags};

    bpf_loop(SF_EPHEMERAL_TRIES, try_any_port, &wanted, 0);
    return wanted.taken ? wanted.key.port : 0;
}

/*
 * Takes a socket off its port again, and the entry with the last one. Idempotent through the record's flags: close(2)
 * of a connection may come at the same time as its reset.
 */
static __always_inline void release_port(struct sf_socket *record) {
    struct sf_port_key key = {.endpoint = record->owner, .port = port_of(record->local_port)};
    struct sf_port *port;
    __u32 class = record->bind_class;
    __u32 flags = __sync_fetch_and_and(&record->flags, ~(SF_BOUND | SF_LISTENING));
    bool last = false;

    if (!(flags & SF_BOUND))
        return;
    port = bpf_map_lookup_elem(&ports, &key);
    if (!port)
        return;
    bpf_spin_lock(&port->lock);
    if (!port->dead) {
        __u32 left = 0;

#pragma unroll
        for (int c = 0; c < SF_BIND_CLASSES; c++) {
            if (c == class) {
                port->bound[c]--;
                if (!(flags & SF_REUSEADDR))
                    port->no_reuseaddr[c]--;
                if (!(flags & SF_REUSEPORT))
                    port->no_reuseport[c]--;
                if (flags & SF_LISTENING) {
                    port->listening[c]--;
                    port->slots[c] &= ~(1ULL << (record->slot & 63));
                }
            }
            left |= port->bound[c];
        }
        if (!left) {
            port->dead = 1;
            last = true;
        }
    }
    bpf_spin_unlock(&port->lock);
    if (last)
        bpf_map_delete_elem(&ports, &key);
}

/* A listener listens no longer, and keeps its port. */
static __always_inline void stop_listening(struct sf_socket *record) {
    struct sf_port_key key = {.endpoint = record->owner, .port = port_of(record->local_port)};
    struct sf_port *port;
    __u32 class = class_index(record->bind_class);

    if (!(__sync_fetch_and_and(&record->flags, ~SF_LISTENING) & SF_LISTENING))
        return;
    port = bpf_map_lookup_elem(&ports, &key);
    if (!port)
        return;
    bpf_spin_lock(&port->lock);
    if (!port->dead) {
        port->listening[class]--;
        port->slots[class] &= ~(1ULL << (record->slot & 63));
    }
    bpf_spin_unlock(&port->lock);
}

/*
 * Whether the calling process may bind to the port, by the rules of its own namespaces: net/ipv4/af_inet.c,
 * __inet_bind, and security/commoncap.c, cap_capable. The kernel itself sees port 0.
 */
static __noinline int may_bind(__u32 port) {
    const struct task_struct *task = (const struct task_struct *)bpf_get_current_task();
    const struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
    const struct user_namespace *own, *ns, *parent;
    const struct cred *cred;

    if (port >= (__u32)BPF_CORE_READ(net, ipv4.sysctl_ip_prot_sock))
        return true;
    cred = BPF_CORE_READ(task, cred);
    own = BPF_CORE_READ(cred, user_ns);
    ns = BPF_CORE_READ(net, user_ns);
    for (int i = 0; i < SF_MAX_USER_NAMESPACES; i++) {
        if (ns == own)
            return BPF_CORE_READ(cred, cap_effective.val) >> CAP_NET_BIND_SERVICE & 1;
        if (BPF_CORE_READ(ns, level) <= BPF_CORE_READ(own, level))
            return false;
        parent = BPF_CORE_READ(ns, parent);
        if (parent == own && BPF_CORE_READ(ns, owner.val) == BPF_CORE_READ(cred, euid.val))
            return true;
        ns = parent;
    }
    return false;
}

/* IP_BIND_ADDRESS_NO_PORT: bind(2) is for the address, and the port comes with connect(2) or listen(2). */
static __always_inline bool is_without_port(struct bpf_sock *sk) {
    struct tcp_sock *tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);

    return tcp && tcp->inet_conn.icsk_inet.inet_flags >> INET_FLAGS_BIND_ADDRESS_NO_PORT & 1;
}

static __always_inline __u32 reuse_flags(struct bpf_sock_addr *ctx) {
    __u32 flags = 0;
    int value = 0;

    if (!bpf_getsockopt(ctx, SOL_SOCKET, SO_REUSEADDR, &value, sizeof(value)) && value)
        flags |= SF_REUSEADDR;
    value = 0;
    if (!bpf_getsockopt(ctx, SOL_SOCKET, SO_REUSEPORT, &value, sizeof(value)) && value)
        flags |= SF_REUSEPORT;
    return flags;
}

static __always_inline int refuse_bind(int errno, enum sf_counter counter) {
    count(counter);
    bpf_set_retval(-errno);
    return 0;
}

/* Returns 1 and writes the record, or 0 with the errno set. `address`: what was asked for, of interest if IPv4. */
static __always_inline int bind_common(struct bpf_sock_addr *ctx, struct sf_socket *record, __u32 class,
                                       __be32 address) {
    struct sf_port_key key = {.endpoint = record->owner, .port = port_of(ctx->user_port)};
    __u32 flags = reuse_flags(ctx);

    if (key.port && !may_bind(key.port))
        return refuse_bind(EACCES, SF_COUNTER_binds_denied);
    /* A second bind(2): the kernel itself answers EINVAL. */
    if (record->flags & SF_BOUND)
        return 1;
    if (!is_attached(record))
        return refuse_bind(ENETDOWN, SF_COUNTER_binds_not_available);
    if (!may_listen(record))
        return refuse_bind(ENOBUFS, SF_COUNTER_listeners_limited);
    if (key.port) {
        if (take_port(&key, class, flags, false) != TAKEN_OK)
            return refuse_bind(EADDRINUSE, SF_COUNTER_binds_in_use);
        flags |= SF_BOUND | SF_PORT_GIVEN;
    } else if (!is_without_port(ctx->sk)) {
        key.port = take_any_port(&key.endpoint, class, flags);
        if (!key.port)
            return refuse_bind(EADDRINUSE, SF_COUNTER_binds_in_use);
        flags |= SF_BOUND;
    }
    record->local_port = bpf_htons(key.port);
    record->bind_class = class;
    if (class == SF_BIND_LOOPBACK4)
        record->loopback_address = address;
    record->flags = (record->flags & ~(SF_REUSEADDR | SF_REUSEPORT | SF_PORT_GIVEN)) | SF_ADDRESS | flags;
    ctx->user_port = 0;
    count(SF_COUNTER_binds);
    return 1;
}

SEC("cgroup/bind4")
int sf_bind4(struct bpf_sock_addr *ctx) {
    struct sf_socket *record;
    __be32 address = ctx->user_ip4;
    __u32 class;

    if (!ctx->sk || ctx->protocol != IPPROTO_TCP)
        return 1;
    record = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
    if (!record)
        return 1;
    if (address == 0)
        class = SF_BIND_ANY4;
    else if (address == record->address)
        class = SF_BIND_ADDRESS4;
    else if (is_loopback4(address))
        class = SF_BIND_LOOPBACK4;
    else
        return refuse_bind(EADDRNOTAVAIL, SF_COUNTER_binds_not_available);
    ctx->user_ip4 = 0;
    return bind_common(ctx, record, class, address);
}

SEC("cgroup/bind6")
int sf_bind6(struct bpf_sock_addr *ctx) {
    struct sf_address6 address = read_address6(ctx);
    __be32 mapped = address.words[3];
    struct sf_socket *record;
    __u32 class;

    if (!ctx->sk || ctx->protocol != IPPROTO_TCP)
        return 1;
    record = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
    if (!record)
        return 1;
    if (is_any6(&address)) {
        class = record->flags & SF_V6ONLY ? SF_BIND_ANY6 : SF_BIND_DUAL;
    } else if (is_loopback6(&address)) {
        class = SF_BIND_LOOPBACK6;
    } else if (is_equal6(&address, &record->address6)) {
        class = SF_BIND_ADDRESS6;
    } else if (is_v4_mapped(&address)) {
        if (record->flags & SF_V6ONLY)
            return refuse_bind(EINVAL, SF_COUNTER_binds_not_available);
        if (mapped == 0)
            class = SF_BIND_ANY4;
        else if (mapped == record->address)
            class = SF_BIND_ADDRESS4;
        else if (is_loopback4(mapped))
            class = SF_BIND_LOOPBACK4;
        else
            return refuse_bind(EADDRNOTAVAIL, SF_COUNTER_binds_not_available);
    } else {
        return refuse_bind(EADDRNOTAVAIL, SF_COUNTER_binds_not_available);
    }
    write_words6(ctx, 0, 0, 0, 0);
    return bind_common(ctx, record, class, mapped);
}

/* close(2) of the last descriptor: also for sockets that were bound and never listened. */
SEC("cgroup/sock_release")
int sf_release(struct bpf_sock *ctx) {
    struct sf_socket *record = bpf_sk_storage_get(&sockets, ctx, 0, 0);

    if (!record)
        return 1;
    end_untold(record);
    /* A listener is taken off when it leaves TCP_LISTEN, which comes after this. */
    if (record->flags & SF_LISTENING)
        __sync_fetch_and_or(&record->flags, SF_RELEASED);
    else
        release_port(record);
    return 1;
}

#endif
