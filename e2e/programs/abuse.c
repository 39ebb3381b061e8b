/*
 * What a hostile container may try with its host sockets. Each attempt is made on a fresh socket of each address family
 * that it fits: directly, by a child that inherits the socket, and by a process that is sent it. One line of JSON each:
 *
 *   {"row":4,"attempt":"SO_MARK","family":"inet","way":"direct","achieved":false,"error":"EPERM"}
 *
 * `achieved` is what the attacker wanted, not that a call returned 0. The program knows nothing of what protects its
 * surroundings: run in the node's own namespace, where nothing does, the same attempts must be achieved.
 *
 *   abuse serve PORT              says "host" to whoever connects; of the node itself
 *   abuse attempts PORT ADDRESS   ADDRESS: the node's; PORT: of that server
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <linux/bpf.h>
#include <linux/errqueue.h>
#include <linux/filter.h>
#include <linux/net_tstamp.h>
#include <linux/sockios.h>
#include <net/if.h>
#include <netinet/in.h>
#include <netinet/ip.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum family { INET, INET6, MAPPED, FAMILIES };
static const char *const family_names[] = {"inet", "inet6", "mapped"};
#define ON(family)   (1 << (family))
#define EVERY_FAMILY (ON(INET) | ON(INET6) | ON(MAPPED))

enum way { DIRECT, FORK, SCM, WAYS };
static const char *const way_names[] = {"direct", "fork", "scm"};

static int host_port;
static struct in_addr node_address;

/* What came of an attempt: `error` is the errno of the call that ended it, 0 if none did. */
struct outcome {
    int achieved;
    int error;
};

static struct outcome achieved(bool yes) {
    return (struct outcome){yes, yes ? 0 : errno};
}

static int open_socket(enum family family) {
    struct timeval patience = {.tv_sec = 2};
    int fd = socket(family == INET ? AF_INET : AF_INET6, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd < 0) {
        perror("abuse: socket");
        exit(1);
    }
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
    return fd;
}

struct name {
    socklen_t length;
    union {
        struct sockaddr any;
        struct sockaddr_in four;
        struct sockaddr_in6 six;
    };
};

/* `text`: an address of either family; IPv4 ones become v4-mapped for sockets of the other. */
static struct name name_of(enum family family, const char *text, int port) {
    struct name name = {.length = sizeof(name.four)};
    char mapped[64];

    if (family == INET) {
        name.four.sin_family = AF_INET;
        name.four.sin_port = htons(port);
        inet_pton(AF_INET, text, &name.four.sin_addr);
        return name;
    }
    name.length = sizeof(name.six);
    name.six.sin6_family = AF_INET6;
    name.six.sin6_port = htons(port);
    snprintf(mapped, sizeof(mapped), "%s%s", strchr(text, ':') ? "" : "::ffff:", text);
    inet_pton(AF_INET6, mapped, &name.six.sin6_addr);
    if (IN6_IS_ADDR_LINKLOCAL(&name.six.sin6_addr))
        name.six.sin6_scope_id = 1;
    return name;
}

/* Whether the other end is the node's own server. */
static struct outcome hears_host(int fd) {
    char answer[4] = "";
    ssize_t length = recv(fd, answer, sizeof(answer), MSG_WAITALL);

    if (length == 0)
        errno = ECONNRESET;
    return achieved(length == 4 && !memcmp(answer, "host", 4));
}

/* ---- rows 1 and 2: the node's own addresses ------------------------------------------------------------------------
 */

struct target {
    const char *name;
    /* 0: the node's address. */
    const char *four;
    const char *six;
};

static const struct target targets[] = {
    {"127.0.0.1, ::1", "127.0.0.1", "::1"}, {"127.0.0.53, v4-compatible ::127.0.0.1", "127.0.0.53", "::127.0.0.1"},
    {"the node's address", 0, 0},           {"169.254.169.254, fe80::1", "169.254.169.254", "fe80::1"},
    {"0.0.0.0, ::", "0.0.0.0", "::"},
};
#define TARGETS (sizeof(targets) / sizeof(targets[0]))

static struct name target_name(enum family family, const struct target *target) {
    const char *text = family == INET6 ? target->six : target->four;

    return name_of(family, text ? text : inet_ntoa(node_address), host_port);
}

static struct outcome by_connect(int fd, enum family family, const struct target *target) {
    struct name name = target_name(family, target);

