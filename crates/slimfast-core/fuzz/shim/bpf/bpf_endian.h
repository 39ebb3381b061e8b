/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
#ifndef SLIMFAST_FUZZ_BPF_ENDIAN_H
#define SLIMFAST_FUZZ_BPF_ENDIAN_H

#include <endian.h>

#define bpf_htons htobe16
#define bpf_ntohs be16toh
#define bpf_htonl htobe32
#define bpf_ntohl be32toh

#endif
