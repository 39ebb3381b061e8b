/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Every record that crosses between the BPF programs, the wire and the core, and every limit of the BPF side.
 *
 * This is their only definition: the Rust types are generated from the BTF of the compiled programs. Byte order is part
 * of each field's type: __be16 and __be32 are network order, __u16 and __u32 host order. Padding is spelled out, so
 * that a record can be a map key.
 */
#ifndef SLIMFAST_H
#define SLIMFAST_H

#include <linux/types.h>

/* ---- limits ------------------------------------------------------------------------------------------------------ */

/* Endpoints of all networks that the node knows of. */
#define SF_MAX_PEERS 262144
/* Endpoints that are attached on the node. */
#define SF_MAX_ENDPOINTS 4096
#define SF_MAX_NODES     16384
#define SF_MAX_NETWORKS  4096
/* Addresses of the host itself, and of endpoints that it has a route to: containers may not connect to them. */
#define SF_MAX_HOST_ADDRESSES 8192
/* SYNs that wait for the third packet of their handshake, by a hash of their 4-tuple: sets, a power of two, and places
 * in each. 1 MiB. */
#define SF_HANDSHAKE_SETS 4096
#define SF_HANDSHAKE_WAYS 4
/* The first of the sets, which stay in the cache: a SYN goes to one of the others only if there is no free place in its
 * one of these. A power of two. */
#define SF_NEAR_SETS 64
/* Jiffies after which a SYN's entry means nothing any more: five minutes or more, longer than Linux sends SYN+ACKs. */
#define SF_HANDSHAKE_JIFFIES 300000
/* Ports that connections in TIME_WAIT keep; least recently used go first. */
#define SF_MAX_WAITING_PORTS 16384
/* Connections of bound sockets, alive or in TIME_WAIT, and clients whose loopback address is an unusual one: the same.
 */
#define SF_MAX_TUPLES  16384
#define SF_MAX_SOURCES 1024
/* Linux's TCP_TIMEWAIT_LEN, and after how long a connection within lo may have its 4-tuple again (tcp_tw_reuse, 2). */
#define SF_TIME_WAIT_NS  60000000000ULL
#define SF_TUPLE_WAIT_NS 1000000000ULL
/* (endpoint, port) pairs that are bound. */
#define SF_MAX_PORTS 65536
/* Listening sockets. */
#define SF_MAX_LISTENERS 65536
#define SF_MAX_PUBLISHED 4096
/* Verdicts of all networks: one for each prefix of ports of each pair of identities that a policy speaks of. */
#define SF_MAX_VERDICTS 262144
/* Egress ranges of all networks. */
#define SF_MAX_EGRESS 65536
/* Connections from here to plain endpoints. */
#define SF_MAX_CROSSINGS 65536
/* Sockets that share one (address, port) by SO_REUSEPORT: one bit each in sf_port.slots. */
#define SF_MAX_REUSEPORT 64
/* User namespaces within each other (include/linux/user_namespace.h: 32), and the first. */
#define SF_MAX_USER_NAMESPACES 33
/* Bytes of the ring of events; a power of two, and small enough to stay in the cache: each connection writes twice. */
#define SF_EVENTS_BYTES (1 << 18)
/* Unread bytes in the ring from which the reader is woken; below that it comes by itself. */
#define SF_EVENTS_WAKE_BYTES (1 << 16)
/*
 * Connections that are told of one by one: events per second in the long run, and in a burst after a quiet time. An
 * event costs its readers some fifty times what it costs here: it becomes an object, a message, a row in a table. See
 * thinning.bpf.h.
 */
#define SF_EVENTS_PER_SECOND 500
#define SF_EVENTS_BURST      1000
/* Ports tried before bind(port 0) gives up with EADDRINUSE. */
#define SF_EPHEMERAL_TRIES 32
/* The range that bind(port 0) takes from: net.ipv4.ip_local_port_range as Linux sets it. */
#define SF_EPHEMERAL_FIRST 32768
#define SF_EPHEMERAL_COUNT 28232
/* Accounts of endpoints: those that are attached, and as many that are not any more and still have sockets. */
#define SF_MAX_ACCOUNTS 8192

/* What one endpoint may have, unless the node is told otherwise. */
enum sf_default_limit {
    /* TCP sockets: created, accepted, and closed ones that still have something to send. */
    SF_DEFAULT_SOCKETS = 262144,
    SF_DEFAULT_LISTENERS = 4096,
    /* connect(2) calls, which come to as many SYNs; as many as in one second may come at once. */
    SF_DEFAULT_CONNECTS_PER_S = 50000,
};

