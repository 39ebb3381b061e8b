/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * Who may connect to whom: both ends ask here, with the same question, so a node that is behind does not open what the
 * other one has closed.
 *
 * Fails closed: in a network with policies, whoever is not known is denied. Networks without policies, and nodes that
 * have no network with any, pay one load.
 */
#ifndef SLIMFAST_POLICY_BPF_H
#define SLIMFAST_POLICY_BPF_H

#include "maps.bpf.h"

/* In a section of its own: the core writes it whole. How many entries `policies` has. */
SEC(".data.policy") __u32 networks_with_policies = 0;

/* `port`: the destination's, host order. */
static __always_inline bool is_allowed(__u32 vni, __u32 from_id, __u32 to_id, __u16 port) {
    struct sf_endpoint_key from_key = {.vni = vni, .id = from_id};
    struct sf_endpoint_key to_key = {.vni = vni, .id = to_id};
    struct sf_verdict_key key = {.prefix_length = SF_VERDICT_BITS, .vni = vni, .port = bpf_htons(port)};
    const struct sf_policy *policy;
    const __u32 *from, *to;
    const __u8 *verdict;

    if (!*(volatile __u32 *)&networks_with_policies)
        return true;
    policy = bpf_map_lookup_elem(&policies, &vni);
    /* What goes on within a container is nobody else's business. */
    if (!policy || from_id == to_id)
        return true;
    from = bpf_map_lookup_elem(&identities, &from_key);
    to = bpf_map_lookup_elem(&identities, &to_key);
    if (!from || !to)
        return false;
    key.from = *from;
    key.to = *to;
    verdict = bpf_map_lookup_elem(&verdicts, &key);
    return verdict ? *verdict : !policy->is_default_deny;
}

/*
 * The same for somebody who is known by address only, as in a SYN. `via`: the node that it comes from, which must be
 * that endpoint's (0: not asked).
 */
static __always_inline bool is_allowed_from(__u32 vni, __be32 from_address, __be32 via, __u32 to_id, __u16 port) {
    struct sf_address_key key = {.vni = vni, .address = from_address};
    const struct sf_peer *peer;

    if (!*(volatile __u32 *)&networks_with_policies || !bpf_map_lookup_elem(&policies, &vni))
        return true;
    peer = bpf_map_lookup_elem(&peers, &key);
    if (!peer || (via && via != peer->node))
        return false;
    return is_allowed(vni, peer->id, to_id, port);
}

/* The same for somebody who is known by id, which needs no look-up: its address has been found by it. */
static __always_inline bool is_allowed_from6(__u32 vni, __u32 from_id, const struct sf_source6 *from, __be32 via,
                                             __u32 to_id, __u16 port) {
    if (!*(volatile __u32 *)&networks_with_policies || !bpf_map_lookup_elem(&policies, &vni))
        return true;
    return (!via || via == from->node) && is_allowed(vni, from_id, to_id, port);
}

#endif
