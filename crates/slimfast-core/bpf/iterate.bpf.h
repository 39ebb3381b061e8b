/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The table as the kernel has it: walks the TCP sockets of the reader's network namespace and writes a struct
 * sf_connection for each that has a record. Nothing is kept up per connection for this, and it cannot be out of date.
 */
#ifndef SLIMFAST_ITERATE_BPF_H
#define SLIMFAST_ITERATE_BPF_H

#include "egress.bpf.h"
#include "events.bpf.h"
#include "policy.bpf.h"

/* For sf_cut. */
struct sf_cut_order cut = {};

extern int bpf_sock_destroy(struct sock_common *sk) __ksym;

/* 0 at the end of the walk, and for sockets that only wait (TIME_WAIT) or are still requests. */
static __always_inline struct tcp_sock *whole_socket(struct sock_common *common) {
    return common ? (struct tcp_sock *)bpf_skc_to_tcp_sock(common) : 0;
}

static __always_inline bool is_outside6(const struct sf_socket *record) {
    return (record->flags & (SF_OUTSIDE | SF_IPV6)) == (SF_OUTSIDE | SF_IPV6);
}

/* The peer is one of the node's own processes, with which policies have nothing to do. */
static __always_inline bool is_with_node(const struct sf_socket *record) {
    return (record->flags & (SF_PLAIN | SF_ACCEPTED)) == (SF_PLAIN | SF_ACCEPTED) &&
           (record->flags & SF_IPV6 ? !record->peer_id : record->peer_address == bpf_htonl(SF_NODE_ALIAS));
}

SEC("iter/tcp")
int sf_list(struct bpf_iter__tcp *ctx) {
    struct sock_common *common = ctx->sk_common;
    struct tcp_sock *tcp = whole_socket(common);
    struct sf_connection out = {};
    struct sf_socket *record;

    if (!tcp)
        return 0;
    record = bpf_sk_storage_get(&sockets, tcp, 0, 0);
    if (!record)
        return 0;
    out.time_ns = bpf_ktime_get_ns();
    describe(&out, record, bpf_htons(common->skc_num));
    if (record->bind_class == SF_BIND_ADDRESS6)
        out.local_address6 = record->address6;
    out.cookie = bpf_get_socket_cookie(tcp);
    /* Of what is not carried by IPv4 these are no addresses. */
    if (!is_native6(record)) {
        out.underlay_local_address = common->skc_rcv_saddr;
        out.underlay_peer_address = common->skc_daddr;
    }
    out.underlay_local_port = bpf_htons(common->skc_num);
    out.underlay_peer_port = common->skc_dport;
    out.state = common->skc_state;
    count_bytes(&out, tcp);
    out.rtt_us = tcp->srtt_us >> 3;
    if (record->flags & SF_ESTABLISHED)
        out.duration_ns = out.time_ns - record->since_ns;
    bpf_seq_write(ctx->meta->seq, &out, sizeof(out));
    return 0;
}

static __always_inline bool is_denied(const struct sf_socket *record, __be16 real_port) {
    if ((record->flags & (SF_OUTSIDE | SF_ACCEPTED)) == SF_OUTSIDE)
        return (is_outside6(record) ? may_leave6(record->owner.vni, &record->peer_address6)
                                    : may_leave(record->owner.vni, record->peer_address)) != 0;
    if (!(record->flags & SF_OVERLAY) || record->flags & (SF_LOOPBACK | SF_LOOPBACK6) || is_with_node(record))
        return false;
    if ((record->flags & (SF_ACCEPTED | SF_IPV6)) == (SF_ACCEPTED | SF_IPV6))
        return !is_allowed(record->owner.vni, record->peer_id, record->owner.id,
                           port_of(record->local_port ? record->local_port : real_port));
    if (record->flags & SF_ACCEPTED)
        return !is_allowed_from(record->owner.vni, record->peer_address, 0, record->owner.id,
                                port_of(record->local_port ? record->local_port : real_port));
    return !is_allowed(record->owner.vni, record->owner.id, record->peer_id, port_of(record->peer_port));
}

static __always_inline bool is_to_cut(const struct sf_socket *record, struct tcp_sock *tcp, __be16 real_port) {
    switch (cut.what) {
    case SF_CUT_OWNER: /* its processes may be alive, its address is not theirs any more */
        return record->owner.vni == cut.owner.vni && record->owner.id == cut.owner.id;
    case SF_CUT_COOKIE:
        return bpf_get_socket_cookie(tcp) == cut.cookie;
    case SF_CUT_DENIED:
        return record->owner.vni == cut.owner.vni && is_denied(record, real_port);
    default:
        return false;
    }
}

SEC("iter/tcp")
int sf_cut(struct bpf_iter__tcp *ctx) {
    struct sock_common *common = ctx->sk_common;
    struct tcp_sock *tcp = whole_socket(common);
    struct sf_socket *record;

    if (!tcp)
        return 0;
    record = bpf_sk_storage_get(&sockets, tcp, 0, 0);
    if (record && is_to_cut(record, tcp, bpf_htons(common->skc_num)) && !bpf_sock_destroy(common))
        cut.done++;
    return 0;
}

#endif
