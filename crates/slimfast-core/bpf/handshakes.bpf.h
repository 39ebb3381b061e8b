/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * What SYNs' options said, from the hook that sees the packet to the end of the handshake, when the accepted socket
 * takes it over.
 *
 * A set-associative table, as a processor's cache is one: the 4-tuple says which set, and a set has a few places. Every
 * inbound connection writes, reads and takes an entry, which in a hash map are three calls and three locks.
 *
 * Most of the time few handshakes are under way, and a table that is large enough for many would have each of them wait
 * for memory that nobody has touched for long. So there are near sets, whose places are used while they are free, and
 * far ones for what has no place there. A full far set gives away its oldest place: what is not there any more when the
 * handshake ends is answered with RST, so a flood of SYNs from nodes costs some of the handshakes that are under way,
 * and no memory. Places whose handshake never ends are free again after SF_HANDSHAKE_JIFFIES, and that long after the
 * last one nobody looks beyond its near set, which remembers when that was.
 *
 * A key has one place at most: what a SYN finds of an earlier one is overwritten, or removed first if it is far.
 *
 * A place is owned by whoever has made its stamp odd, and is whole as long as its stamp is the same even number before
 * and after it was read (a seqlock, Documentation/locking/seqlock.rst). Atomic operations are what orders memory here:
 * BPF has no other barriers that all of our kernels know.
 */
#ifndef SLIMFAST_HANDSHAKES_BPF_H
#define SLIMFAST_HANDSHAKES_BPF_H

#include "maps.bpf.h"

#define STAMP_IS_WRITTEN 1
/* The lower bits count, so that no place has the same stamp twice; the upper ones are the time. */
#define STAMP_COUNT_BITS 16
#define STAMP_COUNT_MASK ((1ull << STAMP_COUNT_BITS) - 2)
/* How often a SYN looks for a place, if other CPUs are quicker. */
#define PLACE_TRIES 3

static __always_inline __u32 hash_of(const struct sf_flow_key *key) {
    /* Clients count their ports up by two, so that the low bits of a port say little. */
    return mix(key->source ^ key->destination ^ mix((__u32)key->source_port << 16 | key->destination_port));
}

static __always_inline struct sf_handshakes *set_at(__u32 index) {
    return bpf_map_lookup_elem(&handshakes, &index);
}

static __always_inline struct sf_handshakes *near_set(__u32 hash) {
    return set_at(hash & (SF_NEAR_SETS - 1));
}

static __always_inline struct sf_handshakes *far_set(__u32 hash) {
    __u32 set = hash & (SF_HANDSHAKE_SETS - 1);

    return set_at(set < SF_NEAR_SETS ? set + SF_NEAR_SETS : set);
}

/* Whether what had no place in this near set may be in a far one. */
static __always_inline bool is_far_in_use(const struct sf_handshakes *near) {
    __u64 last = *(const volatile __u64 *)&near->far_jiffies;

    return last && bpf_jiffies64() - last < SF_HANDSHAKE_JIFFIES;
}

static __always_inline void use_far(struct sf_handshakes *near) {
    /* Atomic, and so seen before what is put there. */
    __sync_lock_test_and_set(&near->far_jiffies, bpf_jiffies64());
}

static __always_inline __u64 stamp_of(const struct sf_handshakes *set, int place) {
    return *(const volatile __u64 *)&set->stamps[place];
}

static __always_inline bool is_of(const struct sf_handshakes *set, int place, const struct sf_flow_key *key,
                                  __u32 hash) {
    const struct sf_flow_key *other = &set->places[place].key;

    return set->tags[place] == hash && other->source == key->source && other->source_port == key->source_port &&
           other->destination_port == key->destination_port && other->destination == key->destination;
}

/* The place that the SYN of `key` has in its set, and its stamp; -1 if it has none. */
static __always_inline int place_of(const struct sf_handshakes *set, const struct sf_flow_key *key, __u32 hash,
                                    __u64 *stamp) {
#pragma unroll
    for (int i = 0; i < SF_HANDSHAKE_WAYS; i++) {
        *stamp = stamp_of(set, i);
        if (*stamp && !(*stamp & STAMP_IS_WRITTEN) && is_of(set, i, key, hash))
            return i;
    }
    return -1;
}