    return connect(fd, &name.any, name.length) ? achieved(false) : hears_host(fd);
}

static struct outcome by_nonblocking_connect(int fd, enum family family, const struct target *target) {
    struct name name = target_name(family, target);
    struct pollfd waiting = {.fd = fd, .events = POLLOUT};
    int mode = 1, error = 0;
    socklen_t length = sizeof(error);

    ioctl(fd, FIONBIO, &mode);
    if (connect(fd, &name.any, name.length) && errno != EINPROGRESS)
        return achieved(false);
    poll(&waiting, 1, 2000);
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length);
    mode = 0;
    ioctl(fd, FIONBIO, &mode);
    errno = error;
    return error ? achieved(false) : hears_host(fd);
}

static struct outcome by_sendto(int fd, enum family family, const struct target *target) {
    struct name name = target_name(family, target);

    return sendto(fd, "x", 1, MSG_FASTOPEN | MSG_NOSIGNAL, &name.any, name.length) < 0 ? achieved(false)
                                                                                       : hears_host(fd);
}

static struct outcome by_fastopen_connect(int fd, enum family family, const struct target *target) {
    struct name name = target_name(family, target);
    int on = 1;

    if (setsockopt(fd, IPPROTO_TCP, TCP_FASTOPEN_CONNECT, &on, sizeof(on)) || connect(fd, &name.any, name.length) ||
        send(fd, "x", 1, MSG_NOSIGNAL) < 0)
        return achieved(false);
    return hears_host(fd);
}

static int listen_here(enum family family, int *port) {
    struct name name = name_of(family, family == INET6 ? "::" : "0.0.0.0", 0);
    int fd = open_socket(family);

    if (bind(fd, &name.any, name.length) || listen(fd, 16) || getsockname(fd, &name.any, &name.length)) {
        perror("abuse: listen");
        exit(1);
    }
    *port = ntohs(family == INET ? name.four.sin_port : name.six.sin6_port);
    return fd;
}

/* Connects to a listener of its own first, which is allowed. */
static bool connect_here(int fd, enum family family, int *listener) {
    struct name name;
    int port;

    *listener = listen_here(family, &port);
    name = name_of(family, family == INET6 ? "::1" : "127.0.0.1", port);
    return !connect(fd, &name.any, name.length);
}

static struct outcome by_disconnect(int fd, enum family family, const struct target *target) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int listener;

    if (!connect_here(fd, family, &listener) || connect(fd, &none, sizeof(none)))
        return achieved(false);
    close(listener);
    return by_connect(fd, family, target);
}

static struct outcome by_addrform(int fd, enum family family, const struct target *target) {
    struct sockaddr none = {.sa_family = AF_UNSPEC};
    int listener, to = AF_INET;

    (void)family;
    if (!connect_here(fd, MAPPED, &listener) || setsockopt(fd, IPPROTO_IPV6, IPV6_ADDRFORM, &to, sizeof(to)) ||
        connect(fd, &none, sizeof(none)))
        return achieved(false);
    close(listener);
    return by_connect(fd, INET, target);
}

/* ---- row 4: options ------------------------------------------------------------------------------------------------
 */

static int load_filter(void) {
    static const struct bpf_insn pass[] = {
        {.code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = -1},
        {.code = BPF_JMP | BPF_EXIT},
    };
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
        .insns = (uintptr_t)pass,
        .insn_cnt = 2,
        .license = (uintptr_t) "GPL",
    };

    return syscall(SYS_bpf, BPF_PROG_LOAD, &attributes, sizeof(attributes));
}

static struct sock_filter pass_all[] = {{BPF_RET | BPF_K, 0, 0, 0xffffffff}};
static const struct sock_fprog classic = {1, pass_all};
static const struct sock_txtime txtime = {.clockid = CLOCK_MONOTONIC};

struct option {
    const char *name;
    int families;
    int level;
    int number;
    const void *value;
    socklen_t length;
};

#ifndef SO_TXTIME
#define SO_TXTIME 61
#endif
#define SO_RCVMARK_          75
#define SO_BINDTOIFINDEX_    62
#define SO_BUSY_BUDGET_      70
#define IP_LOCAL_RANGE_      51
#define IPV6_FREEBIND_       78
#define IPV6_UNICAST_IF_     76
#define TCP_SAVED_SYN_       28
#define SO_NETNS_COOKIE_     71
#define SO_ORIGINAL_DST_     80
#define IPV6_2292PKTOPTIONS_ 6

