/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * setsockopt(2) and getsockopt(2): which socket options a container may set and read on its host sockets.
 *
 * What stands in no table cannot be set: ENOPROTOOPT, as by a kernel that is built without it; what Linux keeps for
 * privileged programs, or what would act on the host's devices, routes and filters, gives EPERM.
 *
 * The hook of getsockopt runs when the kernel has written the value into the caller's memory already, and a failure
 * would leave it there. So what is in no table reads as zeros, unless the kernel itself has an error for it. What would
 * be worth to be read by another thread in between, underlay addresses, is not there to be read: what turns it on is
 * ignored or refused.
 *
 * Fast Open: TCP_FASTOPEN_CONNECT succeeds and changes nothing, so that connect(2) makes its handshake as ever. A write
 * with MSG_FASTOPEN is not seen here; sockets are created with TCP_FASTOPEN_NO_COOKIE, which keeps the cookie's option
 * out of the SYN: its data, which a peer without Fast Open passes over, is sent again once the connection stands.
 */
#ifndef SLIMFAST_OPTIONS_BPF_H
#define SLIMFAST_OPTIONS_BPF_H

#include "maps.bpf.h"

/* What is done about one option. */
enum rule {
    /* ENOPROTOOPT */
    RULE_UNKNOWN,
    RULE_ALLOW,
    /* EPERM */
    RULE_PRIVILEGED,
    /* Of setsockopt only: the value decides. */
    RULE_PRIORITY,
    RULE_TOS,
    RULE_ULP,
    RULE_TIMESTAMPING,
    RULE_FAST_OPEN,
    /* Succeeds and changes nothing. */
    RULE_IGNORE,
};

/* Options are small numbers; above it are those of packet filters and of BPF programs. */
#define MAX_OPTION 128
#define SOL_IP     0
#define SOL_TCP    6
#define SOL_IPV6   41
#define SOL_TLS    282

#define ALLOW      RULE_ALLOW
#define PRIVILEGED RULE_PRIVILEGED

/* include/uapi/asm-generic/socket.h. Not here: filters and BPF programs see the underlay's headers. */
static const __u8 set_socket[MAX_OPTION] = {
    [1] = PRIVILEGED,         /* SO_DEBUG */
    [2] = ALLOW,              /* SO_REUSEADDR */
    [5] = ALLOW,              /* SO_DONTROUTE */
    [6] = ALLOW,              /* SO_BROADCAST */
    [7] = ALLOW,              /* SO_SNDBUF */
    [8] = ALLOW,              /* SO_RCVBUF */
    [9] = ALLOW,              /* SO_KEEPALIVE */
    [10] = ALLOW,             /* SO_OOBINLINE */
    [11] = ALLOW,             /* SO_NO_CHECK */
    [12] = RULE_PRIORITY,     /* SO_PRIORITY */
    [13] = ALLOW,             /* SO_LINGER */
    [14] = ALLOW,             /* SO_BSDCOMPAT */
    [15] = ALLOW,             /* SO_REUSEPORT: among the sockets of one endpoint (bind.bpf.h) */
    [16] = ALLOW,             /* SO_PASSCRED */
    [18] = ALLOW,             /* SO_RCVLOWAT */
    [20] = ALLOW,             /* SO_RCVTIMEO */
    [21] = ALLOW,             /* SO_SNDTIMEO */
    [25] = PRIVILEGED,        /* SO_BINDTODEVICE: the host's devices */
    [26] = PRIVILEGED,        /* SO_ATTACH_FILTER */
    [27] = ALLOW,             /* SO_DETACH_FILTER: there is none */
    [29] = ALLOW,             /* SO_TIMESTAMP */
    [32] = PRIVILEGED,        /* SO_SNDBUFFORCE */
    [33] = PRIVILEGED,        /* SO_RCVBUFFORCE */
    [34] = ALLOW,             /* SO_PASSSEC */
    [35] = ALLOW,             /* SO_TIMESTAMPNS */
    [36] = PRIVILEGED,        /* SO_MARK: the host's routing policy */
    [37] = RULE_TIMESTAMPING, /* SO_TIMESTAMPING */
    [40] = ALLOW,             /* SO_RXQ_OVFL */
    [42] = ALLOW,             /* SO_PEEK_OFF */
    [45] = ALLOW,             /* SO_SELECT_ERR_QUEUE */
    [46] = PRIVILEGED,        /* SO_BUSY_POLL: polls the host's devices */
    [47] = ALLOW,             /* SO_MAX_PACING_RATE */
    [49] = ALLOW,             /* SO_INCOMING_CPU */
    [50] = PRIVILEGED,        /* SO_ATTACH_BPF */
    [51] = PRIVILEGED,        /* SO_ATTACH_REUSEPORT_CBPF: groups on host ports may mix endpoints */
    [52] = PRIVILEGED,        /* SO_ATTACH_REUSEPORT_EBPF */
    [53] = ALLOW,             /* SO_CNX_ADVICE */
    [60] = ALLOW,             /* SO_ZEROCOPY */
    [61] = PRIVILEGED,        /* SO_TXTIME */
    [62] = PRIVILEGED,        /* SO_BINDTOIFINDEX */
    [63] = ALLOW,             /* SO_TIMESTAMP_NEW */
    [64] = ALLOW,             /* SO_TIMESTAMPNS_NEW */
    [65] = RULE_TIMESTAMPING, /* SO_TIMESTAMPING_NEW */
    [66] = ALLOW,             /* SO_RCVTIMEO_NEW */
    [67] = ALLOW,             /* SO_SNDTIMEO_NEW */
    [68] = PRIVILEGED,        /* SO_DETACH_REUSEPORT_BPF */
    [69] = PRIVILEGED,        /* SO_PREFER_BUSY_POLL */
    [70] = PRIVILEGED,        /* SO_BUSY_POLL_BUDGET */
    [74] = ALLOW,             /* SO_TXREHASH */
    [75] = PRIVILEGED,        /* SO_RCVMARK */
};