/* ---- the option in a SYN (RFC 6994: shared use of experimental options) -------------------------------------------
 */

#define SF_OPTION_KIND    254
#define SF_OPTION_EXID    0x5346
#define SF_OPTION_VERSION 1
/* The same between IPv6 addresses, for which there is no space: in the place of the source's is its endpoint's id. */
#define SF_OPTION_VERSION6 2

/* The address that the client asked for was a loopback address of its container. */
#define SF_OPTION_LOOPBACK 0x1
/* The same, and it was ::1. */
#define SF_OPTION_LOOPBACK6 0x2
/* Of a flow, never on the wire: the option is of SF_OPTION_VERSION6. */
#define SF_OPTION_IPV6 0x4
/* The client is bound to another address of its container than the one it would have by itself. By IPv4 it is in
 * `sources`; by IPv6 there are two, ::1 and the endpoint's, and it is the one that it does not connect to. */
#define SF_OPTION_SOURCE 0x8

/*
 * Always the last 20 bytes of the SYN's header: Linux writes its own options (MSS, SACK, timestamps, window scale: at
 * most 20 bytes) before it. It identifies, and authenticates nothing.
 */
struct sf_option {
    __u8 kind;
    __u8 length;
    __be16 exid;
    /* Version in the upper four bits, SF_OPTION_* flags in the lower. */
    __u8 version_flags;
    /* Network id, most significant byte first. */
    __u8 vni[3];
    /* The destination endpoint. Ids are never reused, so a stale sender cannot reach an address's next owner. */
    __be32 destination_id;
    /* Overlay address of the client, as it sees it itself; with SF_OPTION_LOOPBACK the address that it connects to,
     * since both ends are one endpoint's. With SF_OPTION_VERSION6 the id of its endpoint. */
    __be32 source_address;
    __be16 destination_port;
    /* The client's port, as it sees it itself. */
    __be16 source_port;
} __attribute__((packed));

/* ---- state of the cluster, written by the core ---------------------------------------------------------------------
 */

struct sf_endpoint_key {
    __u32 vni;
    __u32 id;
};

/* An IPv6 address as the kernel keeps it. */
struct sf_address6 {
    __be32 words[4];
};

/* Its overlay addresses; 0 and :: where it has none. */
struct sf_endpoint {
    __be32 address;
    /* Index in `limits` and `usages`. */
    __u32 account;
    struct sf_address6 address6;
};

/*
 * ---- limits (limits.bpf.h): an account for each endpoint of the node. It is given to another one only when the last
 * socket of a detached endpoint is gone.
 * ----------
 */

/* Written by the core only. */
struct sf_limits {
    struct sf_endpoint_key owner;
    /* 0: its processes and its dispenser may still hold sockets, but its address is not theirs any more. */
    __u32 is_attached;
    __u32 sockets;
    __u32 listeners;
    /* Between two connect(2), if they come evenly. */
    __u32 connect_interval_ns;
};

/* Written by the programs only, while the endpoint has sockets. */
struct sf_usage {
    /* CLOCK_MONOTONIC: when the connections that were let through are used up at the rate that is allowed. */
    __u64 connect_due_ns;
    __u32 sockets;
    __u32 listeners;
    /* What the limits stopped. */
    __u64 refused_sockets;
    __u64 refused_listeners;
    __u64 refused_connects;
    __u64 refused_inbound;
    /* Two accounts do not share a line of the cache. */
    __u64 pad[2];
};

/* setsockopt(2) by which the core gives an endpoint a fresh socket of the node's cgroup that has no record. */
enum sf_claim_option {
    SF_CLAIM_LEVEL = 0x5346,
    SF_CLAIM = 1,
};

struct sf_claim {
    struct sf_endpoint_key owner;
    /* 0 or SF_PRELOAD. */
    __u32 flags;
};

struct sf_address_key {
    __u32 vni;
    __be32 address;
};

struct sf_address6_key {
    __u32 vni;
    struct sf_address6 address;
};

/* A node's front ports: first .. first + count - 1. count 0: a plain endpoint, whose sockets are its own namespace's.
 */
struct sf_node {
    __u16 front_first;
    __u16 front_count;
};