static const int one = 1, seven = 7, control_class = 0xc0, hidden_class = 0x1c0, in_network_order = 0x01000000;
static const unsigned char control_byte = 0xe0;
static const uint32_t port_range = 40000 << 16 | 40000;
static const unsigned char no_operations[4] = {1, 1, 1, 0};

#define VALUE(v) &(v), sizeof(v)
static const struct option set_options[] = {
    {"SO_MARK", EVERY_FAMILY, SOL_SOCKET, SO_MARK, VALUE(one)},
    {"SO_BINDTODEVICE", EVERY_FAMILY, SOL_SOCKET, SO_BINDTODEVICE, "lo", 3},
    {"SO_BINDTOIFINDEX", EVERY_FAMILY, SOL_SOCKET, SO_BINDTOIFINDEX_, VALUE(one)},
    {"SO_ATTACH_FILTER", EVERY_FAMILY, SOL_SOCKET, SO_ATTACH_FILTER, VALUE(classic)},
    {"SO_ATTACH_REUSEPORT_CBPF", EVERY_FAMILY, SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, VALUE(classic)},
    {"SO_DEBUG", EVERY_FAMILY, SOL_SOCKET, SO_DEBUG, VALUE(one)},
    {"SO_PRIORITY 7", EVERY_FAMILY, SOL_SOCKET, SO_PRIORITY, VALUE(seven)},
    {"SO_SNDBUFFORCE", EVERY_FAMILY, SOL_SOCKET, SO_SNDBUFFORCE, VALUE(one)},
    {"SO_RCVBUFFORCE", EVERY_FAMILY, SOL_SOCKET, SO_RCVBUFFORCE, VALUE(one)},
    {"SO_BUSY_POLL", EVERY_FAMILY, SOL_SOCKET, SO_BUSY_POLL, VALUE(one)},
    {"SO_PREFER_BUSY_POLL", EVERY_FAMILY, SOL_SOCKET, SO_PREFER_BUSY_POLL, VALUE(one)},
    {"SO_BUSY_POLL_BUDGET", EVERY_FAMILY, SOL_SOCKET, SO_BUSY_BUDGET_, VALUE(seven)},
    {"SO_TXTIME", EVERY_FAMILY, SOL_SOCKET, SO_TXTIME, VALUE(txtime)},
    {"SO_RCVMARK", EVERY_FAMILY, SOL_SOCKET, SO_RCVMARK_, VALUE(one)},
    {"IP_TRANSPARENT", EVERY_FAMILY, SOL_IP, IP_TRANSPARENT, VALUE(one)},
    {"IP_FREEBIND", EVERY_FAMILY, SOL_IP, IP_FREEBIND, VALUE(one)},
    {"IP_OPTIONS", EVERY_FAMILY, SOL_IP, IP_OPTIONS, VALUE(no_operations)},
    {"IP_TOS 0xc0", EVERY_FAMILY, SOL_IP, IP_TOS, VALUE(control_class)},
    {"IP_TOS 0x1c0, of which 0xc0 is kept", EVERY_FAMILY, SOL_IP, IP_TOS, VALUE(hidden_class)},
    {"IP_TOS 0xe0 in one byte", EVERY_FAMILY, SOL_IP, IP_TOS, VALUE(control_byte)},
    {"IP_UNICAST_IF", EVERY_FAMILY, SOL_IP, IP_UNICAST_IF, VALUE(in_network_order)},
    {"IP_LOCAL_PORT_RANGE", EVERY_FAMILY, SOL_IP, IP_LOCAL_RANGE_, VALUE(port_range)},
    {"IPV6_TRANSPARENT", ON(INET6) | ON(MAPPED), SOL_IPV6, IPV6_TRANSPARENT, VALUE(one)},
    {"IPV6_FREEBIND", ON(INET6) | ON(MAPPED), SOL_IPV6, IPV6_FREEBIND_, VALUE(one)},
    {"IPV6_TCLASS 0xc0", ON(INET6) | ON(MAPPED), SOL_IPV6, IPV6_TCLASS, VALUE(control_class)},
    {"IPV6_UNICAST_IF", ON(INET6) | ON(MAPPED), SOL_IPV6, IPV6_UNICAST_IF_, VALUE(in_network_order)},
    {"TCP_REPAIR", EVERY_FAMILY, IPPROTO_TCP, TCP_REPAIR, VALUE(one)},
    {"TCP_SAVE_SYN", EVERY_FAMILY, IPPROTO_TCP, TCP_SAVE_SYN, VALUE(one)},
};
#define SET_OPTIONS (sizeof(set_options) / sizeof(set_options[0]))

