/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * setsockopt(2): what wants the space of the SYN's option is declined as where the peer, or the kernel, does not have
 * it.
 *
 * Fast Open: TCP_FASTOPEN_CONNECT succeeds and changes nothing, so that connect(2) makes its handshake as ever. A write
 * with MSG_FASTOPEN is not seen here; sockets are created with TCP_FASTOPEN_NO_COOKIE, which keeps the cookie's option
 * out of the SYN: its data, which a peer without Fast Open passes over, is sent again once the connection stands.
 */
#ifndef SLIMFAST_OPTIONS_BPF_H
#define SLIMFAST_OPTIONS_BPF_H

#include "maps.bpf.h"

/* include/uapi/linux/tcp.h */
#define TCP_MD5SIG             14
#define TCP_FASTOPEN_CONNECT   30
#define TCP_MD5SIG_EXT         32
#define TCP_FASTOPEN_NO_COOKIE 34
#define TCP_AO_ADD_KEY         38

/* Value of bpf_sockopt.optlen: the call has been dealt with. */
#define DEALT_WITH (-1)

SEC("cgroup/setsockopt")
int sf_setsockopt(struct bpf_sockopt *ctx) {
    const int *value;

    /* Most calls end here, before the look-up. */
    if (ctx->level != IPPROTO_TCP)
        return 1;
    switch (ctx->optname) {
    case TCP_FASTOPEN_CONNECT:
    case TCP_FASTOPEN_NO_COOKIE:
    case TCP_MD5SIG:
    case TCP_MD5SIG_EXT:
    case TCP_AO_ADD_KEY:
        break;
    default:
        return 1;
    }
    if (!ctx->sk || !bpf_sk_storage_get(&sockets, ctx->sk, 0, 0))
        return 1;
    if (ctx->optname != TCP_FASTOPEN_CONNECT && ctx->optname != TCP_FASTOPEN_NO_COOKIE) {
        /* As a kernel that is built without. */
        bpf_set_retval(-ENOPROTOOPT);
        return 0;
    }
    value = ctx->optval;
    /* The kernel's own errors for what is no boolean, or comes too late. */
    if ((void *)(value + 1) > ctx->optval_end || (*value != 0 && *value != 1) || ctx->sk->state != BPF_TCP_CLOSE)
        return 1;
    ctx->optlen = DEALT_WITH;
    return 1;
}

#endif