/* An endpoint anywhere in the cluster. */
struct sf_peer {
    __u32 id;
    /* Underlay address of its node, a key of `nodes`. */
    __be32 node;
    /* That node's, so that connect(2) needs one look-up only. */
    struct sf_node ports;
};

/* An endpoint anywhere that has an IPv6 address, by its id: who it is that a SYN comes from. */
struct sf_source6 {
    struct sf_address6 address;
    /* Underlay address of its node. */
    __be32 node;
};

/* Raised when the layout of a pinned map changes (src/datapath/layouts.rs). Tests compile the one before, too. */
#ifndef SF_LAYOUT
#define SF_LAYOUT 2
#endif

struct sf_network {
    /* Both 0: it has no IPv4 addresses. */
    __be32 prefix;
    __be32 mask;
    /* Both ::, the same of IPv6. */
    struct sf_address6 prefix6;
    struct sf_address6 mask6;
    /* First address of the block that stands for the network in the node's namespace (plain.bpf.h); 0: it has none
     * here. */
#if SF_LAYOUT > 1
    __be32 aliases;
#endif
};

/*
 * ---- plain peers: what stands for overlay addresses in the node's namespace, where prefixes must not overlap
 * ----------
 *
 * Never on a wire. A network with endpoints on the node has a block of SF_ALIAS_PEER as large as its prefix, in which a
 * peer has the place that it has in the prefix, and the same block with SF_ALIAS_OWN set for the node's own endpoints.
 * The first address of a block, which no endpoint has, stands for the node itself among the peers, and is the source of
 * what the node's own endpoints send to plain ones. Host order.
 */
enum sf_alias {
    SF_ALIAS_PEER = 0xf0000000u,
    SF_ALIAS_OWN = 0x04000000u,
    /* The bits that tell the two kinds apart from each other and from everything else. */
    SF_ALIAS_MASK = 0xfc000000u,
    /* What a plain container, or a listener, sees of the node's own processes: 169.254.1.2. */
    SF_NODE_ALIAS = 0xa9fe0102u,
    /*
     * By IPv6 aliases are in 100::/64, where packets are discarded everywhere else (RFC 6666), and made from ids: the
     * third word is SF_ALIAS_PEER, and SF_ALIAS_OWN, above the VNI, the last one the endpoint's id, 0 for the node.
     * What containers see of the node's own processes is SF_NODE_ALIAS there: 100::a9fe:102.
     */
    SF_ALIAS6_PREFIX = 0x01000000u,
};

/* A network's router namespace, by its cookie. */
struct sf_router {
    __u32 vni;
    /* Id of the node's namespace there. */
    __u32 node_nsid;
    /* Index there of the device that leads to the node's namespace. */
    __u32 uplink;
};

/* The outer end of an endpoint's wire, in its network's router. */
struct sf_wire_key {
    /* Cookie of the router's namespace. */
    __u64 router;
    /* Index there. */
    __u32 device;
    __u32 pad;
};

/* In the `vni` of a crossing: by IPv6. */
#define SF_CROSSING_IPV6 (1u << 24)

/* A connection from an endpoint of the node to a plain one, as the overlay sees it. By IPv6 the endpoints' ids, in
 * network order, are in the places of their addresses. */
struct sf_crossing_key {
    __u32 vni;
    __be32 local;
    __be32 peer;
    __be16 local_port;
    __be16 peer_port;
};

/* Where a published host port leads. */
struct sf_published {
    struct sf_endpoint_key endpoint;
    __u16 port;
    __u16 pad;
};

/* What is done in a network that has policies when none of them speaks of a connection. */
struct sf_policy {
    __u32 is_default_deny;
};

/* Bits of struct sf_verdict_key behind prefix_length. */
#define SF_VERDICT_BITS 112

/*
 * Of a longest-prefix-match trie: `prefix_length` is 96 (all ports) to 112 (one port). Endpoints that all policies
 * treat alike share an identity. The value is 1 for allowed, 0 for denied.
 */
struct sf_verdict_key {
    __u32 prefix_length;
    __u32 vni;
    __u32 from;
    __u32 to;
    __be16 port;
} __attribute__((packed));

/* Bits of struct sf_egress_key behind prefix_length. */
#define SF_EGRESS_BITS 64

/* Of a longest-prefix-match trie: `prefix_length` is 32 more than the range's. The value is the range's. */
struct sf_egress_key {
    __u32 prefix_length;
    __u32 vni;
    __be32 address;
};

