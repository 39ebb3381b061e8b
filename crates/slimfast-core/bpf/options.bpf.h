/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * setsockopt(2) and getsockopt(2): which socket options a container may set and read on its host sockets.
 *
 * What no table lets be set gives ENOPROTOOPT, as by a kernel that is built without it; what Linux keeps for
 * privileged programs, or what would act on the host's devices, routes and filters, gives EPERM.
 *
 * The hook of getsockopt runs when the kernel has written the value into the caller's memory already, and a failure
 * would leave it there. So what no table lets be read comes as zeros, unless the kernel itself has an error for it.
 * What would be worth to be read by another thread in between, underlay addresses, is not there to be read: what turns
 * it on is ignored or refused.
 *
 * Fast Open: TCP_FASTOPEN_CONNECT succeeds and changes nothing, so that connect(2) makes its handshake as ever. A write
 * with MSG_FASTOPEN is not seen here; sockets are created with TCP_FASTOPEN_NO_COOKIE, which keeps the cookie's option
 * out of the SYN: its data, which a peer without Fast Open passes over, is sent again once the connection stands.
 *
 * IPV6_V6ONLY is the record's: a host socket that took IPv6 only could not use the underlay, which is IPv4.
 */
#ifndef SLIMFAST_OPTIONS_BPF_H
#define SLIMFAST_OPTIONS_BPF_H

#include "limits.bpf.h"
#include "ports.bpf.h"

/* What setsockopt(2) does about one option. */
enum rule {
    /* ENOPROTOOPT */
    RULE_UNKNOWN,
    RULE_ALLOW,
    /* EPERM */
    RULE_PRIVILEGED,
    /* The value decides. */
    RULE_PRIORITY,
    RULE_TOS,
    RULE_ULP,
    RULE_TIMESTAMPING,
    RULE_FAST_OPEN,
    RULE_V6_ONLY,
    /* For those that are bound to the port, too. */
    RULE_REUSE,
    /* Succeeds and changes nothing. */
    RULE_IGNORE,
};

/* Options are small numbers; above it are those of packet filters and of BPF programs. */
#define MAX_OPTION 128
#define SOL_IP     0
#define SOL_TCP    6
#define SOL_IPV6   41
#define SOL_TLS    282

/* An entry of a table is a rule, and this bit if getsockopt(2) tells the value. */
#define READABLE 0x80

#define SET        RULE_ALLOW
#define PRIVILEGED RULE_PRIVILEGED
#define GET        READABLE

/*
 * include/uapi/asm-generic/socket.h. Filters and BPF programs would see the underlay's headers; SO_BINDTODEVICE,
 * SO_MARK, SO_INCOMING_NAPI_ID, SO_BINDTOIFINDEX and SO_NETNS_COOKIE tell of the host.
 */
