/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Which connections are told of when there are more than anybody can look at.
 *
 * A node with thousands of short connections a second would spend more on telling of them than on setting them up. So
 * new connections draw from a token bucket before anything is written, and one that finds it empty is passed over,
 * wholly: what is told of a connection has both its beginning and its end. What is passed over is counted by what a
 * metric tells apart, so that metrics miss nothing, and lists of live connections are read from the kernel.
 */
#ifndef SLIMFAST_THINNING_BPF_H
#define SLIMFAST_THINNING_BPF_H

#include "maps.bpf.h"

#define EVENT_NS (1000000000ull / SF_EVENTS_PER_SECOND)
#define BURST_NS (SF_EVENTS_BURST * EVENT_NS)

/*
 * Takes that many events out of the bucket, which is kept as the time at which it was, or will be, empty: a CPU that is
 * passed over writes nothing that others read. A connection pays for its end with its beginning.
 */
static __always_inline bool may_tell(__u64 now_ns, __u32 event_count) {
    __u32 key = 0;
    __u64 *empty_at_ns = bpf_map_lookup_elem(&thinning, &key);

    if (!empty_at_ns)
        return false;
        /* Again if another CPU was quicker; once is enough for fairness. */
#pragma unroll
    for (int attempt = 0; attempt < 2; attempt++) {
        __u64 before = *(volatile __u64 *)empty_at_ns;
        __u64 from = before + BURST_NS < now_ns ? now_ns - BURST_NS : before;
        __u64 after = from + event_count * EVENT_NS;

        if (after > now_ns)
            return false;
        if (__sync_bool_compare_and_swap(empty_at_ns, before, after))
            return true;
    }
    return false;
}

/* The index of a connection's class. */
static __always_inline __u32 class_of(__u32 flags) {
    return index_of((flags & SF_ACCEPTED ? 2 : 0) + (flags & SF_PRELOAD ? 1 : 0), SF_CLASSES);
}

static __always_inline struct sf_passed_over *counts_of_passed_over(void) {
    __u32 key = 0;

    return bpf_map_lookup_elem(&passed_over, &key);
}

/* Atomic: connect(2) may be interrupted by a packet whose programs count, too. `flags`: of sf_socket. */
static __always_inline void pass_over_beginning(__u32 flags) {
    struct sf_passed_over *counts = counts_of_passed_over();

    if (counts)
        __sync_fetch_and_add(&counts->begun[class_of(flags)], 1);
}

static __always_inline void pass_over_end(__u32 flags) {
    struct sf_passed_over *counts = counts_of_passed_over();

    if (counts)
        __sync_fetch_and_add(&counts->ended[class_of(flags)], 1);
}

/*
 * The last descriptor of a connection is closed, or the socket is connected anew: counts the end of one that was passed
 * over. Once: TCP may end it at the same time.
 */
static __always_inline void end_untold(struct sf_socket *record) {
    __u32 flags;

    if ((record->flags & (SF_ESTABLISHED | SF_TOLD)) != SF_ESTABLISHED)
        return;
    flags = __sync_fetch_and_and(&record->flags, ~SF_ESTABLISHED);
    if (!(flags & SF_ESTABLISHED))
        return;
    count(SF_COUNTER_closed);
    pass_over_end(flags);
}

static __always_inline void pass_over_refusal(__u32 flags, __u32 error) {
    struct sf_passed_over *counts = counts_of_passed_over();

    asm volatile("" : "+r"(error));
    if (counts && error < SF_ERRNOS)
        __sync_fetch_and_add(&counts->refused[class_of(flags) * SF_ERRNOS + error], 1);
}

#endif