/* Bits of struct sf_egress6_key behind prefix_length. */
#define SF_EGRESS6_BITS 160

/* The same of IPv6 ranges. */
struct sf_egress6_key {
    __u32 prefix_length;
    __u32 vni;
    struct sf_address6 address;
};

/* Which sockets sf_cut destroys. */
enum sf_cut_what {
    SF_CUT_NONE,
    /* All of `owner`. */
    SF_CUT_OWNER,
    /* The one with `cookie`. */
    SF_CUT_COOKIE,
    /* The connections in network `owner.vni` that its policies or its egress ranges do not allow. */
    SF_CUT_DENIED,
};

struct sf_cut_order {
    __u64 cookie;
    struct sf_endpoint_key owner;
    /* enum sf_cut_what */
    __u32 what;
    /* Written by the program: how many were destroyed. */
    __u32 done;
};

/* ---- the socket mapping table --------------------------------------------------------------------------------------
 */

/* sf_socket.flags */
enum sf_socket_flags {
    /* The socket has a port: bind_class and local_port are set, and `ports` counts it. */
    SF_BOUND = 1 << 0,
    SF_LISTENING = 1 << 1,
    /* SO_REUSEADDR and SO_REUSEPORT; of accepted sockets the listener's, as in the kernel. */
    SF_REUSEADDR = 1 << 2,
    SF_REUSEPORT = 1 << 3,
    /* The peer is an overlay address: peer_* are set. */
    SF_OVERLAY = 1 << 4,
    /* The peer is the container itself, by a loopback address. */
    SF_LOOPBACK = 1 << 5,
    SF_LOOPBACK6 = 1 << 6,
    /* The peer is outside the overlay. */
    SF_OUTSIDE = 1 << 7,
    SF_ESTABLISHED = 1 << 8,
    SF_ACCEPTED = 1 << 9,
    /* Created for the preload tier. */
    SF_PRELOAD = 1 << 10,
    /* An accepted socket that came neither through dispatch nor a published port. */
    SF_STRAY = 1 << 11,
    /* Connects to itself. */
    SF_SELF = 1 << 12,
    /* bind(2) said for which addresses: bind_class is set. Stays when the port goes. */
    SF_ADDRESS = 1 << 13,
    /* bind(2) said which port: it stays until the socket is closed, others until the socket is in TCP_CLOSE again. */
    SF_PORT_GIVEN = 1 << 14,
    /* The last descriptor was closed. */
    SF_RELEASED = 1 << 15,
    /* The peer is plain: the connection goes over the network's router. */
    SF_PLAIN = 1 << 16,
    /* The connection's beginning was told, and its end will be, when TCP is done. Ends of others are counted at
       close(2). */
    SF_TOLD = 1 << 17,
    /* sf_usage.listeners counts it. */
    SF_COUNTED_LISTENER = 1 << 18,
    /* sf_destroy has counted it off: the next version's must not do it again. */
    SF_COUNTED_OFF = 1 << 19,
    /* The connection is between IPv6 addresses other than ::1: peer_address6 is set. */
    SF_IPV6 = 1 << 20,
    /* IPV6_V6ONLY as the container has set it: the host socket takes IPv4 in any case, since all travels over it. */
    SF_V6ONLY = 1 << 21,
    /* Within the container by IPv6: of ::1 and its address the client has the one that it does not connect to. */
    SF_OTHER6 = 1 << 22,
    /* With SF_BOUND: connecting or connected, so that it keeps its port until it is in TCP_CLOSE. */
    SF_CONNECTED = 1 << 24,
};

/* How an address given to bind(2) covers the container's addresses. */
enum sf_bind_class {
    SF_BIND_ANY4,
    SF_BIND_ADDRESS4,
    SF_BIND_LOOPBACK4,
    /* :: of a socket that takes IPv4 as well. */
    SF_BIND_DUAL,
    SF_BIND_ANY6,
    SF_BIND_LOOPBACK6,
    SF_BIND_ADDRESS6,
    /* Of no socket: stands in a port's entry for the sockets on 127.0.0.0/8 but 127.0.0.1, which have entries of their
       own. */
    SF_BIND_OTHER_LOOPBACK4,
    SF_BIND_CLASSES,
};