static struct outcome set_option(int fd, const struct option *option) {
    /* The groups of SO_REUSEPORT want it. */
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    return achieved(!setsockopt(fd, option->level, option->number, option->value, option->length));
}

static struct outcome attach_program(int fd, int number) {
    int program = load_filter();
    struct outcome outcome;

    if (program < 0)
        return achieved(false);
    setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &one, sizeof(one));
    outcome = achieved(!setsockopt(fd, SOL_SOCKET, number, &program, sizeof(program)));
    close(program);
    return outcome;
}

/* ---- row 5: what options and names show ----------------------------------------------------------------------------
 */

static const struct option get_options[] = {
    {"SO_NETNS_COOKIE", EVERY_FAMILY, SOL_SOCKET, SO_NETNS_COOKIE_, 0, 8},
    {"SO_BINDTODEVICE", EVERY_FAMILY, SOL_SOCKET, SO_BINDTODEVICE, 0, 16},
    {"SO_BINDTOIFINDEX", EVERY_FAMILY, SOL_SOCKET, SO_BINDTOIFINDEX_, 0, 4},
    {"SO_MARK", EVERY_FAMILY, SOL_SOCKET, SO_MARK, 0, 4},
    {"IP_PKTOPTIONS", EVERY_FAMILY, SOL_IP, IP_PKTOPTIONS, 0, 256},
    {"IP_TRANSPARENT", EVERY_FAMILY, SOL_IP, IP_TRANSPARENT, 0, 4},
    {"IPV6_2292PKTOPTIONS", ON(INET6) | ON(MAPPED), SOL_IPV6, IPV6_2292PKTOPTIONS_, 0, 256},
};
#define GET_OPTIONS (sizeof(get_options) / sizeof(get_options[0]))

/* A refused call must not leave the value in memory, and one that succeeds must say nothing. */
static struct outcome get_option(int fd, const struct option *option) {
    unsigned char memory[256], untouched[256], zeros[256] = {0};
    socklen_t length = option->length;
    struct outcome outcome;

    memset(untouched, 0x5a, sizeof(untouched));
    memcpy(memory, untouched, sizeof(memory));
    setsockopt(fd, SOL_IP, IP_PKTINFO, &one, sizeof(one));
    setsockopt(fd, SOL_IPV6, IPV6_RECVPKTINFO, &one, sizeof(one));
    setsockopt(fd, SOL_IP, IP_TRANSPARENT, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_MARK, &one, sizeof(one));
    setsockopt(fd, SOL_SOCKET, SO_BINDTOIFINDEX_, &one, sizeof(one));
    if (getsockopt(fd, option->level, option->number, memory, &length) < 0)
        return (struct outcome){!!memcmp(memory, untouched, sizeof(memory)), errno};
    if (length > sizeof(memory))
        length = 0;
    outcome = (struct outcome){length && memcmp(memory, zeros, length), 0};
    return outcome;
}

/* An accepted socket shows the SYN that made it. */
static struct outcome saved_syn(int fd, enum family family) {
    struct name name = name_of(family, family == INET6 ? "::" : "0.0.0.0", 0);
    unsigned char packet[256];
    socklen_t length = sizeof(packet);
    int client = open_socket(family), accepted;

    setsockopt(fd, IPPROTO_TCP, TCP_SAVE_SYN, &one, sizeof(one));
    if (bind(fd, &name.any, name.length) || listen(fd, 1) || getsockname(fd, &name.any, &name.length))
        return achieved(false);
    name = name_of(family, family == INET6 ? "::1" : "127.0.0.1",
                   ntohs(family == INET ? name.four.sin_port : name.six.sin6_port));
    if (connect(client, &name.any, name.length) || (accepted = accept(fd, 0, 0)) < 0 ||
        getsockopt(accepted, IPPROTO_TCP, TCP_SAVED_SYN_, packet, &length))
        return achieved(false);
    close(accepted);
    close(client);
    return achieved(length > 0);
}

