// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * The programs that see packets, compiled for user space, on packets of any content: what a SYN's option says is
 * recorded if, and only if, a second reader of the same bytes says so, and a listener is chosen only where it may be.
 *
 * The input: how many bytes lie in the packet's linear part; what is there besides (WITH_*) or, in its upper bits,
 * which program is run; then the packet, from its IP header, or from its Ethernet header for the programs of tc.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#define bpf_get_socket_cookie(sk) ((__u64)(unsigned long)(sk))

/* Where the kernel's own offsets matter, its headers' structures instead of those that CO-RE would relocate. */
#define iphdr  iphdr_of_core
#define tcphdr tcphdr_of_core
#include "../bpf/kernel.h"
#undef iphdr
#undef tcphdr
#include <linux/ip.h>
#include <linux/tcp.h>

#include "../bpf/dispatch.bpf.h"

#define CHECK(condition)                                                                                               \
    do {                                                                                                               \
        if (!(condition)) {                                                                                            \
            fprintf(stderr, "wire.c:%d: not so: %s\n", __LINE__, #condition);                                          \
            abort();                                                                                                   \
        }                                                                                                              \
    } while (0)

enum {
    WITH_FORMER_FLOW = 1,
    WITH_POLICY = 2,
    WITH_SOURCE = 4,
    WITH_FULL_ACCOUNT = 8,
    PROGRAM_SHIFT = 6,
};

#define NODE        0x0a000001u
#define OTHER_NODE  0x0a000002u
#define FRONT_FIRST 7000
#define FRONT_COUNT 16
#define HIDDEN      45000
#define PUBLISHED   8080
#define VNI         1
#define OWN_ID      1
#define PEER_ID     2
#define DEVICE      7
#define COOKIE      99

/* ---- maps -------------------------------------------------------------------------------------------------------- */

#define MAX_ENTRIES 64
#define MAX_BYTES   512

struct entry {
    const void *map;
    size_t key_size;
    __u8 key[64] __attribute__((aligned(8)));
    __u8 value[MAX_BYTES] __attribute__((aligned(8)));
};

static struct entry entries[MAX_ENTRIES];
static size_t entry_count;
static __u64 counter;
static struct sf_passed_over skipped;
static struct sf_handshakes set;
static struct sf_listener_key looked_up;

static struct entry *find(const void *map, const void *key, size_t key_size) {
    for (size_t i = 0; i < entry_count; i++) {
        if (entries[i].map == map && !memcmp(entries[i].key, key, key_size))
            return &entries[i];
    }
    return 0;
}

void *fuzz_lookup(const void *map, const void *key, size_t key_size, size_t value_size) {
    struct entry *entry;

    if (map == &counters) {
        CHECK(*(const __u32 *)key < SF_COUNTERS_MAX);
        return &counter;
    }
    if (map == &passed_over)
        return &skipped;
    if (map == &handshakes) {
        CHECK(*(const __u32 *)key < SF_HANDSHAKE_SETS);
        return &set;
    }
    if (map == &listeners)
        memcpy(&looked_up, key, sizeof(looked_up));
    entry = find(map, key, key_size);
    return entry ? entry->value : 0;
}

long fuzz_update(const void *map, const void *key, size_t key_size, const void *value, size_t value_size, __u64 flags) {
    struct entry *entry = find(map, key, key_size);

    CHECK(key_size <= sizeof(entry->key) && value_size <= sizeof(entry->value));
    if (!entry) {
        CHECK(entry_count < MAX_ENTRIES);
        entry = &entries[entry_count++];
    } else if (flags == BPF_NOEXIST) {
        return -1;
    }
    entry->map = map;
    entry->key_size = key_size;
    memcpy(entry->key, key, key_size);
    memcpy(entry->value, value, value_size);
    return 0;
}

long fuzz_delete(const void *map, const void *key, size_t key_size) {
    struct entry *entry = find(map, key, key_size);

    if (!entry)
        return -1;
    *entry = entries[--entry_count];
    return 0;
}

#define PUT(map, at, to) bpf_map_update_elem(&map, &((typeof(*map.key))at), &((typeof(*map.value))to), BPF_ANY)
#define SET(...)                                                                                                       \
    { __VA_ARGS__ }

static void listener(__u16 port, __u32 class, __u64 slots) {
    struct sf_port_key key = {.endpoint = {VNI, OWN_ID}, .port = port};
    struct sf_port value = {.key = key, .account = OWN_ID};

    value.classes[class].slots = slots;
    bpf_map_update_elem(&ports, &key, &value, BPF_ANY);
    for (__u32 slot = 0; slot < 64; slot++) {
        struct sf_listener_key name = {.endpoint = key.endpoint, .port = port, .bind_class = class, .slot = slot};

        if (slots & (1ULL << slot))
            bpf_map_update_elem(&listeners, &name, &(__u64){port}, BPF_ANY);
    }
}

static void fill(__u8 with) {
    __u32 limit = with & WITH_FULL_ACCOUNT ? 0 : 10;

    entry_count = 0;
    memset(&set, 0, sizeof(set));
    PUT(nodes, SET(htobe32(NODE)), SET(1));
    PUT(nodes, SET(htobe32(OTHER_NODE)), SET(1));
    PUT(endpoints, SET(VNI, OWN_ID), SET(htobe32(0x0a200001), .account = OWN_ID, .address6 = {{1, 2, 3, 4}}));
    PUT(limits, SET(OWN_ID), SET({VNI, OWN_ID}, .is_attached = 1, .sockets = limit));
    PUT(usages, SET(OWN_ID), SET(0));
    PUT(peers, SET(VNI, htobe32(0x0a200002)), SET(.id = PEER_ID, .node = htobe32(OTHER_NODE)));
    PUT(peers, SET(VNI, htobe32(0x0a200001)), SET(.id = OWN_ID, .node = htobe32(NODE)));
    PUT(sources6, SET(VNI, PEER_ID), SET({{5, 6, 7, 8}}, htobe32(OTHER_NODE)));
    PUT(networks, SET(VNI), SET(htobe32(0x0a200000), htobe32(0xffff0000), .aliases = htobe32(SF_ALIAS_PEER | 0x10000)));
    PUT(uplinks, SET(DEVICE), SET(VNI));
    PUT(routers, SET(COOKIE), SET(VNI, 0, DEVICE));
    PUT(published, SET(PUBLISHED), SET({VNI, OWN_ID}, 80));
    PUT(hidden_ports, SET(.port = HIDDEN, .family = AF_INET), SET(1));
    PUT(thinning, SET(0), SET(0));
    listener(80, SF_BIND_ANY4, 1);
    listener(81, SF_BIND_DUAL, 5);
    listener(82, SF_BIND_ADDRESS6, 1);
    listener(83, SF_BIND_LOOPBACK4, 1ULL << 63 | 2);
    if (with & WITH_POLICY) {
        PUT(policies, SET(VNI), SET(1));
        PUT(identities, SET(VNI, OWN_ID), SET(10));
        PUT(identities, SET(VNI, PEER_ID), SET(20));
        PUT(verdicts, SET(SF_VERDICT_BITS, VNI, 20, 10, htobe16(80)), SET(1));
    }
    *(volatile __u32 *)&networks_with_policies = !!(with & WITH_POLICY);
}

/* ---- the packet -------------------------------------------------------------------------------------------------- */

/* Twice, so that what reads beyond the linear part is seen. */
static struct {
    __u8 *linear;
    __u8 *whole;
    size_t linear_length;
    size_t length;
} packet;

void *bpf_rdonly_cast(const void *object, __u32 type) {
    return (void *)object;
}

long bpf_probe_read_kernel(void *to, __u32 size, const void *from) {
    memcpy(to, from, size);
    return 0;
}

int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *pointer) {
    return 0;
}

