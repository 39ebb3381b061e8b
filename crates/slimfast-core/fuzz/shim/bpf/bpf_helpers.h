/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * libbpf's header of the same name, for user space: maps are arrays of a few entries, the packet is one buffer, and
 * what the kernel would check is checked by assertions and by the sanitizers. ../../wire.c has the functions.
 */
#ifndef SLIMFAST_FUZZ_BPF_HELPERS_H
#define SLIMFAST_FUZZ_BPF_HELPERS_H

#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>

#define SEC(name)
#define __ksym
#undef __always_inline
#define __always_inline     inline __attribute__((always_inline))
#define __noinline          __attribute__((noinline))
#define __uint(name, value) int(*name)[value]
#define __type(name, value) typeof(value) *name

struct bpf_dynptr;

void *fuzz_lookup(const void *map, const void *key, size_t key_size, size_t value_size);
long fuzz_update(const void *map, const void *key, size_t key_size, const void *value, size_t value_size, __u64 flags);
long fuzz_delete(const void *map, const void *key, size_t key_size);
void *fuzz_reserve(size_t size);
void fuzz_submit(void *record);
__u64 fuzz_unread(void);
long fuzz_load_bytes(__u32 offset, void *to, __u32 size);
long fuzz_store_bytes(__u32 offset, const void *from, __u32 size);
long fuzz_assign(struct bpf_sock *sk);
__u64 bpf_ktime_get_ns(void);
__u64 bpf_jiffies64(void);
long bpf_probe_read_kernel(void *to, __u32 size, const void *from);

#define bpf_map_lookup_elem(map, at) fuzz_lookup(map, at, sizeof(*(map)->key), sizeof(*(map)->value))
#define bpf_map_update_elem(map, at, from, flags)                                                                      \
    fuzz_update(map, at, sizeof(*(map)->key), from, sizeof(*(map)->value), flags)
#define bpf_map_delete_elem(map, at) fuzz_delete(map, at, sizeof(*(map)->key))

#define bpf_ringbuf_reserve(ring, size, flags) fuzz_reserve(size)
#define bpf_ringbuf_submit(record, flags)      ((void)(flags), fuzz_submit(record))
#define bpf_ringbuf_query(ring, what)          fuzz_unread()

#define bpf_skb_load_bytes(ctx, offset, to, size)           fuzz_load_bytes(offset, to, size)
#define bpf_skb_store_bytes(ctx, offset, from, size, flags) fuzz_store_bytes(offset, from, size)
/* Sums are the kernel's; their places must be in the packet. */
#define bpf_l3_csum_replace(ctx, offset, from, to, size) fuzz_load_bytes(offset, &(__u16){0}, sizeof(__u16))
#define bpf_l4_csum_replace(ctx, offset, from, to, flags)                                                              \
    ((void)(to), fuzz_load_bytes(offset, &(__u16){0}, sizeof(__u16)))
#define bpf_csum_diff(from, from_size, to, to_size, seed) ((void)(from), (void)(to), (__s64)(seed))
#define bpf_redirect(device, flags)                       TC_ACT_REDIRECT

/* No socket sends, and none is found. */
#define bpf_sk_fullsock(sk)                                     (sk)
#define bpf_sk_storage_get(map, sk, from, flags)                ((void)(from), (void *)0)
#define bpf_skc_lookup_tcp(ctx, tuple, size, namespace_, flags) ((void)(tuple), (struct bpf_sock *)0)
#define bpf_sk_release(sk)                                      ((void)(sk))
#define bpf_sk_assign(ctx, sk, flags)                           fuzz_assign(sk)

#define bpf_spin_lock(lock)    ((void)(lock))
#define bpf_spin_unlock(lock)  ((void)(lock))
#define bpf_set_retval(retval) ((void)(retval))

#endif
