/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Two connections of a container never have the same two names. The host's own 4-tuples see to that for clients that
 * show the host socket's port; those that are bound show a port of ours, and are told apart here.
 */
#ifndef SLIMFAST_TUPLES_BPF_H
#define SLIMFAST_TUPLES_BPF_H

#include "names.bpf.h"

static __always_inline struct sf_tuple_key tuple_of(const struct sf_socket *record) {
    struct sf_tuple_key key = {
        .owner = record->owner,
        .peer_id = record->flags & SF_OUTSIDE ? 0 : record->peer_id,
        .local_port = record->local_port,
        .peer_port = record->peer_port,
        .flags = record->flags & (SF_LOOPBACK | SF_LOOPBACK6 | SF_IPV6 | SF_OTHER6),
    };

    /* By IPv6 both have one address each, but for SF_OTHER6: the ids say it all. Nobody asks for what leads outside by
     * IPv6. */
    if (!(record->flags & SF_IPV6)) {
        key.local_address = source_of(record);
        key.peer_address = record->peer_address;
    }

    return key;
}

static __always_inline bool is_tuple_taken(const struct sf_socket *record) {
    struct sf_tuple_key key = tuple_of(record);
    const struct sf_tuple *tuple = bpf_map_lookup_elem(&tuples, &key);

    return tuple && (tuple->cookie || bpf_ktime_get_ns() < tuple->until_ns);
}

static __always_inline void add_tuple(const struct sf_socket *record, __u64 cookie) {
    struct sf_tuple_key key = tuple_of(record);
    struct sf_tuple tuple = {.cookie = cookie};

    bpf_map_update_elem(&tuples, &key, &tuple, BPF_ANY);
}

static __always_inline void end_tuple(const struct sf_socket *record, __u64 cookie, bool is_waiting) {
    struct sf_tuple_key key = tuple_of(record);
    struct sf_tuple *tuple = bpf_map_lookup_elem(&tuples, &key);

    if (!tuple || tuple->cookie != cookie)
        return;
    if (!is_waiting) {
        bpf_map_delete_elem(&tuples, &key);
        return;
    }
    /* Within loopback Linux gives it out again before the time, once its time stamps have moved on. */
    tuple->until_ns =
        bpf_ktime_get_ns() + (record->flags & (SF_LOOPBACK | SF_LOOPBACK6) ? SF_TUPLE_WAIT_NS : SF_TIME_WAIT_NS);
    tuple->cookie = 0;
}

#endif