/* A host socket of a container: in SK_STORAGE, so it lives as long as the socket and accepted sockets inherit it. */
struct sf_socket {
    struct sf_endpoint_key owner;
    /* The owner's overlay IPv4 address. */
    __be32 address;
    /* SF_* */
    __u32 flags;
    /* Of IPv4 connections. */
    __be32 peer_address;
    __be16 peer_port;
    /* The port that the container bound or accepted on, 0 if the host socket's own port is the right one. */
    __be16 local_port;
    /* The destination endpoint of an outbound connection, and the source of an inbound one by IPv6. */
    __u32 peer_id;
    __u8 bind_class;
    /* Index among the listeners of the same class and port. */
    __u8 slot;
    /* The owner's account and 1, here because all that a connection's beginning needs lies in one line of the cache; 0
     * in records of the version before. */
    __u16 near_account;
    /* CLOCK_MONOTONIC: the start of connect(2), and from then on when it was established. */
    __u64 since_ns;
    __u32 setup_us;
    /* The address in 127.0.0.0/8 that the container's own end has: asked for by bind(2), or connected to by the peer.
     */
    __be32 loopback_address;
    /* The cookie of the socket that listen(2) was called on; 0: of none. Connections that a listener is about to accept
     * start with a copy of its record. */
    __u64 listener_cookie;
    /* The owner's. */
    __u32 account;
    __u32 pad2;
    /* Last, so that IPv4 has nothing to do with this part of memory: the owner's overlay IPv6 address, the peer's. */
    struct sf_address6 address6;
    struct sf_address6 peer_address6;
};

struct sf_port_key {
    struct sf_endpoint_key endpoint;
    __u16 port;
    __u16 pad;
    /* Of SF_BIND_LOOPBACK4 at another address than 127.0.0.1, otherwise 0. */
    __be32 loopback;
};

struct sf_listener_key {
    struct sf_endpoint_key endpoint;
    __u16 port;
    __u8 bind_class;
    __u8 slot;
    /* As in sf_port_key. */
    __be32 loopback;
};

/* A connection of a bound socket. */
struct sf_tuple_key {
    struct sf_endpoint_key owner;
    __be32 local_address;
    __be32 peer_address;
    /* 0 if it is outside. */
    __u32 peer_id;
    __be16 local_port;
    __be16 peer_port;
    /* Of SF_*: what tells peers with the same address apart. */
    __u32 flags;
};

struct sf_tuple {
    /* The socket's, 0 once the connection has ended. */
    __u64 cookie;
    /* Then: until when it is in TIME_WAIT, by CLOCK_MONOTONIC. */
    __u64 until_ns;
};

/* Connections of a port in TIME_WAIT: until when, by CLOCK_MONOTONIC. */
struct sf_waiting {
    __u64 until_ns;
    /* The ones without SO_REUSEADDR, and without SO_REUSEPORT. */
    __u64 no_reuseaddr_until_ns;
    __u64 no_reuseport_until_ns;
    /* Bit n: of bind class n. */
    __u32 classes;
    __u32 pad;
};

/* A listener's real port in the host's namespace, which must not answer by itself. */
struct sf_hidden_key {
    __u16 port;
    /* AF_INET or AF_INET6. */
    __u16 family;
};

struct sf_flow_key {
    __be32 source;
    __be32 destination;
    __be16 source_port;
    __be16 destination_port;
};

/* What a SYN's option said. */
struct sf_flow {
    struct sf_endpoint_key destination;
    /* With SF_OPTION_IPV6 the id of its endpoint, in network order. */
    __be32 source_address;
    __be16 source_port;
    __u16 destination_port;
    /* SF_OPTION_* */
    __u32 flags;
    /* The client's address within the container if it is an unusual one, otherwise 0. */
    __be32 client_address;
};

/* A handshake that is under way. */
struct sf_handshake {
    struct sf_flow_key key;
    struct sf_flow flow;
    __u32 pad[3];
};

/* Four lines of the cache; most look-ups need the first two of them. */
struct sf_handshakes {
    /* Of each place. 0: it is free. Odd: it is being written. Otherwise greater than that of everything written before
     * (handshakes.bpf.h). */
    __u64 stamps[SF_HANDSHAKE_WAYS];
    /* Part of the hash of each place's key. */
    __u32 tags[SF_HANDSHAKE_WAYS];
    /* Of a near set: the jiffies at which something that had no place in it was put into a far one; 0: never. */
    __u64 far_jiffies;
    __u32 pad[2];
    struct sf_handshake places[SF_HANDSHAKE_WAYS];
};

/* ---- events and listings -------------------------------------------------------------------------------------------
 */

