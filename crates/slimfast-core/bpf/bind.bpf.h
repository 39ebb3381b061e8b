/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * bind(2) and close(2): how sockets come to their ports and go from them.
 *
 * The host socket is always bound to the wildcard address and a port of the kernel's choice: the container's port is a
 * record of ours, so two containers may have the same one, none takes a port that the host wants, and a socket that is
 * bound first and connected later finds its route as if it had not been bound. Who may have which port is in
 * ports.bpf.h.
 */
#ifndef SLIMFAST_BIND_BPF_H
#define SLIMFAST_BIND_BPF_H

#include "limits.bpf.h"
#include "ports.bpf.h"
#include "thinning.bpf.h"

struct any_port {
    struct sf_port_key key;
    __u32 class;
    __be32 address;
    __u32 flags;
    bool taken;
};

static int try_any_port(__u32 attempt, struct any_port *wanted) {
    wanted->key.port = SF_EPHEMERAL_FIRST + bpf_get_prandom_u32() % SF_EPHEMERAL_COUNT;
    wanted->taken = take_port(&wanted->key, wanted->class, wanted->address, wanted->flags, TAKE_FREE) == TAKEN_OK;
    return wanted->taken;
}

/* Takes a port that nobody is on, as an ephemeral one; 0 if none was found. A loop that the verifier goes through once.
 */
static __always_inline __u16 take_any_port(const struct sf_endpoint_key *endpoint, __u32 class, __be32 address,
                                           __u32 flags) {
    struct any_port wanted = {.key = {.endpoint = *endpoint}, .class = class, .address = address, .flags = flags};

    bpf_loop(SF_EPHEMERAL_TRIES, try_any_port, &wanted, 0);
    return wanted.taken ? wanted.key.port : 0;
}

/*
 * Whether the calling process may bind to the port, by the rules of its own namespaces: net/ipv4/af_inet.c,
 * __inet_bind, and security/commoncap.c, cap_capable. The kernel itself sees port 0.
 */
VERIFIED_ONCE int may_bind(__u32 port) {
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
        if (take_port(&key, class, address, flags, TAKE_BY_RULE) != TAKEN_OK)
            return refuse_bind(EADDRINUSE, SF_COUNTER_binds_in_use);
        flags |= SF_BOUND | SF_PORT_GIVEN;
    } else if (!is_without_port(ctx->sk)) {
        key.port = take_any_port(&key.endpoint, class, address, flags);
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

/* close(2) of the last descriptor: also for sockets that were bound and never listened or connected. */
SEC("cgroup/sock_release")
int sf_release(struct bpf_sock *ctx) {
    struct sf_socket *record = bpf_sk_storage_get(&sockets, ctx, 0, 0);

    if (!record)
        return 1;
    end_untold(record);
    /* Listeners and connections leave their port when they reach TCP_CLOSE, which comes after this. */
    if (!(__sync_fetch_and_or(&record->flags, SF_RELEASED) & (SF_LISTENING | SF_CONNECTED)))
        release_port(record);
    return 1;
}

#endif
