/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* The maps, the node's constants, and the small inline functions that everything else is written with. */
#ifndef SLIMFAST_MAPS_BPF_H
#define SLIMFAST_MAPS_BPF_H

#include <linux/bpf.h>
#include <bpf/bpf_endian.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_core_read.h>
#include "kernel.h"
#include "slimfast.h"

/* ---- the node, set before loading ----------------------------------------------------------------------------------
 */

const volatile __be32 node_address = 0;
const volatile __u16 front_first = 0;
const volatile __u16 front_count = 1;

/* ---- state of the cluster: written by the core only ----------------------------------------------------------------
 */

/* Not preallocated: most nodes hold a small part of what the limit allows. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PEERS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_address_key);
    __type(value, struct sf_peer);
} peers SEC(".maps");

/* The same by IPv6 address. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PEERS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_address6_key);
    __type(value, struct sf_peer);
} peers6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PEERS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_endpoint_key);
    __type(value, struct sf_source6);
} sources6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_ENDPOINTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_endpoint_key);
    __type(value, struct sf_endpoint);
} endpoints SEC(".maps");

/* Arrays, which cost a connection no look-up to speak of. Two, so that what is read only stays in every CPU's cache. */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SF_MAX_ACCOUNTS);
    __type(key, __u32);
    __type(value, struct sf_limits);
} limits SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SF_MAX_ACCOUNTS);
    __type(key, __u32);
    __type(value, struct sf_usage);
} usages SEC(".maps");

/* By underlay address. The node itself is in it: same-node connections are dispatched like all others. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_NODES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __be32);
    __type(value, __u8);
} nodes SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_NETWORKS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u32);
    __type(value, struct sf_network);
} networks SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_HOST_ADDRESSES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __be32);
    __type(value, __u8);
} host_addresses SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_HOST_ADDRESSES);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_address6);
    __type(value, __u8);
} host_addresses6 SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PUBLISHED);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u16);
    __type(value, struct sf_published);
} published SEC(".maps");

/* By VNI: networks that have policies or a default to deny. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_NETWORKS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u32);
    __type(value, struct sf_policy);
} policies SEC(".maps");

/* Endpoints of these networks. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PEERS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_endpoint_key);
    __type(value, __u32);
} identities SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SF_MAX_VERDICTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_verdict_key);
    __type(value, __u8);
} verdicts SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SF_MAX_EGRESS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_egress_key);
    __type(value, __u8);
} egress SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_LPM_TRIE);
    __uint(max_entries, SF_MAX_EGRESS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_egress6_key);
    __type(value, __u8);
} egress6 SEC(".maps");

/* By the cookie of the namespace. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_NETWORKS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u64);
    __type(value, struct sf_router);
} routers SEC(".maps");

/* Value: the endpoint's IPv6 address, or ::. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_ENDPOINTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_wire_key);
    __type(value, struct sf_address6);
} wires SEC(".maps");

/* Devices of the node's namespace that lead to a router: VNI by index. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_NETWORKS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, __u32);
    __type(value, __u32);
} uplinks SEC(".maps");

/* ---- the socket mapping table ---------------------------------------------------------------------------------------
 */

/* BPF_F_CLONE: an accepted socket starts with its listener's record. */
struct {
    __uint(type, BPF_MAP_TYPE_SK_STORAGE);
    __uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
    __type(key, int);
    __type(value, struct sf_socket);
} sockets SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_SOCKHASH);
    __uint(max_entries, SF_MAX_LISTENERS);
    __type(key, struct sf_listener_key);
    __type(value, __u64);
} listeners SEC(".maps");

/* A power of two, at least SF_BIND_CLASSES: an index masked by it is in bounds for the verifier. */
#define CLASS_MASK 7

/* The sockets of one bind class on a port. */
struct sf_port_class {
    /* That have the port: bound, or accepted on it. */
    __u32 bound;
    /* Of these, the ones without SO_REUSEADDR, without SO_REUSEPORT, and listening. */
    __u32 no_reuseaddr;
    __u32 no_reuseport;
    __u32 listening;
    /* Bit n: a listener is in `listeners` with slot n. */
    __u64 slots;
};