/* Not here: SO_BINDTODEVICE, SO_MARK, SO_INCOMING_NAPI_ID, SO_BINDTOIFINDEX, SO_NETNS_COOKIE tell of the host. */
static const __u8 get_socket[MAX_OPTION] = {
    [1] = ALLOW,  /* SO_DEBUG */
    [2] = ALLOW,  /* SO_REUSEADDR */
    [3] = ALLOW,  /* SO_TYPE */
    [4] = ALLOW,  /* SO_ERROR */
    [5] = ALLOW,  /* SO_DONTROUTE */
    [6] = ALLOW,  /* SO_BROADCAST */
    [7] = ALLOW,  /* SO_SNDBUF */
    [8] = ALLOW,  /* SO_RCVBUF */
    [9] = ALLOW,  /* SO_KEEPALIVE */
    [10] = ALLOW, /* SO_OOBINLINE */
    [11] = ALLOW, /* SO_NO_CHECK */
    [12] = ALLOW, /* SO_PRIORITY */
    [13] = ALLOW, /* SO_LINGER */
    [14] = ALLOW, /* SO_BSDCOMPAT */
    [15] = ALLOW, /* SO_REUSEPORT */
    [16] = ALLOW, /* SO_PASSCRED */
    [17] = ALLOW, /* SO_PEERCRED */
    [18] = ALLOW, /* SO_RCVLOWAT */
    [19] = ALLOW, /* SO_SNDLOWAT */
    [20] = ALLOW, /* SO_RCVTIMEO */
    [21] = ALLOW, /* SO_SNDTIMEO */
    [28] = ALLOW, /* SO_PEERNAME: by the hooks of names.bpf.h */
    [29] = ALLOW, /* SO_TIMESTAMP */
    [30] = ALLOW, /* SO_ACCEPTCONN */
    [31] = ALLOW, /* SO_PEERSEC */
    [34] = ALLOW, /* SO_PASSSEC */
    [35] = ALLOW, /* SO_TIMESTAMPNS */
    [37] = ALLOW, /* SO_TIMESTAMPING */
    [38] = ALLOW, /* SO_PROTOCOL */
    [39] = ALLOW, /* SO_DOMAIN */
    [40] = ALLOW, /* SO_RXQ_OVFL */
    [42] = ALLOW, /* SO_PEEK_OFF */
    [44] = ALLOW, /* SO_LOCK_FILTER */
    [45] = ALLOW, /* SO_SELECT_ERR_QUEUE */
    [46] = ALLOW, /* SO_BUSY_POLL */
    [47] = ALLOW, /* SO_MAX_PACING_RATE */
    [48] = ALLOW, /* SO_BPF_EXTENSIONS */
    [49] = ALLOW, /* SO_INCOMING_CPU */
    [55] = ALLOW, /* SO_MEMINFO */
    [57] = ALLOW, /* SO_COOKIE */
    [59] = ALLOW, /* SO_PEERGROUPS */
    [60] = ALLOW, /* SO_ZEROCOPY */
    [63] = ALLOW, /* SO_TIMESTAMP_NEW */
    [64] = ALLOW, /* SO_TIMESTAMPNS_NEW */
    [65] = ALLOW, /* SO_TIMESTAMPING_NEW */
    [66] = ALLOW, /* SO_RCVTIMEO_NEW */
    [67] = ALLOW, /* SO_SNDTIMEO_NEW */
    [69] = ALLOW, /* SO_PREFER_BUSY_POLL */
    [72] = ALLOW, /* SO_BUF_LOCK */
    [74] = ALLOW, /* SO_TXREHASH */
};