/* SO_PEERNAME is getpeername by another road: it must not show more. */
static struct outcome peer_name(int fd, enum family family) {
    struct name official = {.length = sizeof(official.six)}, shown = {0};
    int listener;

    if (!connect_here(fd, family, &listener) || getpeername(fd, &official.any, &official.length))
        return achieved(false);
    shown.length = official.length;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERNAME, &shown.any, &shown.length))
        return achieved(false);
    close(listener);
    errno = 0;
    return achieved(shown.length != official.length || memcmp(&shown.six, &official.six, shown.length));
}

/* Time stamps of sent packets come back with the packets, if nobody said otherwise: IP header first. */
static struct outcome stamped_packet(int fd, enum family family, bool by_message) {
    uint32_t flags =
        SOF_TIMESTAMPING_SOFTWARE | SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED;
    char control[512], packet[512], byte = 'x';
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    struct pollfd waiting = {.fd = fd};
    int listener;
    ssize_t length;

    if (!connect_here(fd, family, &listener))
        return achieved(false);
    if (by_message) {
        struct cmsghdr *header = (struct cmsghdr *)control;

        flags &= SOF_TIMESTAMPING_TX_ACK | SOF_TIMESTAMPING_TX_SOFTWARE | SOF_TIMESTAMPING_TX_SCHED;
        memset(control, 0, sizeof(control));
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SO_TIMESTAMPING;
        header->cmsg_len = CMSG_LEN(sizeof(flags));
        memcpy(CMSG_DATA(header), &flags, sizeof(flags));
        message.msg_control = control;
        message.msg_controllen = CMSG_SPACE(sizeof(flags));
    } else if (setsockopt(fd, SOL_SOCKET, SO_TIMESTAMPING, &flags, sizeof(flags))) {
        return achieved(false);
    }
    if (sendmsg(fd, &message, MSG_NOSIGNAL) < 0)
        return achieved(false);
    poll(&waiting, 1, 500);
    part = (struct iovec){packet, sizeof(packet)};
    for (;;) {
        message = (struct msghdr){.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
        message.msg_controllen = sizeof(control);
        length = recvmsg(fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
        if (length < 0 || length > 1)
            break;
    }
    close(listener);
    return achieved(length > 1);
}

/* ---- row 6: ioctl --------------------------------------------------------------------------------------------------
 */

struct request {
    const char *name;
    unsigned command;
};

static const struct request requests[] = {
    {"SIOCGIFCONF", SIOCGIFCONF},       {"SIOCGIFNAME", SIOCGIFNAME},     {"SIOCGIFFLAGS", SIOCGIFFLAGS},
    {"SIOCGIFADDR", SIOCGIFADDR},       {"SIOCGIFINDEX", SIOCGIFINDEX},   {"SIOCGIFHWADDR", SIOCGIFHWADDR},
    {"SIOCGIFMTU", SIOCGIFMTU},         {"SIOCGIFMAP", SIOCGIFMAP},       {"SIOCGIFTXQLEN", SIOCGIFTXQLEN},
    {"SIOCGIFNETMASK", SIOCGIFNETMASK}, {"SIOCSIFTXQLEN", SIOCSIFTXQLEN}, {"SIOCSIFMTU", SIOCSIFMTU},
};
#define REQUESTS   (sizeof(requests) / sizeof(requests[0]))
#define SIOCGSKNS_ 0x894c

/* Below 4 GiB, for 32-bit calls. */
static void *low_memory(void) {
    static void *memory;

    if (!memory)
        memory = mmap(0, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
    return memory;
}

#ifdef __x86_64__
static long call_i386(long number, long a, long b, long c) {
    long result;

    __asm__ volatile("int $0x80"
                     : "=a"(result)
                     : "a"(number), "b"(a), "c"(b), "d"(c)
                     : "memory", "r8", "r9", "r10", "r11");
    if (result < 0) {
        errno = -result;
        return -1;
    }
    return result;
}
#endif

static struct outcome ask_interface(int fd, const struct request *request) {
    struct ifreq interface = {.ifr_name = "lo"};
    struct ifconf all = {.ifc_len = 4096, .ifc_buf = low_memory()};

    if (request->command == SIOCGIFNAME)
        interface.ifr_ifindex = 1;
    if (request->command == SIOCSIFTXQLEN)
        interface.ifr_qlen = 1000;
    if (request->command == SIOCSIFMTU)
        interface.ifr_mtu = 65536;
    return achieved(!ioctl(fd, request->command, request->command == SIOCGIFCONF ? (void *)&all : (void *)&interface));
}

#ifdef __x86_64__
static struct outcome ask_interface_i386(int fd) {
    struct ifreq *interface = low_memory();

    memset(interface, 0, sizeof(*interface));
    interface->ifr_ifindex = 1;
    return achieved(call_i386(54, fd, SIOCGIFNAME, (long)interface) == 0);
}
#endif

static struct outcome get_namespace(int fd) {
    int namespace = ioctl(fd, SIOCGSKNS_);

    if (namespace >= 0)
        close(namespace);
    return achieved(namespace >= 0);
}

/* ---- row 9: other roads to a socket --------------------------------------------------------------------------------
 */

static struct outcome reaches_host(int fd, enum family family) {
    return fd < 0 ? achieved(false) : by_connect(fd, family, &targets[0]);
}

static struct outcome by_io_uring(void) {
    unsigned char parameters[120] = {0};
    int ring = syscall(425, 4, parameters);

    if (ring >= 0)
        close(ring);
    return achieved(ring >= 0);
}

#ifdef __x86_64__
static int i386_socket(enum family family) {
    return call_i386(359, family == INET ? AF_INET : AF_INET6, SOCK_STREAM, 0);
}

static int i386_socketcall(enum family family) {
    uint32_t *arguments = low_memory();

    arguments[0] = family == INET ? AF_INET : AF_INET6;
    arguments[1] = SOCK_STREAM;
    arguments[2] = 0;
    return call_i386(102, 1, (long)arguments, 0);
}

static int x32_socket(enum family family) {
    return syscall(0x40000000 | 41, family == INET ? AF_INET : AF_INET6, SOCK_STREAM, 0);
}
#endif

/* A namespace of its own has no server, so a socket that is reached there is the host's. */
static int unshared_socket(enum family family) {
    return unshare(CLONE_NEWNET) ? -1 : socket(family == INET ? AF_INET : AF_INET6, SOCK_STREAM, 0);
}

/* ---- going through all of them -------------------------------------------------------------------------------------
 */

/* One attempt, on a socket that somebody else may have opened. */
typedef struct outcome attempt(int fd, enum family family, const void *what);

static int send_fd(int through, int fd) {
    char control[CMSG_SPACE(sizeof(fd))] = {0}, byte = 0;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    struct cmsghdr *header = (struct cmsghdr *)control;

    message.msg_controllen = sizeof(control);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(fd));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    return sendmsg(through, &message, 0);
}

static int receive_fd(int through) {
    char control[CMSG_SPACE(sizeof(int))], byte;
    struct iovec part = {&byte, 1};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1, .msg_control = control};
    int fd;

    message.msg_controllen = sizeof(control);
    if (recvmsg(through, &message, MSG_CMSG_CLOEXEC) != 1)
        return -1;
    memcpy(&fd, CMSG_DATA((struct cmsghdr *)control), sizeof(fd));
    return fd;
}

static struct outcome in_child(enum way way, enum family family, attempt *run, const void *what) {
    struct outcome outcome = {0, ECHILD};
    int results[2], channel[2], fd = -1;
    pid_t child;

