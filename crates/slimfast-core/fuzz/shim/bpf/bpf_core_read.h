/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* libbpf's header of the same name: nothing is relocated. */
#ifndef SLIMFAST_FUZZ_BPF_CORE_READ_H
#define SLIMFAST_FUZZ_BPF_CORE_READ_H

#define bpf_core_type_id_kernel(type)         0
#define BPF_CORE_READ_BITFIELD(record, field) ((record)->field)

#endif