void *bpf_dynptr_slice(const struct bpf_dynptr *pointer, __u32 offset, void *buffer, __u32 size) {
    if (offset > packet.length || size > packet.length - offset)
        return 0;
    if (offset + size <= packet.linear_length)
        return packet.linear + offset;
    memcpy(buffer, packet.whole + offset, size);
    return buffer;
}

long fuzz_load_bytes(__u32 offset, void *to, __u32 size) {
    if (offset > packet.length || size > packet.length - offset) {
        memset(to, 0, size);
        return -1;
    }
    memcpy(to, packet.whole + offset, size);
    return 0;
}

long fuzz_store_bytes(__u32 offset, const void *from, __u32 size) {
    CHECK(offset <= packet.length && size <= packet.length - offset);
    memcpy(packet.whole + offset, from, size);
    return 0;
}

void *bpf_cast_to_kern_ctx(void *ctx) {
    static struct net net = {.net_cookie = COOKIE};
    static struct net_device device = {.nd_net = {&net}};
    static struct sk_buff skb = {.dev = &device};

    return &skb;
}

__u64 bpf_ktime_get_ns(void) {
    return 1000000000000;
}

__u64 bpf_jiffies64(void) {
    return 1000;
}

void *fuzz_reserve(size_t size) {
    return malloc(size);
}