/* What is bound to one port of one endpoint. */
struct sf_port {
    struct bpf_spin_lock lock;
    /* Set, under the lock, by whoever is about to delete the entry: its memory may serve another key the next moment.
     */
    __u32 dead;
    struct sf_port_key key;
    /* Of the endpoint; set with the first listener. */
    __u32 account;
    /* Of all classes. */
    __u32 bound;
    struct sf_port_class classes[CLASS_MASK + 1];
};

struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_PORTS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_port_key);
    __type(value, struct sf_port);
} ports SEC(".maps");

/* LRU: nobody is told when a connection's TIME_WAIT ends. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, SF_MAX_WAITING_PORTS);
    __type(key, struct sf_port_key);
    __type(value, struct sf_waiting);
} waiting_ports SEC(".maps");

/* LRU for the same reason. Other connections have the host's own 4-tuple to be told apart by. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, SF_MAX_TUPLES);
    __type(key, struct sf_tuple_key);
    __type(value, struct sf_tuple);
} tuples SEC(".maps");

/* From a SYN's option being written to its being read, on the same node: what the option has no space for. */
struct {
    __uint(type, BPF_MAP_TYPE_LRU_HASH);
    __uint(max_entries, SF_MAX_SOURCES);
    __type(key, struct sf_flow_key);
    __type(value, __be32);
} sources SEC(".maps");

/* Value: how many listeners share the real port. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_LISTENERS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_hidden_key);
    __type(value, __u32);
} hidden_ports SEC(".maps");

/* Value: the host socket's port. */
struct {
    __uint(type, BPF_MAP_TYPE_HASH);
    __uint(max_entries, SF_MAX_CROSSINGS);
    __uint(map_flags, BPF_F_NO_PREALLOC);
    __type(key, struct sf_crossing_key);
    __type(value, __be16);
} crossings SEC(".maps");

/* Filled by SYNs of known nodes only. BPF_F_MMAPABLE has it begin at a page, and so each place at a line of the cache.
 */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, SF_HANDSHAKE_SETS);
    __uint(map_flags, BPF_F_MMAPABLE);
    __type(key, __u32);
    __type(value, struct sf_handshakes);
} handshakes SEC(".maps");

/* ---- what leaves
 * ------------------------------------------------------------------------------------------------------ */

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, SF_LAYOUT > 1 ? SF_COUNTERS_MAX : SF_COUNTERS_MAX - 1);
    __type(key, __u32);
    __type(value, __u64);
} counters SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_RINGBUF);
    __uint(max_entries, SF_EVENTS_BYTES);
} events SEC(".maps");

struct {
    __uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, struct sf_passed_over);
} passed_over SEC(".maps");

/* Up to when the rate of events is used up, by CLOCK_MONOTONIC (thinning.bpf.h). */
struct {
    __uint(type, BPF_MAP_TYPE_ARRAY);
    __uint(max_entries, 1);
    __type(key, __u32);
    __type(value, __u64);
} thinning SEC(".maps");

/* Nothing reads these; they put types that no map mentions into the object's BTF, from which the Rust types are made.
 */
const struct sf_connection sf_unused_connection = {};
const struct sf_option sf_unused_option = {};
const enum sf_event_kind sf_unused_event_kind = 0;
const enum sf_socket_flags sf_unused_socket_flags = 0;
const enum sf_bind_class sf_unused_bind_class = 0;
const enum sf_counter sf_unused_counter = 0;
const enum sf_cut_what sf_unused_cut_what = 0;
const enum sf_alias sf_unused_alias = 0;
const enum sf_default_limit sf_unused_default_limit = 0;
const enum sf_claim_option sf_unused_claim_option = 0;
const struct sf_claim sf_unused_claim = {};

/* Value of bpf_sockopt.optlen: the call has been dealt with. */
#define DEALT_WITH (-1)

/*
 * Functions that are not static are verified by themselves, once, whoever calls them; a static one is verified again
 * for each way that leads to each of its calls. So what many ways lead to is declared with this. Its pointers may be
 * NULL for all that the verifier knows (kernel/bpf/verifier.c,
 * do_check_subprogs; kernel/bpf/btf.c, btf_prepare_func_args).
 */
#define VERIFIED_ONCE __noinline

/* ---- inline functions
 * --------------------------------------------------------------------------------------------------- */