/* include/uapi/linux/in.h. Not here: IP_PKTOPTIONS would show underlay addresses, IP_LOCAL_PORT_RANGE picks host ports.
 */
static const __u8 set_ip[MAX_OPTION] = {
    [1] = RULE_TOS,    /* IP_TOS */
    [2] = ALLOW,       /* IP_TTL */
    [4] = PRIVILEGED,  /* IP_OPTIONS: source routes */
    [5] = PRIVILEGED,  /* IP_ROUTER_ALERT */
    [6] = ALLOW,       /* IP_RECVOPTS */
    [7] = ALLOW,       /* IP_RETOPTS */
    [8] = RULE_IGNORE, /* IP_PKTINFO: of datagrams, but for IP_PKTOPTIONS */
    [10] = ALLOW,      /* IP_MTU_DISCOVER */
    [11] = ALLOW,      /* IP_RECVERR: TCP queues no ICMP errors */
    [12] = ALLOW,      /* IP_RECVTTL */
    [13] = ALLOW,      /* IP_RECVTOS */
    [15] = PRIVILEGED, /* IP_FREEBIND */
    [16] = PRIVILEGED, /* IP_IPSEC_POLICY */
    [17] = PRIVILEGED, /* IP_XFRM_POLICY */
    [19] = PRIVILEGED, /* IP_TRANSPARENT */
    [21] = ALLOW,      /* IP_MINTTL */
    [24] = ALLOW,      /* IP_BIND_ADDRESS_NO_PORT */
    [26] = ALLOW,      /* IP_RECVERR_RFC4884 */
    [32] = ALLOW,      /* IP_MULTICAST_IF: the kernel refuses it for streams */
    [33] = ALLOW,      /* IP_MULTICAST_TTL: the same */
    [34] = ALLOW,      /* IP_MULTICAST_LOOP */
    [35] = ALLOW,      /* IP_ADD_MEMBERSHIP: the same */
    [36] = ALLOW,      /* IP_DROP_MEMBERSHIP: the same */
    [49] = ALLOW,      /* IP_MULTICAST_ALL */
    [50] = PRIVILEGED, /* IP_UNICAST_IF */
    [64] = PRIVILEGED, /* IPT_SO_SET_REPLACE */
    [65] = PRIVILEGED, /* IPT_SO_SET_ADD_COUNTERS */
};

/* Not here: IP_PKTOPTIONS, SO_ORIGINAL_DST and what names devices. */
static const __u8 get_ip[MAX_OPTION] = {
    [1] = ALLOW,  /* IP_TOS */
    [2] = ALLOW,  /* IP_TTL */
    [4] = ALLOW,  /* IP_OPTIONS: sshd asks, and wants to hear of none */
    [6] = ALLOW,  /* IP_RECVOPTS */
    [7] = ALLOW,  /* IP_RETOPTS */
    [8] = ALLOW,  /* IP_PKTINFO */
    [10] = ALLOW, /* IP_MTU_DISCOVER */
    [11] = ALLOW, /* IP_RECVERR */
    [12] = ALLOW, /* IP_RECVTTL */
    [13] = ALLOW, /* IP_RECVTOS */
    [14] = ALLOW, /* IP_MTU */
    [15] = ALLOW, /* IP_FREEBIND */
    [21] = ALLOW, /* IP_MINTTL */
    [24] = ALLOW, /* IP_BIND_ADDRESS_NO_PORT */
    [26] = ALLOW, /* IP_RECVERR_RFC4884 */
    [33] = ALLOW, /* IP_MULTICAST_TTL */
    [34] = ALLOW, /* IP_MULTICAST_LOOP */
    [49] = ALLOW, /* IP_MULTICAST_ALL */
    [52] = ALLOW, /* IP_PROTOCOL */
};