void fuzz_submit(void *record) {
    free(record);
}

__u64 fuzz_unread(void) {
    return 0;
}

static bool is_assigned;

long fuzz_assign(struct bpf_sock *sk) {
    CHECK(sk && !is_assigned);
    is_assigned = true;
    return 0;
}

/* ---- the second reader ------------------------------------------------------------------------------------------- */

static __u32 word(const __u8 *bytes) {
    return (__u32)bytes[0] << 24 | bytes[1] << 16 | bytes[2] << 8 | bytes[3];
}

static __u32 half(const __u8 *bytes) {
    return bytes[0] << 8 | bytes[1];
}

enum verdict { NOT_OURS, NO_FLOW, FLOW };

/* What the packet asks for, read byte by byte from architecture.md's description of the option. */
static enum verdict read_again(const __u8 *bytes, size_t length, struct sf_flow *flow) {
    size_t ip = (bytes[0] & 15) * 4, tcp;
    const __u8 *option;
    bool is_other;

    if (bytes[9] != 6 || (word(bytes + 12) != NODE && word(bytes + 12) != OTHER_NODE) || length < ip + 20)
        return NOT_OURS;
    if ((bytes[ip + 13] & 0x12) != 2 || half(bytes + ip + 2) < FRONT_FIRST ||
        half(bytes + ip + 2) >= FRONT_FIRST + FRONT_COUNT)
        return NOT_OURS;
    tcp = (bytes[ip + 12] >> 4) * 4;
    if (tcp < 40 || ip + tcp > length)
        return NO_FLOW;
    option = bytes + ip + tcp - 20;
    if (option[0] != 254 || option[1] != 20 || half(option + 2) != 0x5346 || option[4] >> 4 < 1 || option[4] >> 4 > 2)
        return NO_FLOW;
    *flow = (struct sf_flow){
        .destination = {word(option + 4) & 0xffffff, word(option + 8)},
        .source_address = htobe32(word(option + 12)),
        .destination_port = half(option + 16),
        .source_port = htobe16(half(option + 18)),
    };
    /* Of ::1 and the endpoint's own address the one that is not connected to: from the node itself, to the client. */
    is_other = option[4] & SF_OPTION_SOURCE && word(bytes + 12) == NODE;
    if (option[4] >> 4 == 2) {
        if (option[4] & 3)
            return NO_FLOW;
        flow->flags = SF_OPTION_IPV6;
        if (is_other && word(option + 12) == word(option + 8))
            flow->flags |= SF_OPTION_SOURCE;
        return FLOW;
    }
    flow->flags = option[4] & (SF_OPTION_LOOPBACK | SF_OPTION_LOOPBACK6);
    if (is_other && option[4] & SF_OPTION_LOOPBACK6)
        flow->flags |= SF_OPTION_SOURCE;
    return flow->flags && word(bytes + 12) != NODE ? NO_FLOW : FLOW;
}