static const __u8 socket_options[MAX_OPTION] = {
    [1] = PRIVILEGED | GET,         /* SO_DEBUG */
    [2] = RULE_REUSE | GET,         /* SO_REUSEADDR */
    [3] = GET,                      /* SO_TYPE */
    [4] = GET,                      /* SO_ERROR */
    [5] = SET | GET,                /* SO_DONTROUTE */
    [6] = SET | GET,                /* SO_BROADCAST */
    [7] = SET | GET,                /* SO_SNDBUF */
    [8] = SET | GET,                /* SO_RCVBUF */
    [9] = SET | GET,                /* SO_KEEPALIVE */
    [10] = SET | GET,               /* SO_OOBINLINE */
    [11] = SET | GET,               /* SO_NO_CHECK */
    [12] = RULE_PRIORITY | GET,     /* SO_PRIORITY */
    [13] = SET | GET,               /* SO_LINGER */
    [14] = SET | GET,               /* SO_BSDCOMPAT */
    [15] = RULE_REUSE | GET,        /* SO_REUSEPORT: among the sockets of one endpoint (ports.bpf.h) */
    [16] = SET | GET,               /* SO_PASSCRED */
    [17] = GET,                     /* SO_PEERCRED */
    [18] = SET | GET,               /* SO_RCVLOWAT */
    [19] = GET,                     /* SO_SNDLOWAT */
    [20] = SET | GET,               /* SO_RCVTIMEO */
    [21] = SET | GET,               /* SO_SNDTIMEO */
    [25] = PRIVILEGED,              /* SO_BINDTODEVICE: the host's devices */
    [26] = PRIVILEGED,              /* SO_ATTACH_FILTER */
    [27] = SET,                     /* SO_DETACH_FILTER: there is none */
    [28] = GET,                     /* SO_PEERNAME: by the hooks of names.bpf.h */
    [29] = SET | GET,               /* SO_TIMESTAMP */
    [30] = GET,                     /* SO_ACCEPTCONN */
    [31] = GET,                     /* SO_PEERSEC */
    [32] = PRIVILEGED,              /* SO_SNDBUFFORCE */
    [33] = PRIVILEGED,              /* SO_RCVBUFFORCE */
    [34] = SET | GET,               /* SO_PASSSEC */
    [35] = SET | GET,               /* SO_TIMESTAMPNS */
    [36] = PRIVILEGED,              /* SO_MARK: the host's routing policy */
    [37] = RULE_TIMESTAMPING | GET, /* SO_TIMESTAMPING */
    [38] = GET,                     /* SO_PROTOCOL */
    [39] = GET,                     /* SO_DOMAIN */
    [40] = SET | GET,               /* SO_RXQ_OVFL */
    [42] = SET | GET,               /* SO_PEEK_OFF */
    [44] = GET,                     /* SO_LOCK_FILTER */
    [45] = SET | GET,               /* SO_SELECT_ERR_QUEUE */
    [46] = PRIVILEGED | GET,        /* SO_BUSY_POLL: polls the host's devices */
    [47] = SET | GET,               /* SO_MAX_PACING_RATE */
    [48] = GET,                     /* SO_BPF_EXTENSIONS */
    [49] = SET | GET,               /* SO_INCOMING_CPU */
    [50] = PRIVILEGED,              /* SO_ATTACH_BPF */
    [51] = PRIVILEGED,              /* SO_ATTACH_REUSEPORT_CBPF: groups on host ports may mix endpoints */
    [52] = PRIVILEGED,              /* SO_ATTACH_REUSEPORT_EBPF */
    [53] = SET,                     /* SO_CNX_ADVICE */
    [55] = GET,                     /* SO_MEMINFO */
    [57] = GET,                     /* SO_COOKIE */
    [59] = GET,                     /* SO_PEERGROUPS */
    [60] = SET | GET,               /* SO_ZEROCOPY */
    [61] = PRIVILEGED,              /* SO_TXTIME */
    [62] = PRIVILEGED,              /* SO_BINDTOIFINDEX */
    [63] = SET | GET,               /* SO_TIMESTAMP_NEW */
    [64] = SET | GET,               /* SO_TIMESTAMPNS_NEW */
    [65] = RULE_TIMESTAMPING | GET, /* SO_TIMESTAMPING_NEW */
    [66] = SET | GET,               /* SO_RCVTIMEO_NEW */
    [67] = SET | GET,               /* SO_SNDTIMEO_NEW */
    [68] = PRIVILEGED,              /* SO_DETACH_REUSEPORT_BPF */
    [69] = PRIVILEGED | GET,        /* SO_PREFER_BUSY_POLL */
    [70] = PRIVILEGED,              /* SO_BUSY_POLL_BUDGET */
    [72] = GET,                     /* SO_BUF_LOCK */
    [74] = SET | GET,               /* SO_TXREHASH */
    [75] = PRIVILEGED,              /* SO_RCVMARK */
};

/*
 * include/uapi/linux/in.h. Not here: IP_PKTOPTIONS would show underlay addresses, IP_LOCAL_PORT_RANGE picks host ports,
 * SO_ORIGINAL_DST and what names devices.
 */
