/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Which IPv6 packets may come out of an endpoint's namespace: those from its own address. The strict reverse path check
 * that does it for IPv4 (rp_filter) is not there for IPv6.
 */
#ifndef SLIMFAST_SOURCE_BPF_H
#define SLIMFAST_SOURCE_BPF_H

#include "plain.bpf.h"

SEC("tc")
int sf_from_endpoint(struct __sk_buff *ctx) {
    struct sf_wire_key key = {.device = ctx->ifindex};
    const struct sf_address6 *own;
    const struct sk_buff *skb;
    struct sf_address6 source;

    if (ctx->protocol != bpf_htons(ETHERTYPE_IPV6))
        return TC_ACT_OK;
    skb = bpf_cast_to_kern_ctx(ctx);
    key.router = skb->dev->nd_net.net->net_cookie;
    own = bpf_map_lookup_elem(&wires, &key);
    if (own && !bpf_skb_load_bytes(ctx, IP6_SOURCE, &source, sizeof(source)) && is_equal6(&source, own))
        return TC_ACT_OK;
    count(SF_COUNTER_sources_forged);
    return TC_ACT_SHOT;
}

#endif
