// SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0)
/*
 * SlimFast's data path in the kernel, one object: each part is a header of its own, so that they share maps and inline
 * functions without a linker.
 *
 *   limits.bpf.h    what an endpoint may have of the node
 *   policy.bpf.h    who may connect to whom
 *   egress.bpf.h    who may leave the overlay
 *   thinning.bpf.h  which connections are told of
 *   events.bpf.h    writing what is told
 *   packet.bpf.h    headers as they are on the wire
 *   handshakes.bpf.h  what SYNs said, until their handshakes end
 *   plain.bpf.h     TCP with plain peers, over a network's router
 *   source.bpf.h    IPv6 sources of what leaves an endpoint's namespace
 *   connect.bpf.h   connect(2): where a connection goes
 *   ports.bpf.h     who has which port of which endpoint
 *   bind.bpf.h      bind(2), close(2)
 *   options.bpf.h   setsockopt(2), getsockopt(2)
 *   names.bpf.h     getsockname(2), getpeername(2), accept(2)
 *   tuples.bpf.h    no two connections with the same names
 *   sockops.bpf.h   the SYN's option, listeners, accepted sockets, events
 *   dispatch.bpf.h  inbound SYNs to their listener
 *   iterate.bpf.h   listing and cutting
 */
#include "maps.bpf.h"
#include "thinning.bpf.h"
#include "events.bpf.h"
#include "limits.bpf.h"
#include "bind.bpf.h"
#include "policy.bpf.h"
#include "egress.bpf.h"
#include "plain.bpf.h"
#include "source.bpf.h"
#include "connect.bpf.h"
#include "options.bpf.h"
#include "names.bpf.h"
#include "sockops.bpf.h"
#include "dispatch.bpf.h"
#include "iterate.bpf.h"

/* Helpers that the kernel reserves for GPL-compatible programs are used. */
char LICENSE[] SEC("license") = "GPL";