static const __u8 ip_options[MAX_OPTION] = {
    [1] = RULE_TOS | GET,    /* IP_TOS */
    [2] = SET | GET,         /* IP_TTL */
    [4] = PRIVILEGED | GET,  /* IP_OPTIONS: source routes; sshd asks, and wants to hear of none */
    [5] = PRIVILEGED,        /* IP_ROUTER_ALERT */
    [6] = SET | GET,         /* IP_RECVOPTS */
    [7] = SET | GET,         /* IP_RETOPTS */
    [8] = RULE_IGNORE | GET, /* IP_PKTINFO: of datagrams, but for IP_PKTOPTIONS */
    [10] = SET | GET,        /* IP_MTU_DISCOVER */
    [11] = SET | GET,        /* IP_RECVERR: TCP queues no ICMP errors */
    [12] = SET | GET,        /* IP_RECVTTL */
    [13] = SET | GET,        /* IP_RECVTOS */
    [14] = GET,              /* IP_MTU */
    [15] = PRIVILEGED | GET, /* IP_FREEBIND */
    [16] = PRIVILEGED,       /* IP_IPSEC_POLICY */
    [17] = PRIVILEGED,       /* IP_XFRM_POLICY */
    [19] = PRIVILEGED,       /* IP_TRANSPARENT */
    [21] = SET | GET,        /* IP_MINTTL */
    [24] = SET | GET,        /* IP_BIND_ADDRESS_NO_PORT */
    [26] = SET | GET,        /* IP_RECVERR_RFC4884 */
    [32] = SET,              /* IP_MULTICAST_IF: the kernel refuses it for streams */
    [33] = SET | GET,        /* IP_MULTICAST_TTL: the same */
    [34] = SET | GET,        /* IP_MULTICAST_LOOP */
    [35] = SET,              /* IP_ADD_MEMBERSHIP: the same */
    [36] = SET,              /* IP_DROP_MEMBERSHIP: the same */
    [49] = SET | GET,        /* IP_MULTICAST_ALL */
    [50] = PRIVILEGED,       /* IP_UNICAST_IF */
    [52] = GET,              /* IP_PROTOCOL */
    [64] = PRIVILEGED,       /* IPT_SO_SET_REPLACE */
    [65] = PRIVILEGED,       /* IPT_SO_SET_ADD_COUNTERS */
};

/* include/uapi/linux/in6.h, ipv6.h. Not here: IPV6_PKTINFO, the options of RFC 2292. */
static const __u8 ip6_options[MAX_OPTION] = {
    [1] = GET,                /* IPV6_ADDRFORM: the family */
    [16] = SET | GET,         /* IPV6_UNICAST_HOPS */
    [18] = SET | GET,         /* IPV6_MULTICAST_HOPS */
    [19] = SET | GET,         /* IPV6_MULTICAST_LOOP */
    [23] = SET | GET,         /* IPV6_MTU_DISCOVER */
    [24] = SET | GET,         /* IPV6_MTU */
    [25] = SET | GET,         /* IPV6_RECVERR */
    [26] = RULE_V6_ONLY,      /* IPV6_V6ONLY: the record's (SF_V6ONLY) */
    [34] = PRIVILEGED,        /* IPV6_IPSEC_POLICY */
    [35] = PRIVILEGED,        /* IPV6_XFRM_POLICY */
    [49] = RULE_IGNORE | GET, /* IPV6_RECVPKTINFO: of datagrams, but for IPV6_2292PKTOPTIONS */
    [51] = SET | GET,         /* IPV6_RECVHOPLIMIT */
    [53] = SET | GET,         /* IPV6_RECVHOPOPTS */
    [54] = PRIVILEGED,        /* IPV6_HOPOPTS */
    [55] = PRIVILEGED,        /* IPV6_RTHDRDSTOPTS */
    [56] = SET | GET,         /* IPV6_RECVRTHDR */
    [57] = PRIVILEGED,        /* IPV6_RTHDR: source routes */
    [58] = SET | GET,         /* IPV6_RECVDSTOPTS */
    [59] = PRIVILEGED,        /* IPV6_DSTOPTS */
    [60] = SET | GET,         /* IPV6_RECVPATHMTU */
    [62] = SET | GET,         /* IPV6_DONTFRAG */
    [64] = PRIVILEGED,        /* IP6T_SO_SET_REPLACE */
    [65] = PRIVILEGED,        /* IP6T_SO_SET_ADD_COUNTERS */
    [66] = SET | GET,         /* IPV6_RECVTCLASS */
    [67] = RULE_TOS | GET,    /* IPV6_TCLASS */
    [70] = SET | GET,         /* IPV6_AUTOFLOWLABEL */
    [72] = SET | GET,         /* IPV6_ADDR_PREFERENCES */
    [73] = SET | GET,         /* IPV6_MINHOPCOUNT */
    [75] = PRIVILEGED,        /* IPV6_TRANSPARENT */
    [76] = PRIVILEGED,        /* IPV6_UNICAST_IF */
    [78] = PRIVILEGED | GET,  /* IPV6_FREEBIND */
};