    if (pipe(results) || socketpair(AF_UNIX, SOCK_STREAM, 0, channel))
        exit(1);
    /* Before the fork it is inherited; after it, sent. */
    if (way == FORK)
        fd = open_socket(family);
    child = fork();
    if (child == 0) {
        if (way == SCM)
            fd = receive_fd(channel[1]);
        outcome = run(fd, family, what);
        _exit(write(results[1], &outcome, sizeof(outcome)) == sizeof(outcome) ? 0 : 1);
    }
    close(results[1]);
    if (way == SCM) {
        fd = open_socket(family);
        send_fd(channel[0], fd);
    }
    close(fd);
    if (read(results[0], &outcome, sizeof(outcome)) != sizeof(outcome))
        outcome = (struct outcome){0, ECHILD};
    waitpid(child, 0, 0);
    close(results[0]);
    close(channel[0]);
    close(channel[1]);
    return outcome;
}

static void report(int row, const char *name, enum family family, enum way way, struct outcome outcome) {
    printf("{\"row\":%d,\"attempt\":\"%s\",\"family\":\"%s\",\"way\":\"%s\",\"achieved\":%s,\"error\":", row, name,
           family_names[family], way_names[way], outcome.achieved ? "true" : "false");
    if (outcome.error)
        printf("\"%s\"}\n", strerrorname_np(outcome.error));
    else
        printf("null}\n");
    fflush(stdout);
}

static void try_all(int row, const char *name, int families, attempt *run, const void *what) {
    for (enum family family = INET; family < FAMILIES; family++) {
        if (!(families & ON(family)))
            continue;
        for (enum way way = DIRECT; way < WAYS; way++) {
            struct outcome outcome;

            if (way == DIRECT) {
                int fd = open_socket(family);

                errno = 0;
                outcome = run(fd, family, what);
                close(fd);
            } else {
                outcome = in_child(way, family, run, what);
            }
            report(row, name, family, way, outcome);
        }
    }
}

static void tell(int results, struct outcome outcome) {
    _exit(write(results, &outcome, sizeof(outcome)) == sizeof(outcome) ? 0 : 1);
}

/* A socket that a child makes by a road of its own: used by itself, by a child that inherits it, or by another process
 * that is sent it. */
static struct outcome by_maker(enum way way, enum family family, int (*make)(enum family)) {
    struct outcome outcome = {0, ECHILD};
    int results[2], channel[2];
    pid_t maker;