static __always_inline void count(enum sf_counter counter) {
    __u32 key = counter;
    __u64 *value = bpf_map_lookup_elem(&counters, &key);

    if (value)
        *value += 1; /* per CPU, and BPF programs of one CPU do not interrupt each other here */
}

/* An index into an array of `count` elements, a power of two: the empty asm keeps the compiler from hiding its bounds
 * from the verifier. */
static __always_inline __u32 index_of(__u32 value, __u32 count) {
    asm volatile("" : "+r"(value));
    return value & (count - 1);
}

/* The class as an index into the arrays of sf_port. */
static __always_inline __u32 class_index(__u32 class) {
    return index_of(class, CLASS_MASK + 1);
}

/* Every bit of the result depends on every bit of the word (the finalizer of MurmurHash3). */
static __always_inline __u32 mix(__u32 word) {
    word = (word ^ word >> 16) * 0x85ebca6bu;
    word = (word ^ word >> 13) * 0xc2b2ae35u;
    return word ^ word >> 16;
}

static __always_inline __u16 port_of(__be16 port) {
    return bpf_ntohs(port);
}

static __always_inline bool is_front_port(__u16 port) {
    return (__u16)(port - front_first) < front_count;
}

static __always_inline bool is_loopback4(__be32 address) {
    return (bpf_ntohl(address) >> 24) == 127;
}

/* IPv6 addresses: the one place that knows about v4-mapped ones (RFC 4291, 2.5.5.2). */
static __always_inline bool is_v4_mapped(const struct sf_address6 *address) {
    return address->words[0] == 0 && address->words[1] == 0 && address->words[2] == bpf_htonl(0xffff);
}

static __always_inline struct sf_address6 v4_mapped(__be32 address) {
    struct sf_address6 form = {{0, 0, bpf_htonl(0xffff), address}};

    return form;
}

static __always_inline bool is_any6(const struct sf_address6 *address) {
    return (address->words[0] | address->words[1] | address->words[2] | address->words[3]) == 0;
}

static __always_inline bool is_loopback6(const struct sf_address6 *address) {
    return (address->words[0] | address->words[1] | address->words[2]) == 0 && address->words[3] == bpf_htonl(1);
}

static __always_inline bool is_equal6(const struct sf_address6 *one, const struct sf_address6 *other) {
    return ((one->words[0] ^ other->words[0]) | (one->words[1] ^ other->words[1]) | (one->words[2] ^ other->words[2]) |
            (one->words[3] ^ other->words[3])) == 0;
}

static __always_inline __be32 aliases_of(const struct sf_network *network) {
#if SF_LAYOUT > 1
    return network->aliases;
#else
    return 0;
#endif
}

static __always_inline bool is_inside6(const struct sf_address6 *address, const struct sf_network *network) {
    struct sf_address6 masked;

    for (int i = 0; i < 4; i++)
        masked.words[i] = address->words[i] & network->mask6.words[i];
    return is_equal6(&masked, &network->prefix6);
}

static __always_inline struct sf_address6 read_address6(const struct bpf_sock_addr *ctx) {
    struct sf_address6 address = {{ctx->user_ip6[0], ctx->user_ip6[1], ctx->user_ip6[2], ctx->user_ip6[3]}};

    return address;
}

/* Word by word: the verifier wants each store to the context as a store of one field. */
static __always_inline void write_words6(struct bpf_sock_addr *ctx, __u32 a, __u32 b, __u32 c, __u32 d) {
    *(volatile __u32 *)&ctx->user_ip6[0] = a;
    *(volatile __u32 *)&ctx->user_ip6[1] = b;
    *(volatile __u32 *)&ctx->user_ip6[2] = c;
    *(volatile __u32 *)&ctx->user_ip6[3] = d;
}

static __always_inline void write_v4_mapped(struct bpf_sock_addr *ctx, __be32 address) {
    write_words6(ctx, 0, 0, bpf_htonl(0xffff), address);
}

static __always_inline void write_address6(struct bpf_sock_addr *ctx, const struct sf_address6 *address) {
    write_words6(ctx, address->words[0], address->words[1], address->words[2], address->words[3]);
}

static __always_inline void write_loopback6(struct bpf_sock_addr *ctx) {
    write_words6(ctx, 0, 0, 0, bpf_htonl(1));
}

#endif