/*
 * include/uapi/linux/tcp.h. Not here: TCP_MD5SIG and TCP-AO want the space of the SYN's option; TCP_SAVE_SYN and
 * TCP_SAVED_SYN show it, and underlay addresses. TCP_FASTOPEN_KEY reads the host's key.
 */
static const __u8 tcp_options[MAX_OPTION] = {
    [1] = SET | GET,             /* TCP_NODELAY */
    [2] = SET | GET,             /* TCP_MAXSEG */
    [3] = SET | GET,             /* TCP_CORK */
    [4] = SET | GET,             /* TCP_KEEPIDLE */
    [5] = SET | GET,             /* TCP_KEEPINTVL */
    [6] = SET | GET,             /* TCP_KEEPCNT */
    [7] = SET | GET,             /* TCP_SYNCNT */
    [8] = SET | GET,             /* TCP_LINGER2 */
    [9] = SET | GET,             /* TCP_DEFER_ACCEPT */
    [10] = SET | GET,            /* TCP_WINDOW_CLAMP */
    [11] = GET,                  /* TCP_INFO */
    [12] = SET | GET,            /* TCP_QUICKACK */
    [13] = SET | GET,            /* TCP_CONGESTION: of those that the host allows to everybody */
    [16] = SET | GET,            /* TCP_THIN_LINEAR_TIMEOUTS */
    [17] = SET | GET,            /* TCP_THIN_DUPACK */
    [18] = SET | GET,            /* TCP_USER_TIMEOUT */
    [19] = PRIVILEGED | GET,     /* TCP_REPAIR: makes connections out of nothing */
    [20] = PRIVILEGED,           /* TCP_REPAIR_QUEUE */
    [21] = PRIVILEGED,           /* TCP_QUEUE_SEQ */
    [22] = PRIVILEGED,           /* TCP_REPAIR_OPTIONS */
    [23] = SET | GET,            /* TCP_FASTOPEN: of a listener, for clients from outside */
    [24] = PRIVILEGED | GET,     /* TCP_TIMESTAMP */
    [25] = SET | GET,            /* TCP_NOTSENT_LOWAT */
    [26] = GET,                  /* TCP_CC_INFO */
    [29] = PRIVILEGED,           /* TCP_REPAIR_WINDOW */
    [30] = RULE_FAST_OPEN | GET, /* TCP_FASTOPEN_CONNECT */
    [31] = RULE_ULP | GET,       /* TCP_ULP */
    [33] = SET,                  /* TCP_FASTOPEN_KEY: of one listener */
    [34] = RULE_FAST_OPEN | GET, /* TCP_FASTOPEN_NO_COOKIE */
    [35] = GET,                  /* TCP_ZEROCOPY_RECEIVE */
    [36] = SET | GET,            /* TCP_INQ */
    [37] = SET | GET,            /* TCP_TX_DELAY */
    [43] = GET,                  /* TCP_IS_MPTCP */
    [44] = SET | GET,            /* TCP_RTO_MAX_MS */
    [45] = SET | GET,            /* TCP_RTO_MIN_US */
    [46] = SET | GET,            /* TCP_DELACK_MAX_US */
};

