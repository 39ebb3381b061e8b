/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Who has which port of which endpoint: sockets that are bound, sockets that listen, accepted ones, and connections in
 * TIME_WAIT. Conflicts are decided by Linux's own rules (net/ipv4/inet_connection_sock.c, inet_bind_conflict) from
 * counts under a lock.
 *
 * 127.0.0.1 is counted like the endpoint's own address. A socket on another address of 127.0.0.0/8 is counted twice:
 * in an entry of that address, and as SF_BIND_OTHER_LOOPBACK4 in the port's common entry, for what covers all
 * addresses.
 */
#ifndef SLIMFAST_PORTS_BPF_H
#define SLIMFAST_PORTS_BPF_H

#include "maps.bpf.h"

#define LOOPBACK4 0x7f000001
#define BIT(n)    (1 << (n))

/* classes_overlapping[c]: bit d is set if sockets of class c and of class d on one port stand in each other's way. */
static const __u8 classes_overlapping[CLASS_MASK + 1] = {
    [SF_BIND_ANY4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_ADDRESS4) | BIT(SF_BIND_LOOPBACK4) | BIT(SF_BIND_DUAL) |
                     BIT(SF_BIND_OTHER_LOOPBACK4),
    [SF_BIND_ADDRESS4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_ADDRESS4) | BIT(SF_BIND_DUAL),
    [SF_BIND_LOOPBACK4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_LOOPBACK4) | BIT(SF_BIND_DUAL),
    [SF_BIND_DUAL] = BIT(SF_BIND_CLASSES) - 1,
    [SF_BIND_ANY6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_ADDRESS6) | BIT(SF_BIND_LOOPBACK6),
    [SF_BIND_ADDRESS6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_ADDRESS6),
    [SF_BIND_LOOPBACK6] = BIT(SF_BIND_DUAL) | BIT(SF_BIND_ANY6) | BIT(SF_BIND_LOOPBACK6),
    [SF_BIND_OTHER_LOOPBACK4] = BIT(SF_BIND_ANY4) | BIT(SF_BIND_DUAL),
};

/* Whether a socket with these flags may not be beside what is there. To be called with the lock held. */
static __always_inline bool conflicts(const struct sf_port *port, __u32 class, __u32 flags) {
    __u32 overlapping = classes_overlapping[class_index(class)];

#pragma unroll
    for (int i = 0; i < SF_BIND_CLASSES; i++) {
        const struct sf_port_class *other = &port->classes[i];

        if (!(overlapping & BIT(i)) || !other->bound)
            continue;
        if ((flags & SF_REUSEADDR) && !other->no_reuseaddr && !other->listening)
            continue;
        if ((flags & SF_REUSEPORT) && !other->no_reuseport)
            continue;
        return true;
    }
    return false;
}

/* Whether connections in TIME_WAIT stand in the way. */
static __always_inline bool must_wait(const struct sf_port_key *key, __u32 class, __u32 flags) {
    const struct sf_waiting *waiting = bpf_map_lookup_elem(&waiting_ports, key);
    __u64 now;

    if (!waiting || !(classes_overlapping[class_index(class)] & waiting->classes))
        return false;
    now = bpf_ktime_get_ns();
    return now < waiting->until_ns && !((flags & SF_REUSEADDR) && now >= waiting->no_reuseaddr_until_ns) &&
           !((flags & SF_REUSEPORT) && now >= waiting->no_reuseport_until_ns);
}

/* A connection that had the port goes to TIME_WAIT. */
VERIFIED_ONCE int start_waiting(struct sf_port_key *key, __u32 class, __u32 flags) {
    __u64 until_ns = bpf_ktime_get_ns() + SF_TIME_WAIT_NS;
    struct sf_waiting *waiting;

    if (!key)
        return 0;
    waiting = bpf_map_lookup_elem(&waiting_ports, key);
    if (waiting) {
        /* Connections of one port end at the same time: whichever is last here is late by no more than that. */
        waiting->classes |= BIT(class & CLASS_MASK);
        waiting->until_ns = until_ns;
        if (!(flags & SF_REUSEADDR))
            waiting->no_reuseaddr_until_ns = until_ns;
        if (!(flags & SF_REUSEPORT))
            waiting->no_reuseport_until_ns = until_ns;
    } else {
        struct sf_waiting fresh = {
            .until_ns = until_ns,
            .no_reuseaddr_until_ns = flags & SF_REUSEADDR ? 0 : until_ns,
            .no_reuseport_until_ns = flags & SF_REUSEPORT ? 0 : until_ns,
            .classes = BIT(class & CLASS_MASK),
        };

        bpf_map_update_elem(&waiting_ports, key, &fresh, BPF_ANY);
    }
    return 0;
}

static __always_inline void add(struct sf_port *port, __u32 class, __u32 flags) {
    struct sf_port_class *own = &port->classes[class_index(class)];

    port->bound++;
    own->bound++;
    if (!(flags & SF_REUSEADDR))
        own->no_reuseaddr++;
    if (!(flags & SF_REUSEPORT))
        own->no_reuseport++;
}