/* include/uapi/linux/in6.h, ipv6.h. Not here: IPV6_ADDRFORM, IPV6_PKTINFO, the options of RFC 2292. */
static const __u8 set_ip6[MAX_OPTION] = {
    [16] = ALLOW,       /* IPV6_UNICAST_HOPS */
    [18] = ALLOW,       /* IPV6_MULTICAST_HOPS */
    [19] = ALLOW,       /* IPV6_MULTICAST_LOOP */
    [23] = ALLOW,       /* IPV6_MTU_DISCOVER */
    [24] = ALLOW,       /* IPV6_MTU */
    [25] = ALLOW,       /* IPV6_RECVERR */
    [26] = ALLOW,       /* IPV6_V6ONLY */
    [34] = PRIVILEGED,  /* IPV6_IPSEC_POLICY */
    [35] = PRIVILEGED,  /* IPV6_XFRM_POLICY */
    [49] = RULE_IGNORE, /* IPV6_RECVPKTINFO: of datagrams, but for IPV6_2292PKTOPTIONS */
    [51] = ALLOW,       /* IPV6_RECVHOPLIMIT */
    [53] = ALLOW,       /* IPV6_RECVHOPOPTS */
    [54] = PRIVILEGED,  /* IPV6_HOPOPTS */
    [55] = PRIVILEGED,  /* IPV6_RTHDRDSTOPTS */
    [56] = ALLOW,       /* IPV6_RECVRTHDR */
    [57] = PRIVILEGED,  /* IPV6_RTHDR: source routes */
    [58] = ALLOW,       /* IPV6_RECVDSTOPTS */
    [59] = PRIVILEGED,  /* IPV6_DSTOPTS */
    [60] = ALLOW,       /* IPV6_RECVPATHMTU */
    [62] = ALLOW,       /* IPV6_DONTFRAG */
    [64] = PRIVILEGED,  /* IP6T_SO_SET_REPLACE */
    [65] = PRIVILEGED,  /* IP6T_SO_SET_ADD_COUNTERS */
    [66] = ALLOW,       /* IPV6_RECVTCLASS */
    [67] = RULE_TOS,    /* IPV6_TCLASS */
    [70] = ALLOW,       /* IPV6_AUTOFLOWLABEL */
    [72] = ALLOW,       /* IPV6_ADDR_PREFERENCES */
    [73] = ALLOW,       /* IPV6_MINHOPCOUNT */
    [75] = PRIVILEGED,  /* IPV6_TRANSPARENT */
    [76] = PRIVILEGED,  /* IPV6_UNICAST_IF */
    [78] = PRIVILEGED,  /* IPV6_FREEBIND */
};

static const __u8 get_ip6[MAX_OPTION] = {
    [1] = ALLOW,  /* IPV6_ADDRFORM: the family */
    [16] = ALLOW, /* IPV6_UNICAST_HOPS */
    [18] = ALLOW, /* IPV6_MULTICAST_HOPS */
    [19] = ALLOW, /* IPV6_MULTICAST_LOOP */
    [23] = ALLOW, /* IPV6_MTU_DISCOVER */
    [24] = ALLOW, /* IPV6_MTU */
    [25] = ALLOW, /* IPV6_RECVERR */
    [26] = ALLOW, /* IPV6_V6ONLY */
    [49] = ALLOW, /* IPV6_RECVPKTINFO */
    [51] = ALLOW, /* IPV6_RECVHOPLIMIT */
    [53] = ALLOW, /* IPV6_RECVHOPOPTS */
    [56] = ALLOW, /* IPV6_RECVRTHDR */
    [58] = ALLOW, /* IPV6_RECVDSTOPTS */
    [60] = ALLOW, /* IPV6_RECVPATHMTU */
    [62] = ALLOW, /* IPV6_DONTFRAG */
    [66] = ALLOW, /* IPV6_RECVTCLASS */
    [67] = ALLOW, /* IPV6_TCLASS */
    [70] = ALLOW, /* IPV6_AUTOFLOWLABEL */
    [72] = ALLOW, /* IPV6_ADDR_PREFERENCES */
    [73] = ALLOW, /* IPV6_MINHOPCOUNT */
    [78] = ALLOW, /* IPV6_FREEBIND */
};