/* What the SYN of `key` said according to one set, and frees its place if it is to be taken. */
static __always_inline bool read_from(struct sf_handshakes *set, const struct sf_flow_key *key, __u32 hash,
                                      struct sf_flow *flow, bool is_taken) {
    __u64 stamp, now;
    int place = place_of(set, key, hash, &stamp);

    if (place < 0)
        return false;
    place = index_of(place, SF_HANDSHAKE_WAYS);
    *flow = set->places[place].flow;
    /* Both are a barrier between reading the place and its stamp once more. */
    if (is_taken)
        now = __sync_val_compare_and_swap(&set->stamps[place], stamp, 0);
    else
        now = __sync_fetch_and_add(&set->stamps[place], 0);
    return now == stamp;
}

/* The same of the far set. */
VERIFIED_ONCE int read_far(const struct sf_flow_key *key, __u32 hash, struct sf_flow *flow, bool is_taken) {
    struct sf_handshakes *far = far_set(hash);

    return key && flow && far && read_from(far, key, hash, flow, is_taken);
}

/* Whether the place with this stamp can be given away without anybody missing it. */
static __always_inline bool is_free(__u64 stamp, __u64 now) {
    /* Signed: a stamp of this jiffy, whose lower bits count, is later than now. */
    return !stamp || (__s64)(now - stamp) > (__s64)SF_HANDSHAKE_JIFFIES << STAMP_COUNT_BITS;
}

/*
 * Records what the SYN of `key` says, in the place of what an earlier one said. False if there is no place for it: of a
 * far set the oldest one is.
 */
static __always_inline bool put_into(struct sf_handshakes *set, const struct sf_flow_key *key,
                                     const struct sf_flow *flow, __u32 hash, bool is_near) {
    __u64 now = bpf_jiffies64() << STAMP_COUNT_BITS;

#pragma nounroll
    for (int attempt = 0; attempt < PLACE_TRIES; attempt++) {
        __u64 before = ~0ull, after;
        bool is_own = false;
        int place = 0;

#pragma unroll
        for (int i = 0; i < SF_HANDSHAKE_WAYS; i++) {
            __u64 stamp = stamp_of(set, i);

            if (stamp & STAMP_IS_WRITTEN)
                continue;
            if (stamp && is_of(set, i, key, hash)) {
                place = i;
                before = stamp;
                is_own = true;
                break;
            }
            /* Free ones, whose stamp is 0, are the oldest. */
            if (stamp < before) {
                place = i;
                before = stamp;
            }
        }
        if (before == ~0ull || (is_near && !is_own && !is_free(before, now)))
            continue;
        place = index_of(place, SF_HANDSHAKE_WAYS);
        after = now | ((before + 2) & STAMP_COUNT_MASK);
        if (__sync_val_compare_and_swap(&set->stamps[place], before, after | STAMP_IS_WRITTEN) != before)
            continue;
        set->tags[place] = hash;
        set->places[place].key = *key;
        set->places[place].flow = *flow;
        __sync_lock_test_and_set(&set->stamps[place], after);
        return true;
    }
    return false;
}

VERIFIED_ONCE int put_far(const struct sf_flow_key *key, const struct sf_flow *flow, __u32 hash) {
    struct sf_handshakes *far = far_set(hash);

    return key && flow && far && put_into(far, key, flow, hash, false);
}

/* Records what the SYN of `key` says, in the place of what an earlier one said. */
static __always_inline void put_handshake(const struct sf_flow_key *key, const struct sf_flow *flow) {
    __u32 hash = hash_of(key);
    struct sf_handshakes *near = near_set(hash);
    struct sf_flow earlier;

    if (!near)
        return;
    if (is_far_in_use(near))
        read_far(key, hash, &earlier, true);
    if (put_into(near, key, flow, hash, true))
        return;
    use_far(near);
    put_far(key, flow, hash);
}

/* What the SYN of `key` said, and frees its place if it is to be taken; false if there is nothing of it. */
static __always_inline bool read_handshake(const struct sf_flow_key *key, struct sf_flow *flow, bool is_taken) {
    __u32 hash = hash_of(key);
    struct sf_handshakes *near = near_set(hash);

    if (!near)
        return false;
    return read_from(near, key, hash, flow, is_taken) || (is_far_in_use(near) && read_far(key, hash, flow, is_taken));
}

static __always_inline bool get_handshake(const struct sf_flow_key *key, struct sf_flow *flow) {
    return read_handshake(key, flow, false);
}

static __always_inline bool take_handshake(const struct sf_flow_key *key, struct sf_flow *flow) {
    return read_handshake(key, flow, true);
}

/* Leaves nothing of an earlier SYN behind. */
VERIFIED_ONCE int drop_handshake(const struct sf_flow_key *key) {
    struct sf_flow flow;

    if (!key)
        return 0;
    take_handshake(key, &flow);
    return 0;
}

#endif