    if (pipe(results) || socketpair(AF_UNIX, SOCK_STREAM, 0, channel))
        exit(1);
    maker = fork();
    if (maker == 0) {
        /* Before the maker changes its namespace. */
        pid_t user = way == SCM ? fork() : -1;
        int fd;

        if (user == 0) {
            close(channel[0]);
            fd = receive_fd(channel[1]);
            if (fd < 0)
                _exit(0);
            tell(results[1], reaches_host(fd, family));
        }
        fd = make(family);
        if (fd < 0)
            tell(results[1], achieved(false));
        if (way == DIRECT)
            tell(results[1], reaches_host(fd, family));
        if (way == FORK && fork() == 0)
            tell(results[1], reaches_host(fd, family));
        if (way == SCM)
            send_fd(channel[0], fd);
        _exit(0);
    }
    close(results[1]);
    close(channel[0]);
    close(channel[1]);
    if (read(results[0], &outcome, sizeof(outcome)) != sizeof(outcome))
        outcome = (struct outcome){0, ECHILD};
    waitpid(maker, 0, 0);
    close(results[0]);
    return outcome;
}

static void try_road(const char *name, int (*make)(enum family)) {
    for (enum family family = INET; family < FAMILIES; family++) {
        for (enum way way = DIRECT; way < WAYS; way++)
            report(9, name, family, way, by_maker(way, family, make));
    }
}

#define ADAPT(function)                                                                                                \
    static struct outcome run_##function(int fd, enum family family, const void *what) {                               \
        return function(fd, family, what);                                                                             \
    }
ADAPT(by_connect)
ADAPT(by_nonblocking_connect)
ADAPT(by_sendto)
ADAPT(by_fastopen_connect)
ADAPT(by_disconnect)
ADAPT(by_addrform)

#define UNUSED (void)fd, (void)family, (void)what
static struct outcome run_set_option(int fd, enum family family, const void *what) {
    UNUSED;
    return set_option(fd, what);
}
static struct outcome run_attach_program(int fd, enum family family, const void *what) {
    UNUSED;
    return attach_program(fd, *(const int *)what);
}
static struct outcome run_get_option(int fd, enum family family, const void *what) {
    UNUSED;
    return get_option(fd, what);
}
static struct outcome run_saved_syn(int fd, enum family family, const void *what) {
    UNUSED;
    return saved_syn(fd, family);
}
static struct outcome run_peer_name(int fd, enum family family, const void *what) {
    UNUSED;
    return peer_name(fd, family);
}
static struct outcome run_stamped_packet(int fd, enum family family, const void *what) {
    return stamped_packet(fd, family, what != 0);
}
static struct outcome run_ask_interface(int fd, enum family family, const void *what) {
    UNUSED;
    return ask_interface(fd, what);
}
static struct outcome run_get_namespace(int fd, enum family family, const void *what) {
    UNUSED;
    return get_namespace(fd);
}
static struct outcome run_io_uring(int fd, enum family family, const void *what) {
    UNUSED;
    return by_io_uring();
}
#ifdef __x86_64__
static struct outcome run_ask_interface_i386(int fd, enum family family, const void *what) {
    UNUSED;
    return ask_interface_i386(fd);
}
#endif