/* include/uapi/linux/tcp.h. Not here: TCP_MD5SIG and TCP-AO want the space of the SYN's option; TCP_SAVE_SYN shows it.
 */
static const __u8 set_tcp[MAX_OPTION] = {
    [1] = ALLOW,           /* TCP_NODELAY */
    [2] = ALLOW,           /* TCP_MAXSEG */
    [3] = ALLOW,           /* TCP_CORK */
    [4] = ALLOW,           /* TCP_KEEPIDLE */
    [5] = ALLOW,           /* TCP_KEEPINTVL */
    [6] = ALLOW,           /* TCP_KEEPCNT */
    [7] = ALLOW,           /* TCP_SYNCNT */
    [8] = ALLOW,           /* TCP_LINGER2 */
    [9] = ALLOW,           /* TCP_DEFER_ACCEPT */
    [10] = ALLOW,          /* TCP_WINDOW_CLAMP */
    [12] = ALLOW,          /* TCP_QUICKACK */
    [13] = ALLOW,          /* TCP_CONGESTION: of those that the host allows to everybody */
    [16] = ALLOW,          /* TCP_THIN_LINEAR_TIMEOUTS */
    [17] = ALLOW,          /* TCP_THIN_DUPACK */
    [18] = ALLOW,          /* TCP_USER_TIMEOUT */
    [19] = PRIVILEGED,     /* TCP_REPAIR: makes connections out of nothing */
    [20] = PRIVILEGED,     /* TCP_REPAIR_QUEUE */
    [21] = PRIVILEGED,     /* TCP_QUEUE_SEQ */
    [22] = PRIVILEGED,     /* TCP_REPAIR_OPTIONS */
    [23] = ALLOW,          /* TCP_FASTOPEN: of a listener, for clients from outside */
    [24] = PRIVILEGED,     /* TCP_TIMESTAMP */
    [25] = ALLOW,          /* TCP_NOTSENT_LOWAT */
    [29] = PRIVILEGED,     /* TCP_REPAIR_WINDOW */
    [30] = RULE_FAST_OPEN, /* TCP_FASTOPEN_CONNECT */
    [31] = RULE_ULP,       /* TCP_ULP */
    [33] = ALLOW,          /* TCP_FASTOPEN_KEY: of one listener */
    [34] = RULE_FAST_OPEN, /* TCP_FASTOPEN_NO_COOKIE */
    [36] = ALLOW,          /* TCP_INQ */
    [37] = ALLOW,          /* TCP_TX_DELAY */
    [44] = ALLOW,          /* TCP_RTO_MAX_MS */
    [45] = ALLOW,          /* TCP_RTO_MIN_US */
    [46] = ALLOW,          /* TCP_DELACK_MAX_US */
};

/* Not here: TCP_SAVED_SYN shows the option and underlay addresses, TCP_FASTOPEN_KEY the host's key. */
static const __u8 get_tcp[MAX_OPTION] = {
    [1] = ALLOW,  /* TCP_NODELAY */
    [2] = ALLOW,  /* TCP_MAXSEG */
    [3] = ALLOW,  /* TCP_CORK */
    [4] = ALLOW,  /* TCP_KEEPIDLE */
    [5] = ALLOW,  /* TCP_KEEPINTVL */
    [6] = ALLOW,  /* TCP_KEEPCNT */
    [7] = ALLOW,  /* TCP_SYNCNT */
    [8] = ALLOW,  /* TCP_LINGER2 */
    [9] = ALLOW,  /* TCP_DEFER_ACCEPT */
    [10] = ALLOW, /* TCP_WINDOW_CLAMP */
    [11] = ALLOW, /* TCP_INFO */
    [12] = ALLOW, /* TCP_QUICKACK */
    [13] = ALLOW, /* TCP_CONGESTION */
    [16] = ALLOW, /* TCP_THIN_LINEAR_TIMEOUTS */
    [17] = ALLOW, /* TCP_THIN_DUPACK */
    [18] = ALLOW, /* TCP_USER_TIMEOUT */
    [19] = ALLOW, /* TCP_REPAIR */
    [23] = ALLOW, /* TCP_FASTOPEN */
    [24] = ALLOW, /* TCP_TIMESTAMP */
    [25] = ALLOW, /* TCP_NOTSENT_LOWAT */
    [26] = ALLOW, /* TCP_CC_INFO */
    [30] = ALLOW, /* TCP_FASTOPEN_CONNECT */
    [31] = ALLOW, /* TCP_ULP */
    [34] = ALLOW, /* TCP_FASTOPEN_NO_COOKIE */
    [35] = ALLOW, /* TCP_ZEROCOPY_RECEIVE */
    [36] = ALLOW, /* TCP_INQ */
    [37] = ALLOW, /* TCP_TX_DELAY */
    [43] = ALLOW, /* TCP_IS_MPTCP */
    [44] = ALLOW, /* TCP_RTO_MAX_MS */
    [45] = ALLOW, /* TCP_RTO_MIN_US */
    [46] = ALLOW, /* TCP_DELACK_MAX_US */
};

