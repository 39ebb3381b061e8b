/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* Writes what happened to a connection into the ring. Losing an event is counted; it never holds anything up. */
#ifndef SLIMFAST_EVENTS_BPF_H
#define SLIMFAST_EVENTS_BPF_H

#include "thinning.bpf.h"

/* For the events of a handshake, which an application waits for: the reader comes by itself, many times a second. */
static __always_inline void submit_quietly(struct sf_connection *event) {
    bpf_ringbuf_submit(event, BPF_RB_NO_WAKEUP);
}

/* Wakes the reader when much is waiting; a wake-up costs more than everything else that is done here. */
static __always_inline void submit(struct sf_connection *event) {
    __u64 unread = bpf_ringbuf_query(&events, BPF_RB_AVAIL_DATA);

    bpf_ringbuf_submit(event, unread >= SF_EVENTS_WAKE_BYTES ? BPF_RB_FORCE_WAKEUP : BPF_RB_NO_WAKEUP);
}

static __always_inline struct sf_connection *reserve(enum sf_event_kind kind, __u64 now_ns) {
    struct sf_connection *event = bpf_ringbuf_reserve(&events, sizeof(*event), 0);

    if (!event) {
        count(SF_COUNTER_events_lost);
        return 0;
    }
    __builtin_memset(event, 0, sizeof(*event));
    event->kind = kind;
    event->time_ns = now_ns;
    return event;
}

/* The event of a connection that did not come to be; 0 if it is not told. `flags`: of sf_socket. */
static __always_inline struct sf_connection *reserve_refusal(__u32 flags, __u32 error) {
    __u64 now_ns = bpf_ktime_get_ns();
    struct sf_connection *event;

    if (!may_tell(now_ns, 1)) {
        pass_over_refusal(flags, error);
        return 0;
    }
    event = reserve(SF_EVENT_REFUSED, now_ns);
    if (event)
        event->error = error;
    return event;
}

/* The host socket itself is connected by IPv6: to the outside, or to a plain peer. */
static __always_inline bool is_native6(const struct sf_socket *record) {
    return record->flags & SF_IPV6 && record->flags & (SF_OUTSIDE | SF_PLAIN);
}

/* What the record knows: the overlay's view. `real_port` is the host socket's own local port. */
static __always_inline void describe(struct sf_connection *out, const struct sf_socket *record, __be16 real_port) {
    out->owner = record->owner;
    out->flags = record->flags;
    out->setup_us = record->setup_us;
    out->bind_class = record->bind_class;
    out->peer_address = record->peer_address;
    out->peer_port = record->peer_port;
    out->local_port = record->local_port ? record->local_port : real_port;
    out->local_address = record->flags & (SF_LOOPBACK | SF_LOOPBACK6) ? bpf_htonl(0x7f000001) : record->address;
    if (record->flags & (SF_IPV6 | SF_OTHER6)) {
        out->local_address6 = record->address6;
        out->peer_address6 = record->flags & SF_IPV6 ? record->peer_address6 : record->address6;
    }
}

/* Payload only: the kernel's bytes_acked counts SYN and FIN, its bytes_received the FIN. */
static __always_inline void count_bytes(struct sf_connection *out, struct tcp_sock *tcp) {
    bool fin_received = tcp->inet_conn.icsk_inet.sk.__sk_common.skc_flags & (1UL << SOCK_DONE);

    out->bytes_sent = tcp->bytes_sent - tcp->bytes_retrans;
    out->bytes_received = tcp->bytes_received - (fin_received ? 1 : 0);
}

#endif
