/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The life of a host socket as TCP sees it: the option in the SYN, the listener's entry, the accepted socket's names,
 * and the events. Only sockets with a record are touched.
 */
#ifndef SLIMFAST_SOCKOPS_BPF_H
#define SLIMFAST_SOCKOPS_BPF_H

#include "bind.bpf.h"
#include "events.bpf.h"
#include "handshakes.bpf.h"
#include "packet.bpf.h"
#include "plain.bpf.h"
#include "tuples.bpf.h"

/* bpf_sock_ops keeps ports in different forms: local in host order, remote in the upper half in network order. */
static __always_inline __be16 ops_local_port(struct bpf_sock_ops *ctx) {
    return bpf_htons((__u16)ctx->local_port);
}

static __always_inline __be16 ops_remote_port(struct bpf_sock_ops *ctx) {
    return bpf_htons((__u16)bpf_ntohl(ctx->remote_port));
}

static __always_inline void enable(struct bpf_sock_ops *ctx, __u32 callbacks) {
    bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags | callbacks);
}

static __always_inline void disable(struct bpf_sock_ops *ctx, __u32 callbacks) {
    bpf_sock_ops_cb_flags_set(ctx, ctx->bpf_sock_ops_cb_flags & ~callbacks);
}

/*
 * What else the kernel is to call back for, once the connection stands: its end, if there is something to do about it.
 * An accepted socket begins with its listener's, a connected one with those of its handshake.
 */
static __always_inline void watch_end(struct bpf_sock_ops *ctx, const struct sf_socket *record) {
    __u32 wanted = record->flags & (SF_TOLD | SF_BOUND | SF_PLAIN) ? BPF_SOCK_OPS_STATE_CB_FLAG : 0;

    if (ctx->bpf_sock_ops_cb_flags != wanted)
        bpf_sock_ops_cb_flags_set(ctx, wanted);
}

/* What there is to say of a connection of this socket. */
static __always_inline void fill(struct sf_connection *event, struct bpf_sock_ops *ctx, struct sf_socket *record) {
    describe(event, record, ops_local_port(ctx));
    event->cookie = bpf_get_socket_cookie(ctx);
    /* Of what is not carried by IPv4 these are no addresses. */
    if (!is_native6(record)) {
        event->underlay_local_address = ctx->local_ip4;
        event->underlay_peer_address = ctx->remote_ip4;
    }
    event->underlay_local_port = ops_local_port(ctx);
    event->underlay_peer_port = ops_remote_port(ctx);
    event->state = ctx->state;
    event->rtt_us = ctx->srtt_us >> 3;
}

/* A handshake is done: tells of it, or not, and then not of its end either. */
static __noinline int tell_beginning(struct bpf_sock_ops *ctx, struct sf_socket *record, enum sf_event_kind kind,
                                     __u64 now_ns) {
    struct sf_connection *event;

    if (!may_tell(now_ns, 2)) {
        pass_over_beginning(record->flags);
        return 0;
    }
    __sync_fetch_and_or(&record->flags, SF_TOLD);
    event = reserve(kind, now_ns);
    if (event) {
        fill(event, ctx, record);
        submit_quietly(event);
    }
    return 0;
}

/* ---- outbound
 * -------------------------------------------------------------------------------------------------------- */

