/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/* limits.bpf.h has a program for a tracepoint, which is not run here. */
#ifndef SLIMFAST_FUZZ_BPF_TRACING_H
#define SLIMFAST_FUZZ_BPF_TRACING_H

#define BPF_PROG(name, arguments...) name(__u64 *ctx, ##arguments)

#endif