/* ---- the programs ------------------------------------------------------------------------------------------------ */

static void choose(const struct sf_flow_key *key) {
    struct bpf_sk_lookup ctx = {.family = AF_INET, .protocol = IPPROTO_TCP, .ingress_ifindex = 1};
    struct sf_flow flow = {};
    bool known = get_handshake(key, &flow);
    __u16 port = be16toh(key->destination_port);
    int verdict;

    ctx.remote_ip4 = key->source;
    ctx.remote_port = key->source_port;
    ctx.local_ip4 = key->destination;
    ctx.local_port = port;
    is_assigned = false;
    verdict = sf_dispatch(&ctx);
    CHECK(verdict == SK_PASS || verdict == SK_DROP);
    CHECK(!is_assigned || verdict == SK_PASS);
    if (is_own_alias(key->destination)) {
        /* Over any other device than an uplink they are forged. */
        CHECK(is_front_port(port) && known ? true : verdict == SK_DROP && !is_assigned);
    } else if (is_front_port(port)) {
        CHECK(verdict == (is_assigned ? SK_PASS : SK_DROP));
        CHECK(known || !is_assigned);
        CHECK(!is_assigned ||
              (looked_up.endpoint.vni == flow.destination.vni && looked_up.endpoint.id == flow.destination.id &&
               looked_up.port == flow.destination_port));
        /* What is refused leaves nothing behind. */
        CHECK(is_assigned || !get_handshake(key, &flow));
    } else if (port == PUBLISHED) {
        CHECK(!is_assigned || looked_up.port == 80);
    } else {
        CHECK(!is_assigned && verdict == (port == HIDDEN ? SK_DROP : SK_PASS));
    }
}

static void receive(__u8 with) {
    struct sk_buff skb = {
        .len = packet.length,
        .data_len = packet.length - packet.linear_length,
        .head = packet.linear,
        .data = packet.linear,
        .transport_header = (packet.whole[0] & 15) * 4,
    };
    struct bpf_nf_ctx ctx = {.skb = &skb};
    size_t ip = skb.transport_header;
    struct sf_flow_key key = {};
    struct sf_flow expected = {}, former = {.destination = {VNI, OWN_ID}, .destination_port = 80}, flow = {};
    bool has_ports = packet.length >= ip + 20, is_known;

    memcpy(&key.source, packet.whole + 12, 4);
    memcpy(&key.destination, packet.whole + 16, 4);
    if (has_ports) {
        memcpy(&key.source_port, packet.whole + ip, 2);
        memcpy(&key.destination_port, packet.whole + ip + 2, 2);
    }
    if (with & WITH_FORMER_FLOW)
        put_handshake(&key, &former);
    if (with & WITH_SOURCE)
        bpf_map_update_elem(&sources, &key, &(__be32){htobe32(0x7f000009)}, BPF_ANY);
    CHECK(sf_ingress(&ctx) == NF_ACCEPT);
    is_known = get_handshake(&key, &flow);
    switch (read_again(packet.whole, packet.length, &expected)) {
    case NOT_OURS:
        CHECK(is_known == !!(with & WITH_FORMER_FLOW));
        break;
    case NO_FLOW:
        CHECK(!is_known);
        break;
    case FLOW:
        CHECK(is_known);
        if (flow.client_address) {
            CHECK(with & WITH_SOURCE && key.source == htobe32(NODE));
            expected.client_address = flow.client_address;
        }
        CHECK(!memcmp(&flow, &expected, sizeof(expected)));
    }
    if (has_ports && packet.whole[9] == IPPROTO_TCP)
        choose(&key);
}