enum sf_event_kind {
    SF_EVENT_OPENED = 1,
    SF_EVENT_ACCEPTED,
    SF_EVENT_CLOSED,
    SF_EVENT_REFUSED,
};

/* One connection (or listener), as events report it and as the iterator lists it. */
struct sf_connection {
    /* CLOCK_MONOTONIC */
    __u64 time_ns;
    __u64 cookie;
    struct sf_endpoint_key owner;
    /* Of sf_socket. */
    __u32 flags;
    /* Overlay (or outside) addresses, as the container sees them; SF_IPV6 in `flags` says which are meant. */
    __be32 local_address;
    __be32 peer_address;
    __be16 local_port;
    __be16 peer_port;
    __be32 underlay_local_address;
    __be32 underlay_peer_address;
    __be16 underlay_local_port;
    __be16 underlay_peer_port;
    /* Of SF_EVENT_REFUSED: errno. */
    __u32 error;
    __u64 bytes_sent;
    __u64 bytes_received;
    __u64 duration_ns;
    __u32 setup_us;
    __u32 rtt_us;
    /* enum sf_event_kind; 0 in listings. */
    __u8 kind;
    /* The kernel's TCP state (include/net/tcp_states.h). */
    __u8 state;
    __u8 bind_class;
    __u8 pad;
    __u32 pad2;
    struct sf_address6 local_address6;
    struct sf_address6 peer_address6;
};

/* Errors that a refused connection can have: one more than the largest errno (EHWPOISON). */
#define SF_ERRNOS 134
/* Outbound and inbound, times notify and preload: index 2 * is_inbound + is_preload. */
#define SF_CLASSES 4

/* Connections that were passed over, by what a metric tells apart. Each CPU has its own. */
struct sf_passed_over {
    /* Opened or accepted, by class. */
    __u64 begun[SF_CLASSES];
    __u64 ended[SF_CLASSES];
    /* By class and errno: index SF_ERRNOS * class + errno. */
    __u64 refused[SF_CLASSES * SF_ERRNOS];
};

/* ---- counters -------------------------------------------------------------------------------------------------------
 */

/* SF_COUNTER_name in C, "name" in the status of a node. New ones come last: an upgrade goes by their numbers. */
#define SF_COUNTERS(X)                                                                                                 \
    X(connects_overlay)                                                                                                \
    X(connects_loopback)                                                                                               \
    X(connects_outside)                                                                                                \
    X(connects_plain)                                                                                                  \
    X(connects_no_address)                                                                                             \
    X(connects_taken)                                                                                                  \
    X(connects_denied)                                                                                                 \
    X(connects_denied_policy)                                                                                          \
    X(connects_denied_egress)                                                                                          \
    X(options_written)                                                                                                 \
    X(options_no_space)                                                                                                \
    X(syns_seen)                                                                                                       \
    X(syns_no_option)                                                                                                  \
    X(syns_unknown_node)                                                                                               \
    X(dispatched)                                                                                                      \
    X(dispatched_plain)                                                                                                \
    X(dispatched_published)                                                                                            \
    X(refused_no_flow)                                                                                                 \
    X(refused_unknown_endpoint)                                                                                        \
    X(refused_unknown_source)                                                                                          \
    X(refused_no_listener)                                                                                             \
    X(refused_hidden)                                                                                                  \
    X(refused_assign)                                                                                                  \
    X(refused_policy)                                                                                                  \
    X(sources_forged)                                                                                                  \
    X(plain_dropped)                                                                                                   \
    X(binds)                                                                                                           \
    X(binds_in_use)                                                                                                    \
    X(binds_not_available)                                                                                             \
    X(binds_denied)                                                                                                    \
    X(listeners_added)                                                                                                 \
    X(listeners_failed)                                                                                                \
    X(accepted)                                                                                                        \
    X(accepted_stray)                                                                                                  \
    X(opened)                                                                                                          \
    X(closed)                                                                                                          \
    X(failed)                                                                                                          \
    X(sockopts_denied)                                                                                                 \
    X(sockopts_hidden)                                                                                                 \
    X(sockets_limited)                                                                                                 \
    X(listeners_limited)                                                                                               \
    X(connects_limited)                                                                                                \
    X(inbound_limited)                                                                                                 \
    X(events_lost)

enum sf_counter {
#define X(name) SF_COUNTER_##name,
    SF_COUNTERS(X)
#undef X
        SF_COUNTERS_MAX,
};

#endif