#undef ALLOW
#undef PRIVILEGED

/* include/uapi/linux/tls.h: TLS_TX, TLS_RX and what refines them. */
static __always_inline enum rule tls_rule(__u32 option) {
    return option >= 1 && option <= 5 ? RULE_ALLOW : RULE_UNKNOWN;
}

static __always_inline enum rule set_rule(int level, __u32 option) {
    if (option >= MAX_OPTION)
        return RULE_UNKNOWN;
    switch (level) {
    case SOL_TCP:
        return set_tcp[option];
    case SOL_SOCKET:
        return set_socket[option];
    case SOL_IP:
        return set_ip[option];
    case SOL_IPV6:
        return set_ip6[option];
    case SOL_TLS:
        return tls_rule(option);
    default:
        return RULE_UNKNOWN;
    }
}

static __always_inline bool may_read(int level, __u32 option) {
    if (option >= MAX_OPTION)
        return false;
    switch (level) {
    case SOL_SOCKET:
        return get_socket[option] == RULE_ALLOW;
    case SOL_TCP:
        return get_tcp[option] == RULE_ALLOW;
    case SOL_IP:
        return get_ip[option] == RULE_ALLOW;
    case SOL_IPV6:
        return get_ip6[option] == RULE_ALLOW;
    case SOL_TLS:
        return tls_rule(option) == RULE_ALLOW;
    default:
        return false;
    }
}

/* Value of bpf_sockopt.optlen: the call has been dealt with. */
#define DEALT_WITH (-1)
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
    case RULE_TOS:
        return *value <= 0xff && *value >= FIRST_CONTROL_TOS ? refuse_option(EPERM) : 1;
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

SEC("cgroup/setsockopt")
int sf_setsockopt(struct bpf_sockopt *ctx) {
    enum rule rule = set_rule(ctx->level, ctx->optname);

    /* Most calls end here, before the look-up. */
    if (rule == RULE_ALLOW)
        return 1;
    if (!ctx->sk || !bpf_sk_storage_get(&sockets, ctx->sk, 0, 0))
        return 1;
    switch (rule) {
    case RULE_UNKNOWN:
        return refuse_option(ENOPROTOOPT);
    case RULE_PRIVILEGED:
        return refuse_option(EPERM);
    case RULE_IGNORE:
        ctx->optlen = DEALT_WITH;
        return 1;
    default:
        return set_by_value(ctx, rule);
    }
}

/* The kernel shows programs the first page of a value. */
#define MAX_HIDDEN_BYTES 4096

SEC("cgroup/getsockopt")
int sf_getsockopt(struct bpf_sockopt *ctx) {
    __u8 *value = ctx->optval;

    if (may_read(ctx->level, ctx->optname) || ctx->retval < 0)
        return 1;
    if (!ctx->sk || !bpf_sk_storage_get(&sockets, ctx->sk, 0, 0))
        return 1;
    for (__u32 i = 0; i < MAX_HIDDEN_BYTES; i++) {
        if ((void *)(value + i + 1) > ctx->optval_end)
            break;
        value[i] = 0;
    }
    count(SF_COUNTER_sockopts_hidden);
    return 1;
}

#endif