static __always_inline void on_connect(struct bpf_sock_ops *ctx, struct sf_socket *record) {
    if (record->flags & SF_BOUND) {
        __sync_fetch_and_or(&record->flags, SF_CONNECTED);
        add_tuple(record, bpf_get_socket_cookie(ctx));
    }
    if (record->flags & SF_PLAIN) {
        /* An earlier attempt of the socket may have been to an accelerated peer. */
        disable(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG);
        enable(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
        add_crossing(record, ops_local_port(ctx));
    } else if (record->flags & SF_OVERLAY)
        enable(ctx, BPF_SOCK_OPS_WRITE_HDR_OPT_CB_FLAG | BPF_SOCK_OPS_STATE_CB_FLAG);
    else if (record->flags & SF_OUTSIDE)
        enable(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
}

static __always_inline void on_option_length(struct bpf_sock_ops *ctx) {
    if (is_syn(ctx->skb_tcp_flags) && bpf_reserve_hdr_opt(ctx, sizeof(struct sf_option), 0))
        count(SF_COUNTER_options_no_space);
}

static __always_inline struct sf_flow_key flow_key_of(__be32 source, __be32 destination, __be16 source_port,
                                                      __be16 destination_port) {
    struct sf_flow_key key = {source, destination, source_port, destination_port};

    return key;
}

static __always_inline void on_write_option(struct bpf_sock_ops *ctx, struct sf_socket *record) {
    __u32 vni = record->owner.vni;
    struct sf_option option = {
        .kind = SF_OPTION_KIND,
        .length = sizeof(option),
        .exid = bpf_htons(SF_OPTION_EXID),
        .version_flags = SF_OPTION_VERSION << 4,
        .vni = {vni >> 16, vni >> 8, vni},
        .destination_id = bpf_htonl(record->peer_id),
        .source_address = record->address,
        .destination_port = record->peer_port,
        .source_port = record->local_port ? record->local_port : ops_local_port(ctx),
    };
    __be32 source;

    if (!is_syn(ctx->skb_tcp_flags))
        return;
    if (record->flags & SF_IPV6) {
        option.version_flags = SF_OPTION_VERSION6 << 4;
        option.source_address = bpf_htonl(record->owner.id);
    }
    if (record->flags & SF_LOOPBACK) {
        option.version_flags |= SF_OPTION_LOOPBACK;
        option.source_address = record->peer_address;
    }
    source = source_of(record);
    if (source != usual_source(record)) {
        struct sf_flow_key key =
            flow_key_of(ctx->local_ip4, ctx->remote_ip4, ops_local_port(ctx), ops_remote_port(ctx));

        option.version_flags |= SF_OPTION_SOURCE;
        bpf_map_update_elem(&sources, &key, &source, BPF_ANY);
    }
    if (record->flags & SF_LOOPBACK6)
        option.version_flags |= SF_OPTION_LOOPBACK6;
    if (record->flags & SF_OTHER6)
        option.version_flags |= SF_OPTION_SOURCE;
    if (!bpf_store_hdr_opt(ctx, &option, sizeof(option), 0))
        count(SF_COUNTER_options_written);
}

static __noinline int on_established_outbound(struct bpf_sock_ops *ctx, struct sf_socket *record) {
    __u64 now = bpf_ktime_get_ns();

    if (!(record->flags & (SF_OVERLAY | SF_OUTSIDE)))
        return 0;
    record->setup_us = (now - record->since_ns) / 1000;
    record->since_ns = now;
    /* close(2) may come at the same time. */
    __sync_fetch_and_or(&record->flags, SF_ESTABLISHED);
    count(SF_COUNTER_opened);
    tell_beginning(ctx, record, SF_EVENT_OPENED, now);
    watch_end(ctx, record);
    return 0;
}

/* ---- inbound
 * --------------------------------------------------------------------------------------------------------- */

static __always_inline void hide(__u16 port, __u16 family) {
    struct sf_hidden_key key = {.port = port, .family = family};
    __u32 *users = bpf_map_lookup_elem(&hidden_ports, &key);
    __u32 one = 1;

    if (users)
        __sync_fetch_and_add(users, 1);
    else
        bpf_map_update_elem(&hidden_ports, &key, &one, BPF_ANY);
}

static __always_inline void unhide(__u16 port, __u16 family) {
    struct sf_hidden_key key = {.port = port, .family = family};
    __u32 *users = bpf_map_lookup_elem(&hidden_ports, &key);

    if (users && __sync_fetch_and_add(users, -1) <= 1)
        bpf_map_delete_elem(&hidden_ports, &key);
}

static __always_inline void on_listen(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct sf_socket *record) {
    struct sf_port_key port = {.endpoint = record->owner};
    struct sf_listener_key key = {.endpoint = record->owner};
    __u32 class, common;
    int slot;

    enable(ctx, BPF_SOCK_OPS_STATE_CB_FLAG);
    hide(ctx->local_port, AF_INET);
    if (ctx->family == AF_INET6)
        hide(ctx->local_port, AF_INET6);
    record->listener_cookie = bpf_get_socket_cookie(ctx);
    if (!is_attached(record)) {
        count(SF_COUNTER_listeners_failed);
        return;
    }
    if (!count_listener(record)) {
        count(SF_COUNTER_listeners_limited);
        return;
    }
    if (!(record->flags & SF_BOUND)) {
        /* listen(2) without bind(2), or without a port. */
        if (record->flags & SF_ADDRESS)
            class = record->bind_class;
        else
            class = ctx->family == AF_INET ? SF_BIND_ANY4 : record->flags & SF_V6ONLY ? SF_BIND_ANY6 : SF_BIND_DUAL;
        port.port = take_any_port(&port.endpoint, class, record->loopback_address, record->flags);
        if (!port.port) {
            count(SF_COUNTER_listeners_failed);
            return;
        }
        record->local_port = bpf_htons(port.port);
        record->bind_class = class;
        record->flags |= SF_BOUND;
    }
    class = record->bind_class;
    common = common_class(class, record->loopback_address, &key.loopback);
    port.port = port_of(record->local_port);
    port.loopback = key.loopback;
    slot = take_slot(&port, class, record->account);
    if (slot < 0) {
        count(SF_COUNTER_listeners_failed);
        return;
    }
    if (common != class) {
        port.loopback = 0;
        count_listening(&port, common, record->account);
    }
    record->slot = slot;
    record->flags = (record->flags & ~SF_SELF) | SF_LISTENING;
    key.port = port.port;
    key.bind_class = class;
    key.slot = slot;
    if (bpf_sock_hash_update(ctx, &listeners, &key, BPF_ANY))
        count(SF_COUNTER_listeners_failed);
    else
        count(SF_COUNTER_listeners_added);
}

/* The peer of a connection from outside, by IPv6 or not. */
static __always_inline void take_real_peer(struct bpf_sock_ops *ctx, struct sf_socket *record, __be32 address) {
    struct sf_address6 real;

    record->peer_address = address;
    if (ctx->family != AF_INET6)
        return;
    real.words[0] = ctx->remote_ip6[0];
    real.words[1] = ctx->remote_ip6[1];
    real.words[2] = ctx->remote_ip6[2];
    real.words[3] = ctx->remote_ip6[3];
    if (is_v4_mapped(&real))
        return;
    record->flags |= SF_IPV6;
    record->peer_address6 = real;
}

/* The peer of a connection between IPv6 addresses of the overlay. */
static __always_inline void take_source6(struct sf_socket *record, const struct sf_flow *flow) {
    struct sf_endpoint_key from = {.vni = record->owner.vni, .id = bpf_ntohl(flow->source_address)};
    const struct sf_source6 *source = bpf_map_lookup_elem(&sources6, &from);

    record->flags |= SF_IPV6;
    record->peer_id = from.id;
    if (source)
        record->peer_address6 = source->address;
}

/* An accepted socket has its listener's port, at the address that the peer connected to, for as long as it lives. */
static __always_inline void keep_listeners_port(struct sf_socket *record) {
    struct sf_port_key key = port_key_of(record);
    __u32 class = record->flags & SF_LOOPBACK6  ? SF_BIND_LOOPBACK6
                  : record->flags & SF_IPV6     ? SF_BIND_ADDRESS6
                  : record->flags & SF_LOOPBACK ? SF_BIND_LOOPBACK4
                                                : SF_BIND_ADDRESS4;

    record->bind_class = class;
    if (key.port && take_port(&key, class, record->loopback_address, record->flags, TAKE_ANYWAY) == TAKEN_OK)
        record->flags |= SF_BOUND | SF_CONNECTED;
}

static __always_inline void on_established_inbound(struct bpf_sock_ops *ctx, struct sf_socket *record) {
    struct sf_flow_key key = {
        .source = ctx->remote_ip4,
        .destination = ctx->local_ip4,
        .source_port = ops_remote_port(ctx),
        .destination_port = ops_local_port(ctx),
    };
    __u16 port = ctx->local_port;
    struct sf_flow flow;

    /* The kernel calls the end of a simultaneous open passive. */
    if (record->flags & SF_SELF) {
        on_established_outbound(ctx, record);
        return;
    }
    count_accepted(record);
    /* What else the listener's record says of binding is the listener's. */
    record->flags =
        (record->flags & (SF_PRELOAD | SF_V6ONLY | SF_REUSEADDR | SF_REUSEPORT)) | SF_ACCEPTED | SF_ESTABLISHED;
    record->since_ns = bpf_ktime_get_ns();
    record->setup_us = 0;
    if (take_handshake(&key, &flow)) {
        record->flags |= SF_OVERLAY;
        if (flow.flags & SF_OPTION_LOOPBACK) {
            record->flags |= SF_LOOPBACK;
            record->loopback_address = flow.source_address;
        }
        if (flow.flags & SF_OPTION_LOOPBACK6)
            record->flags |= SF_LOOPBACK6;
        if (flow.flags & SF_OPTION_SOURCE)
            record->flags |= SF_OTHER6;
        if (flow.flags & SF_OPTION_IPV6)
            take_source6(record, &flow);
        else if (flow.client_address)
            record->peer_address = flow.client_address;
        else
            record->peer_address = flow.flags ? bpf_htonl(0x7f000001) : flow.source_address;
        record->peer_port = flow.source_port;
    } else if (is_plain_peer(key.source) && is_own_alias(key.destination)) {
        record->flags |= SF_OVERLAY | SF_PLAIN;
        record->peer_address = address_behind(record->owner.vni, key.source);
        record->peer_port = key.source_port;
    } else if (take_plain_peer6(ctx, record)) {
        record->peer_port = key.source_port;
    } else {
        take_real_peer(ctx, record, key.source);
        record->peer_port = key.source_port;
        record->flags |= bpf_map_lookup_elem(&published, &port) ? SF_OUTSIDE : SF_STRAY;
        if (record->flags & SF_STRAY)
            count(SF_COUNTER_accepted_stray);
    }
    keep_listeners_port(record);
    count(SF_COUNTER_accepted);
    tell_beginning(ctx, record, SF_EVENT_ACCEPTED, record->since_ns);
    watch_end(ctx, record);
}

/* ---- the end
 * ---------------------------------------------------------------------------------------------------------- */

/* The kernel's last state before TCP_CLOSE, if nothing went wrong, of the end that closed first. */
static __always_inline bool goes_to_time_wait(__u32 before) {
    return before == BPF_TCP_FIN_WAIT1 || before == BPF_TCP_FIN_WAIT2 || before == BPF_TCP_CLOSING;
}

static __always_inline void on_close(struct bpf_sock_ops *ctx, struct bpf_sock *sk, struct sf_socket *record) {
    struct tcp_sock *tcp = (struct tcp_sock *)bpf_skc_to_tcp_sock(sk);
    __u32 before = ctx->args[0];
    struct sf_connection *event;
    __u32 flags;

    /* A connection that never came about: what its record says is the listener's. */
    if (record->listener_cookie && record->listener_cookie != bpf_get_socket_cookie(ctx))
        return;
    if ((record->flags & (SF_PLAIN | SF_ACCEPTED)) == SF_PLAIN)
        remove_crossing(record, ops_local_port(ctx));
    if (before == BPF_TCP_LISTEN) {
        unhide(ctx->local_port, AF_INET);
        if (ctx->family == AF_INET6)
            unhide(ctx->local_port, AF_INET6);
        uncount_listener(record);
        if ((record->flags & (SF_RELEASED | SF_PORT_GIVEN)) == SF_PORT_GIVEN)
            stop_listening(record);
        else
            release_port(record);
        return;
    }
    /* Atomic: of this and of sf_release, whichever comes second sees the other's flag. */
    flags = __sync_fetch_and_and(&record->flags, ~SF_CONNECTED);
    if (flags & SF_BOUND) {
        bool is_waiting = tcp && !tcp->inet_conn.icsk_inet.sk.sk_err && goes_to_time_wait(before);

        if (is_waiting)
            keep_port_waiting(record);
        if (!(flags & SF_ACCEPTED))
            end_tuple(record, bpf_get_socket_cookie(ctx), is_waiting);
        /* As the kernel does with the ports that it has chosen: tcp_set_state. */
        if ((flags & (SF_PORT_GIVEN | SF_RELEASED)) != SF_PORT_GIVEN)
            release_port(record);
    }
    if (record->flags & SF_ESTABLISHED) {
        if (!(record->flags & SF_TOLD)) {
            end_untold(record);
            return;
        }
        __sync_fetch_and_and(&record->flags, ~SF_ESTABLISHED);
        count(SF_COUNTER_closed);
        event = reserve(SF_EVENT_CLOSED, bpf_ktime_get_ns());
        if (!event)
            return;
        fill(event, ctx, record);
        if (tcp) {
            count_bytes(event, tcp);
            event->duration_ns = event->time_ns - record->since_ns;
        }
        submit(event);
    } else if (before == BPF_TCP_SYN_SENT) {
        count(SF_COUNTER_failed);
        event = reserve_refusal(record->flags, tcp ? tcp->inet_conn.icsk_inet.sk.sk_err : 0);
        if (!event)
            return;
        fill(event, ctx, record);
        submit(event);
    }
}

SEC("sockops")
int sf_sockops(struct bpf_sock_ops *ctx) {
    struct sf_socket *record;
    struct bpf_sock *sk;

    /* Most calls are none of ours: they end here, before the look-up. */
    switch (ctx->op) {
    case BPF_SOCK_OPS_HDR_OPT_LEN_CB:
        on_option_length(ctx);
        return 1;
    case BPF_SOCK_OPS_STATE_CB:
        if (ctx->args[1] != BPF_TCP_CLOSE)
            return 1;
        break;
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
    case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
    case BPF_SOCK_OPS_TCP_LISTEN_CB:
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        break;
    default:
        return 1;
    }
    sk = ctx->sk;
    if (!sk)
        return 1;
    record = bpf_sk_storage_get(&sockets, sk, 0, 0);
    if (!record)
        return 1;
    switch (ctx->op) {
    case BPF_SOCK_OPS_TCP_CONNECT_CB:
        on_connect(ctx, record);
        break;
    case BPF_SOCK_OPS_WRITE_HDR_OPT_CB:
        on_write_option(ctx, record);
        break;
    case BPF_SOCK_OPS_ACTIVE_ESTABLISHED_CB:
        on_established_outbound(ctx, record);
        break;
    case BPF_SOCK_OPS_TCP_LISTEN_CB:
        on_listen(ctx, sk, record);
        break;
    case BPF_SOCK_OPS_PASSIVE_ESTABLISHED_CB:
        on_established_inbound(ctx, record);
        break;
    case BPF_SOCK_OPS_STATE_CB:
        on_close(ctx, sk, record);
        break;
    }
    return 1;
}

#endif