static void attempts(void) {
    static const int attach_bpf = SO_ATTACH_BPF, attach_reuseport = SO_ATTACH_REUSEPORT_EBPF;
    static const struct {
        const char *name;
        int row;
        int families;
        attempt *run;
    } roads[] = {
        {"connect", 1, EVERY_FAMILY, run_by_connect},
        {"non-blocking connect", 1, EVERY_FAMILY, run_by_nonblocking_connect},
        {"sendto MSG_FASTOPEN", 2, EVERY_FAMILY, run_by_sendto},
        {"TCP_FASTOPEN_CONNECT", 2, EVERY_FAMILY, run_by_fastopen_connect},
        {"connect, AF_UNSPEC, connect", 2, EVERY_FAMILY, run_by_disconnect},
        {"IPV6_ADDRFORM, connect", 2, ON(MAPPED), run_by_addrform},
    };
    char name[128];

    for (size_t road = 0; road < sizeof(roads) / sizeof(roads[0]); road++) {
        for (size_t i = 0; i < TARGETS; i++) {
            snprintf(name, sizeof(name), "%s to %s", roads[road].name, targets[i].name);
            try_all(roads[road].row, name, roads[road].families, roads[road].run, &targets[i]);
        }
    }
    for (size_t i = 0; i < SET_OPTIONS; i++)
        try_all(4, set_options[i].name, set_options[i].families, run_set_option, &set_options[i]);
    try_all(4, "SO_ATTACH_BPF", EVERY_FAMILY, run_attach_program, &attach_bpf);
    try_all(4, "SO_ATTACH_REUSEPORT_EBPF", EVERY_FAMILY, run_attach_program, &attach_reuseport);
    for (size_t i = 0; i < GET_OPTIONS; i++)
        try_all(5, get_options[i].name, get_options[i].families, run_get_option, &get_options[i]);
    try_all(5, "TCP_SAVED_SYN", EVERY_FAMILY, run_saved_syn, 0);
    try_all(5, "SO_PEERNAME", EVERY_FAMILY, run_peer_name, 0);
    try_all(5, "packet of a time stamp", EVERY_FAMILY, run_stamped_packet, 0);
    try_all(5, "packet of a time stamp by message", EVERY_FAMILY, run_stamped_packet, "");
    for (size_t i = 0; i < REQUESTS; i++)
        try_all(6, requests[i].name, EVERY_FAMILY, run_ask_interface, &requests[i]);
    try_all(6, "SIOCGSKNS", EVERY_FAMILY, run_get_namespace, 0);
    /* The ring has no family, and is made by who uses it. */
    report(9, "io_uring_setup", INET, DIRECT, in_child(FORK, INET, run_io_uring, 0));
    try_road("unshare(CLONE_NEWNET), socket", unshared_socket);
#ifdef __x86_64__
    try_all(6, "SIOCGIFNAME of i386", EVERY_FAMILY, run_ask_interface_i386, 0);
    try_road("socket of i386", i386_socket);
    try_road("socketcall of i386", i386_socketcall);
    try_road("socket of x32", x32_socket);
#endif
}

static void serve(int port) {
    struct name name = name_of(INET6, "::", port);
    int listener = socket(AF_INET6, SOCK_STREAM, 0);

    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(listener, &name.any, name.length) || listen(listener, 1024)) {
        perror("abuse: serve");
        exit(1);
    }
    puts("ready");
    fflush(stdout);
    for (;;) {
        int fd = accept(listener, 0, 0);

        if (fd >= 0 && send(fd, "host", 4, MSG_NOSIGNAL) < 0)
            perror("abuse: send");
        close(fd);
    }
}

int main(int argc, char **argv) {
    signal(SIGPIPE, SIG_IGN);
    if (argc == 3 && !strcmp(argv[1], "serve")) {
        serve(atoi(argv[2]));
    } else if (argc == 4 && !strcmp(argv[1], "attempts") && inet_aton(argv[3], &node_address)) {
        host_port = atoi(argv[2]);
        attempts();
        return 0;
    }
    fputs("usage: abuse serve PORT | abuse attempts PORT ADDRESS\n", stderr);
    return 2;
}
