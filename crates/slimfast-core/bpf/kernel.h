/* SPDX-License-Identifier: (GPL-2.0-only OR Apache-2.0) */
/*
 * The few fields of the kernel's own structures that the programs read. Offsets are relocated to the running kernel
 * when the programs are loaded (CO-RE), so only names and types matter here.
 */
#ifndef SLIMFAST_KERNEL_H
#define SLIMFAST_KERNEL_H

#include <linux/types.h>
#include <stdbool.h>

#define AF_INET      2
#define AF_INET6     10
#define SOL_SOCKET   1
#define SO_REUSEADDR 2
#define SO_REUSEPORT 15
#define IPPROTO_TCP  6
/* include/uapi/linux/tcp.h */
#define TCP_FASTOPEN_NO_COOKIE 34
#define NF_ACCEPT              1
/* enum sock_flags (include/net/sock.h): a FIN was received. */
#define SOCK_DONE 1

/* include/uapi/linux/capability.h */
#define CAP_NET_BIND_SERVICE 10

/* include/uapi/asm-generic/errno*.h */
#define EPERM         1
#define ENOENT        2
#define ENOMEM        12
#define EACCES        13
#define EINVAL        22
#define ENFILE        23
#define ENOPROTOOPT   92
#define EADDRINUSE    98
#define EADDRNOTAVAIL 99
#define ENETDOWN      100
#define ENETUNREACH   101
#define ENOBUFS       105
#define ECONNREFUSED  111
#define EHOSTUNREACH  113

#pragma clang attribute push(__attribute__((preserve_access_index)), apply_to = record)

struct sock_common {
    unsigned short skc_family;
    volatile unsigned char skc_state;
    __be32 skc_daddr;
    __be32 skc_rcv_saddr;
    __be16 skc_dport;
    __u16 skc_num;
    unsigned long skc_flags;
};

struct sock {
    struct sock_common __sk_common;
    int sk_err;
};

struct inet_sock {
    struct sock sk;
    unsigned long inet_flags;
};

/* Bit numbers of inet_flags (include/net/inet_sock.h). */
enum {
    INET_FLAGS_BIND_ADDRESS_NO_PORT = 18,
};

struct inet_connection_sock {
    struct inet_sock icsk_inet;
};

struct tcp_sock {
    struct inet_connection_sock inet_conn;
    __u32 srtt_us;
    __u64 bytes_received;
    __u64 bytes_sent;
    __u64 bytes_retrans;
};

struct net_device;

struct sk_buff {
    struct net_device *dev;
    unsigned int len;
    unsigned int data_len;
    __u16 transport_header;
    __u16 network_header;
    unsigned char *head;
    unsigned char *data;
};

struct iphdr {
    __u8 protocol;
    __be32 saddr;
    __be32 daddr;
};

struct tcphdr {
    __be16 source;
    __be16 dest;
    __u16 doff : 4;
    __u16 syn : 1;
    __u16 ack : 1;
};

struct nf_hook_state;

struct bpf_nf_ctx {
    const struct nf_hook_state *state;
    struct sk_buff *skb;
};

typedef struct {
    __u32 val;
} kuid_t;

typedef struct {
    __u64 val;
} kernel_cap_t;

struct user_namespace {
    struct user_namespace *parent;
    int level;
    kuid_t owner;
};

struct netns_ipv4 {
    int sysctl_ip_prot_sock;
};

struct net {
    struct user_namespace *user_ns;
    struct netns_ipv4 ipv4;
    __u64 net_cookie;
};

typedef struct {
    struct net *net;
} possible_net_t;

struct net_device {
    possible_net_t nd_net;
};

struct nsproxy {
    struct net *net_ns;
};

struct cred {
    kuid_t euid;
    kernel_cap_t cap_effective;
    struct user_namespace *user_ns;
};

struct task_struct {
    const struct cred *cred;
    struct nsproxy *nsproxy;
};

struct seq_file;

struct bpf_iter_meta {
    struct seq_file *seq;
    __u64 session_id;
    __u64 seq_num;
};

struct bpf_iter__tcp {
    struct bpf_iter_meta *meta;
    struct sock_common *sk_common;
};

#pragma clang attribute pop

#endif
