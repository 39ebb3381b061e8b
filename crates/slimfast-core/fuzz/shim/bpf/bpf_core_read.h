/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* libbpf's header of the same name: the kernel's structures are those of bpf/kernel.h, filled from the packet. */
#ifndef SLIMFAST_FUZZ_BPF_CORE_READ_H
#define SLIMFAST_FUZZ_BPF_CORE_READ_H

enum fuzz_type { FUZZ_IPHDR, FUZZ_TCPHDR };

#define bpf_core_type_id_kernel(type)         _Generic((type *)0, struct iphdr *: FUZZ_IPHDR, struct tcphdr *: FUZZ_TCPHDR)
#define BPF_CORE_READ_BITFIELD(record, field) ((record)->field)

#endif