#undef SET
#undef PRIVILEGED
#undef GET

/* include/uapi/linux/tls.h: TLS_TX, TLS_RX and what refines them. */
static __always_inline __u8 tls_entry(__u32 option) {
    return option >= 1 && option <= 5 ? RULE_ALLOW | READABLE : RULE_UNKNOWN;
}

static __always_inline __u8 entry_of(int level, __u32 option) {
    if (option >= MAX_OPTION)
        return RULE_UNKNOWN;
    switch (level) {
    case SOL_TCP:
        return tcp_options[option];
    case SOL_SOCKET:
        return socket_options[option];
    case SOL_IP:
        return ip_options[option];
    case SOL_IPV6:
        return ip6_options[option];
    case SOL_TLS:
        return tls_entry(option);
    default:
        return RULE_UNKNOWN;
    }
}

/* SO_PRIORITY: what Linux leaves to everybody. */
#define MAX_PRIORITY 6
/* IP_TOS, IPV6_TCLASS: from here on, CS6 and CS7 (RFC 4594), are the network's own routing protocols. */
#define FIRST_CONTROL_TOS 0xc0

/* include/uapi/linux/net_tstamp.h: with the packet's copy, headers and all; with device and length. */
#define SOF_TIMESTAMPING_OPT_TSONLY  (1 << 11)
#define SOF_TIMESTAMPING_OPT_PKTINFO (1 << 13)

static __always_inline int refuse_option(int errno) {
    count(SF_COUNTER_sockopts_denied);
    bpf_set_retval(-errno);
    return 0;
}

/* The kernel has its own errors for values that are too short to be read. */
static __always_inline int set_by_value(struct bpf_sockopt *ctx, enum rule rule) {
    void *end = ctx->optval_end;
    __u8 *bytes = ctx->optval;
    __u32 *value = ctx->optval;
    __s32 length = ctx->optlen;

    if (length < 1 || (void *)(bytes + 1) > end)
        return 1;
    if (rule == RULE_ULP) {
        /* Kernel TLS has a state of its own; the others are different protocols. */
        if ((void *)(bytes + 4) > end || length < 3 || bytes[0] != 't' || bytes[1] != 'l' || bytes[2] != 's' ||
            (length > 3 && bytes[3]))
            return refuse_option(ENOENT);
        return 1;
    }
    /* One byte is a value of IP_TOS, too. */
    if (rule == RULE_TOS && length < (int)sizeof(*value))
        return bytes[0] >= FIRST_CONTROL_TOS ? refuse_option(EPERM) : 1;
    if (length < (int)sizeof(*value) || (void *)(value + 1) > end)
        return 1;
    switch (rule) {
    case RULE_TOS: {
        /* Of IP_TOS the kernel keeps the lowest byte; of IPV6_TCLASS it takes no more than that. */
        __u32 class = ctx->level == SOL_IP ? (__u8)*value : *value;

        return class <= 0xff && class >= FIRST_CONTROL_TOS ? refuse_option(EPERM) : 1;
    }
    case RULE_PRIORITY:
        return *value > MAX_PRIORITY ? refuse_option(EPERM) : 1;
    case RULE_TIMESTAMPING:
        /* Sockets are created so; underlay headers and devices are nobody's business. */
        *value = (*value | SOF_TIMESTAMPING_OPT_TSONLY) & ~SOF_TIMESTAMPING_OPT_PKTINFO;
        return 1;
    default:
        /* Fast Open. The kernel's own errors for what is no boolean, or comes too late. */
        if (*value <= 1 && ctx->sk->state == BPF_TCP_CLOSE)
            ctx->optlen = DEALT_WITH;
        return 1;
    }
}