static void pass(__u8 program) {
    struct __sk_buff ctx = {.ifindex = DEVICE, .len = packet.length};
    __u8 before[96] = {0};
    int verdict;

    if (packet.length < ETHERNET_BYTES)
        return;
    memcpy(before, packet.whole, packet.length < sizeof(before) ? packet.length : sizeof(before));
    ctx.protocol = before[12] | before[13] << 8;
    verdict = program == 1 ? sf_from_node(&ctx) : program == 2 ? sf_to_endpoint(&ctx) : sf_to_node(&ctx);
    CHECK(verdict == TC_ACT_OK || verdict == TC_ACT_SHOT || (verdict == TC_ACT_REDIRECT && program == 2));
    /* Nobody opens a connection to the node, and nothing but answers gets there. */
    if (program == 3 && verdict == TC_ACT_OK) {
        bool is_v6 = half(before + 12) == ETHERTYPE_IPV6;
        const __u8 *tcp = before + ETHERNET_BYTES + (is_v6 ? 40 : 20);
        const __u8 *destination = before + ETHERNET_BYTES + (is_v6 ? 24 : 16);
        __u8 protocol = before[ETHERNET_BYTES + (is_v6 ? 6 : 9)];
        __u32 kind = word(destination);

        if (is_v6)
            kind = kind == SF_ALIAS6_PREFIX && !word(destination + 4) ? word(destination + 8) : 0;
        CHECK(is_v6 || (half(before + 12) == ETHERTYPE_IPV4 && before[ETHERNET_BYTES] == 0x45));
        CHECK(protocol == IPPROTO_TCP || protocol == (is_v6 ? IPPROTO_ICMPV6 : IPPROTO_ICMP));
        CHECK(protocol != IPPROTO_TCP || (tcp[13] & 0x12) != 2 ||
              (kind & SF_ALIAS_MASK) == (SF_ALIAS_PEER | SF_ALIAS_OWN));
    }
}

/* The node's constants, which the core sets before it loads the programs. Not inlined: constants have no stores. */
static __noinline void set_constant(const volatile void *at, __u32 value, size_t size) {
    unsigned long page = (unsigned long)at & ~4095UL;

    if (mprotect((void *)page, 8192, PROT_READ | PROT_WRITE)) {
        perror("mprotect");
        exit(1);
    }
    asm volatile("" : "+r"(at));
    memcpy((void *)at, &value, size);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    set_constant(&node_address, htobe32(NODE), sizeof(node_address));
    set_constant(&front_first, FRONT_FIRST, sizeof(front_first));
    set_constant(&front_count, FRONT_COUNT, sizeof(front_count));
    return 0;
}

int LLVMFuzzerTestOneInput(const __u8 *bytes, size_t length) {
    __u8 program;

    if (length < 2 + 20)
        return 0;
    program = bytes[1] >> PROGRAM_SHIFT;
    packet.length = length - 2;
    packet.linear_length = bytes[0] < packet.length ? bytes[0] : packet.length;
    packet.whole = malloc(packet.length);
    memcpy(packet.whole, bytes + 2, packet.length);
    fill(bytes[1]);
    if (program) {
        pass(program);
    } else {
        /* The stack has looked at the IP header before. */
        __u8 words = packet.whole[0] & 15;

        packet.whole[0] = 0x40 | (words < 5 ? 5 : words);
        if ((size_t)(packet.whole[0] & 15) * 4 > packet.length)
            packet.whole[0] = 0x45;
        if (packet.linear_length < (size_t)(packet.whole[0] & 15) * 4)
            packet.linear_length = (packet.whole[0] & 15) * 4;
        packet.linear = malloc(packet.linear_length);
        memcpy(packet.linear, packet.whole, packet.linear_length);
        receive(bytes[1]);
        free(packet.linear);
    }
    free(packet.whole);
    return 0;
}