enum taking {
    /* If the rules allow it. */
    TAKE_BY_RULE,
    /* Only if nothing at all is on the port. */
    TAKE_FREE,
    /* In any case: the kernel has decided already. */
    TAKE_ANYWAY,
};

enum taken { TAKEN_OK, TAKEN_BUSY, TAKEN_RETRY };

/* The memory of an entry may serve another key. To be called with the lock held. */
static __always_inline bool is_entry_of(const struct sf_port *port, const struct sf_port_key *key) {
    return !port->dead && port->key.port == key->port && port->key.endpoint.id == key->endpoint.id &&
           port->key.endpoint.vni == key->endpoint.vni && port->key.loopback == key->loopback;
}

static __always_inline enum taken take_once(const struct sf_port_key *key, __u32 class, __u32 flags,
                                            enum taking taking) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);
    enum taken result;

    if (!port) {
        struct sf_port fresh = {.key = *key};

        /* Whoever was quicker has put the same there. */
        bpf_map_update_elem(&ports, key, &fresh, BPF_NOEXIST);
        port = bpf_map_lookup_elem(&ports, key);
        if (!port)
            return TAKEN_RETRY;
    }
    bpf_spin_lock(&port->lock);
    if (!is_entry_of(port, key)) {
        result = TAKEN_RETRY;
    } else if (taking == TAKE_FREE ? port->bound : taking == TAKE_BY_RULE && conflicts(port, class, flags)) {
        result = TAKEN_BUSY;
    } else {
        add(port, class, flags);
        result = TAKEN_OK;
    }
    bpf_spin_unlock(&port->lock);
    return result;
}

/* Counts a socket in an entry; `taking` is an enum taking. */
VERIFIED_ONCE int take_entry(struct sf_port_key *key, __u32 class, __u32 flags, __u32 taking) {
    if (!key || class >= SF_BIND_CLASSES)
        return TAKEN_BUSY;
    if (taking != TAKE_ANYWAY && must_wait(key, class, taking == TAKE_FREE ? 0 : flags))
        return TAKEN_BUSY;
    for (int attempt = 0; attempt < 4; attempt++) {
        enum taken result = take_once(key, class, flags, taking);

        if (result != TAKEN_RETRY)
            return result;
    }
    return TAKEN_BUSY;
}

/* Takes a socket out of an entry again, and deletes it with the last one. `slot`: of a listener that has one. */
VERIFIED_ONCE int leave_entry(struct sf_port_key *key, __u32 class, __u32 flags, __u32 slot) {
    struct sf_port *port;
    bool last = false;

    if (!key)
        return 0;
    port = bpf_map_lookup_elem(&ports, key);
    if (!port)
        return 0;
    bpf_spin_lock(&port->lock);
    if (is_entry_of(port, key)) {
        struct sf_port_class *own = &port->classes[class_index(class)];

        own->bound--;
        if (!(flags & SF_REUSEADDR))
            own->no_reuseaddr--;
        if (!(flags & SF_REUSEPORT))
            own->no_reuseport--;
        if (flags & SF_LISTENING) {
            own->listening--;
            own->slots &= ~(1ULL << (slot & 63));
        }
        if (!--port->bound) {
            port->dead = 1;
            last = true;
        }
    }
    bpf_spin_unlock(&port->lock);
    if (last)
        bpf_map_delete_elem(&ports, key);
    return 0;
}

/* ---- a socket's entries -------------------------------------------------------------------------------------------
 */

/* The class in the port's common entry, and the address of the other entry if there is one. */
static __always_inline __u32 common_class(__u32 class, __be32 address, __be32 *loopback) {
    bool is_other = class == SF_BIND_LOOPBACK4 && address != bpf_htonl(LOOPBACK4);

    *loopback = is_other ? address : 0;
    return is_other ? SF_BIND_OTHER_LOOPBACK4 : class;
}

static __always_inline struct sf_port_key port_key_of(const struct sf_socket *record) {
    struct sf_port_key key = {.endpoint = record->owner, .port = port_of(record->local_port)};

    return key;
}

/* Counts a socket on the port of `key`; `address`: of SF_BIND_LOOPBACK4. */
static __always_inline int take_port(struct sf_port_key *key, __u32 class, __be32 address, __u32 flags,
                                     enum taking taking) {
    __be32 loopback;
    __u32 common = common_class(class, address, &loopback);
    int taken = take_entry(key, common, flags, taking);

    if (taken != TAKEN_OK || !loopback)
        return taken;
    key->loopback = loopback;
    taken = take_entry(key, class, flags, taking);
    key->loopback = 0;
    if (taken != TAKEN_OK)
        leave_entry(key, common, flags, 0);
    return taken;
}

/*
 * Takes a socket off its port again. Idempotent through the record's flags: close(2) of a connection may come at the
 * same time as its reset.
 */