/* The kernel has its own errors for sockets of IPv4, of a port already, and for values that are too short. */
static __always_inline int set_v6_only(struct bpf_sockopt *ctx, struct sf_socket *record) {
    const __u32 *value = ctx->optval;

    if (ctx->sk->family != AF_INET6 || ctx->sk->src_port || ctx->optlen < (int)sizeof(*value) ||
        (void *)(value + 1) > ctx->optval_end)
        return 1;
    if (*value)
        record->flags |= SF_V6ONLY;
    else
        record->flags &= ~SF_V6ONLY;
    ctx->optlen = DEALT_WITH;
    return 1;
}

/* The kernel has written what the host socket has: 0. */
static __always_inline void show_v6_only(struct bpf_sockopt *ctx, const struct sf_socket *record) {
    __u8 *bytes = ctx->optval;
    __u32 *value = ctx->optval;
    bool is_set = record->flags & SF_V6ONLY;

    if ((void *)(value + 1) <= ctx->optval_end)
        *value = is_set;
    else if ((void *)(bytes + 1) <= ctx->optval_end)
        *bytes = is_set;
}

static __always_inline int set_reuse(struct bpf_sockopt *ctx, struct sf_socket *record) {
    const __u32 *value = ctx->optval;

    if (ctx->optlen >= (int)sizeof(*value) && (void *)(value + 1) <= ctx->optval_end)
        change_reuse(record, ctx->optname == SO_REUSEADDR ? SF_REUSEADDR : SF_REUSEPORT, *value);
    return 1;
}

SEC("cgroup/setsockopt")
int sf_setsockopt(struct bpf_sockopt *ctx) {
    enum rule rule = entry_of(ctx->level, ctx->optname) & ~READABLE;
    struct sf_socket *record;

    /* Most calls end here, before the look-up. */
    if (rule == RULE_ALLOW)
        return 1;
    if (!ctx->sk)
        return 1;
    record = bpf_sk_storage_get(&sockets, ctx->sk, 0, 0);
    if (!record)
        return ctx->level == SF_CLAIM_LEVEL ? claim_socket(ctx) : 1;
    switch (rule) {
    case RULE_UNKNOWN:
        return refuse_option(ENOPROTOOPT);
    case RULE_PRIVILEGED:
        return refuse_option(EPERM);
    case RULE_IGNORE:
        ctx->optlen = DEALT_WITH;
        return 1;
    case RULE_V6_ONLY:
        return set_v6_only(ctx, record);
    case RULE_REUSE:
        return set_reuse(ctx, record);
    default:
        return set_by_value(ctx, rule);
    }
}

/* The kernel shows programs the first page of a value. A power of two (index_of). */
#define MAX_HIDDEN_BYTES 4096

struct hidden_value {
    __u8 *start;
    void *end;
};

static int hide_byte(__u32 i, struct hidden_value *value) {
    __u8 *byte = value->start + index_of(i, MAX_HIDDEN_BYTES);

    if ((void *)(byte + 1) > value->end)
        return 1;
    *byte = 0;
    return 0;
}

SEC("cgroup/getsockopt")
int sf_getsockopt(struct bpf_sockopt *ctx) {
    __u8 entry = entry_of(ctx->level, ctx->optname);
    struct hidden_value value;
    const struct sf_socket *record;

    if ((entry & READABLE) || ctx->retval < 0)
        return 1;
    record = ctx->sk ? bpf_sk_storage_get(&sockets, ctx->sk, 0, 0) : 0;
    if (!record)
        return 1;
    if (entry == RULE_V6_ONLY) {
        show_v6_only(ctx, record);
        return 1;
    }
    value.start = ctx->optval;
    value.end = ctx->optval_end;
    bpf_loop(MAX_HIDDEN_BYTES, hide_byte, &value, 0);
    count(SF_COUNTER_sockopts_hidden);
    return 1;
}

#endif