static __always_inline void release_port(struct sf_socket *record) {
    struct sf_port_key key = port_key_of(record);
    __u32 flags = __sync_fetch_and_and(&record->flags, ~(SF_BOUND | SF_LISTENING));
    __u32 class = record->bind_class;
    __be32 loopback;
    __u32 common = common_class(class, record->loopback_address, &loopback);

    if (!(flags & SF_BOUND))
        return;
    leave_entry(&key, common, flags, record->slot);
    if (loopback) {
        key.loopback = loopback;
        leave_entry(&key, class, flags, record->slot);
    }
}

/* The connection goes to TIME_WAIT, and its port with it. */
static __always_inline void keep_port_waiting(const struct sf_socket *record) {
    struct sf_port_key key = port_key_of(record);
    __u32 class = record->bind_class;
    __be32 loopback;
    __u32 common = common_class(class, record->loopback_address, &loopback);

    if (!(record->flags & SF_BOUND))
        return;
    start_waiting(&key, common, record->flags);
    if (loopback) {
        key.loopback = loopback;
        start_waiting(&key, class, record->flags);
    }
}

/* Takes slot `slot` from a listener in one entry. */
static __always_inline void leave_slot(const struct sf_port_key *key, __u32 class, __u32 slot) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);

    class = class_index(class);
    if (!port)
        return;
    bpf_spin_lock(&port->lock);
    if (is_entry_of(port, key)) {
        port->classes[class].listening--;
        port->classes[class].slots &= ~(1ULL << (slot & 63));
    }
    bpf_spin_unlock(&port->lock);
}

/* A listener listens no longer, and keeps its port. */
static __always_inline void stop_listening(struct sf_socket *record) {
    struct sf_port_key key = port_key_of(record);
    __be32 loopback;
    __u32 common = common_class(record->bind_class, record->loopback_address, &loopback);

    if (!(__sync_fetch_and_and(&record->flags, ~SF_LISTENING) & SF_LISTENING))
        return;
    leave_slot(&key, common, record->slot);
    if (loopback) {
        key.loopback = loopback;
        leave_slot(&key, record->bind_class, record->slot);
    }
}

/* Gives a listener a slot in an entry; -1 if SF_MAX_REUSEPORT are taken. */
static __always_inline int take_slot(const struct sf_port_key *key, __u32 class, __u32 account) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);
    int slot = -1;

    if (!port)
        return -1;
    class = class_index(class);
    bpf_spin_lock(&port->lock);
    if (is_entry_of(port, key)) {
        __u64 taken = port->classes[class].slots;

        port->account = account;
        for (int i = 0; i < SF_MAX_REUSEPORT; i++) {
            if (!(taken & (1ULL << i))) {
                slot = i;
                port->classes[class].slots = taken | (1ULL << i);
                port->classes[class].listening++;
                break;
            }
        }
    }
    bpf_spin_unlock(&port->lock);
    return slot;
}

/* ---- changes of a socket that has a port ---------------------------------------------------------------------------
 */

/* One entry learns that a socket in it has, or has no longer, one of SF_REUSEADDR and SF_REUSEPORT. */
static __always_inline void change_entry(const struct sf_port_key *key, __u32 class, __u32 flag, bool is_set) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);
    __u32 step = is_set ? -1 : 1;

    class = class_index(class);
    if (!port)
        return;
    bpf_spin_lock(&port->lock);
    if (is_entry_of(port, key)) {
        if (flag == SF_REUSEADDR)
            port->classes[class].no_reuseaddr += step;
        else
            port->classes[class].no_reuseport += step;
    }
    bpf_spin_unlock(&port->lock);
}

/* setsockopt(2) of SO_REUSEADDR or SO_REUSEPORT, at any time. */
static __always_inline void change_reuse(struct sf_socket *record, __u32 flag, bool is_set) {
    struct sf_port_key key = port_key_of(record);
    __be32 loopback;
    __u32 common = common_class(record->bind_class, record->loopback_address, &loopback);
    __u32 before;

    /* Linux remembers with the port that it was shared (inet_bind_bucket.fastreuseport). */
    if (flag == SF_REUSEPORT && !is_set && record->flags & SF_BOUND)
        return;
    before = is_set ? __sync_fetch_and_or(&record->flags, flag) : __sync_fetch_and_and(&record->flags, ~flag);
    if (!(before & SF_BOUND) || !(before & flag) == !is_set)
        return;
    change_entry(&key, common, flag, is_set);
    if (loopback) {
        key.loopback = loopback;
        change_entry(&key, record->bind_class, flag, is_set);
    }
}

/* A listener on another loopback address stands in the way of what covers all addresses. */
static __always_inline void count_listening(const struct sf_port_key *key, __u32 class, __u32 account) {
    struct sf_port *port = bpf_map_lookup_elem(&ports, key);

    class = class_index(class);
    if (!port)
        return;
    bpf_spin_lock(&port->lock);
    if (is_entry_of(port, key)) {
        port->account = account;
        port->classes[class].listening++;
    }
    bpf_spin_unlock(&port->lock);
}

#endif
