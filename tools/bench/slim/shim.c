/* Slim's preloaded library (SlimSocket in the paper), for measurements only: it is not part of the product.
 *
 * socket(2) gives a host socket that the router has made. connect(2) to an overlay address first connects over the
 * overlay, reads the server's host address there, and then connects the host socket. bind(2) and listen(2) make an
 * overlay listener beside the host's; the router answers on it.
 *
 * Better than the authors' code, so that what is measured is the protocol: no lock; sockets are asked for before they
 * are needed; the descriptor that the program has is the host socket from the start, so that epoll, dup, fork and
 * options need no help; accept(2) is the kernel's own. As in the authors' code, a non-blocking connect(2) waits for the
 * overlay's part. Thread-safe without state that is shared, but for the table of listeners, whose entries belong to
 * whoever has the descriptor. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

/* Sockets on their way or waiting, and how many are asked for at once. */
#define POOL            64
#define REFILL          8
#define MAX_DESCRIPTORS 65536
#define OVERLAY_BACKLOG 4096
/* Out of the way of programs that count on low numbers. */
#define ROUTER_DESCRIPTOR 900

struct slot {
    /* Made by socket() here. */
    uint8_t is_host;
    uint8_t is_listening;
    uint8_t is_bound;
    int overlay;
    struct sockaddr_in address;
};

static struct slot slots[MAX_DESCRIPTORS];
static int router = -1;
static uint32_t prefix, mask;
static atomic_uint taken;

static int kernel_socket(int domain, int type, int protocol) {
    return (int)syscall(SYS_socket, domain, type, protocol);
}

static int kernel_connect(int fd, const void *address, socklen_t length) {
    return (int)syscall(SYS_connect, fd, address, length);
}

static void ask(uint8_t count) {
    struct slim_request request = {.kind = SLIM_SOCKETS, .count = count};
    (void)!send(router, &request, sizeof(request), MSG_NOSIGNAL);
}

__attribute__((constructor)) static void start(void) {
    const char *path = getenv("SLIM_ROUTER"), *network = getenv("SLIM_PREFIX");
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    char text[32];
    int length, fd;
    if (!path || !network || strlen(path) >= sizeof(name.sun_path) ||
        sscanf(network, "%31[0-9.]/%d", text, &length) != 2 || length < 1 || length > 32 ||
        inet_pton(AF_INET, text, &prefix) != 1) {
        fprintf(stderr, "slim: SLIM_ROUTER and SLIM_PREFIX (a.b.c.d/n) must be set\n");
        _exit(126);
    }
    mask = htonl(~0u << (32 - length));
    prefix &= mask;
    strcpy(name.sun_path, path);
    fd = kernel_socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
    if (fd < 0 || kernel_connect(fd, &name, sizeof(name)) != 0) {
        fprintf(stderr, "slim: %s: %s\n", path, strerror(errno));
        _exit(126);
    }
    router = fcntl(fd, F_DUPFD_CLOEXEC, ROUTER_DESCRIPTOR);
    if (router < 0)
        router = fd;
    else
        close(fd);
    ask(POOL);
}

static int take_socket(int flags) {
    char byte, control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    int wanted = flags & SOCK_CLOEXEC ? MSG_CMSG_CLOEXEC : 0, fd;
    ssize_t got = recvmsg(router, &message, wanted | MSG_DONTWAIT);
    if (got < 0 && errno == EAGAIN) {
        ask(REFILL);
        do
            got = recvmsg(router, &message, wanted);
        while (got < 0 && errno == EINTR);
    } else if (atomic_fetch_add(&taken, 1) % REFILL == REFILL - 1) {
        ask(REFILL);
    }
    struct cmsghdr *header = got == 1 ? CMSG_FIRSTHDR(&message) : NULL;
    if (!header || header->cmsg_type != SCM_RIGHTS) {
        errno = EMFILE;
        return -1;
    }
    memcpy(&fd, CMSG_DATA(header), sizeof(fd));
    if (flags & SOCK_NONBLOCK)
        fcntl(fd, F_SETFL, O_RDWR | O_NONBLOCK);
    return fd;
}

static void forget(int fd) {
    if (fd < 0 || fd >= MAX_DESCRIPTORS || !slots[fd].is_host)
        return;
    if (slots[fd].is_bound && !slots[fd].is_listening)
        syscall(SYS_close, slots[fd].overlay);
    memset(&slots[fd], 0, sizeof(slots[fd]));
}

static struct slot *host_slot(int fd) {
    return fd >= 0 && fd < MAX_DESCRIPTORS && slots[fd].is_host ? &slots[fd] : NULL;
}

int socket(int domain, int type, int protocol) {
    int is_tcp = domain == AF_INET && (type & 0xf) == SOCK_STREAM && (protocol == 0 || protocol == IPPROTO_TCP);
    int fd = is_tcp && router >= 0 ? take_socket(type) : kernel_socket(domain, type, protocol);
    forget(fd);
    if (is_tcp && fd >= 0 && fd < MAX_DESCRIPTORS)
        slots[fd].is_host = 1;
    return fd;
}

static void copy_option(int from, int to, int option) {
    int value;
    socklen_t length = sizeof(value);
    if (getsockopt(from, SOL_SOCKET, option, &value, &length) == 0 && value)
        setsockopt(to, SOL_SOCKET, option, &value, sizeof(value));
}

int bind(int fd, const struct sockaddr *address, socklen_t length) {
    struct slot *slot = host_slot(fd);
    if (!slot || address->sa_family != AF_INET || slot->is_bound)
        return (int)syscall(SYS_bind, fd, address, length);
    int overlay = kernel_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (overlay < 0)
        return -1;
    copy_option(fd, overlay, SO_REUSEADDR);
    copy_option(fd, overlay, SO_REUSEPORT);
    socklen_t size = sizeof(slot->address);
    if (syscall(SYS_bind, overlay, address, length) != 0 ||
        syscall(SYS_getsockname, overlay, &slot->address, &size) != 0) {
        int error = errno;
        syscall(SYS_close, overlay);
        errno = error;
        return -1;
    }
    slot->overlay = overlay;
    slot->is_bound = 1;
    return 0;
}

/* Hands the overlay listener to the router. */
static int hand_over(int overlay, uint16_t port) {
    struct slim_request request = {.kind = SLIM_LISTENER, .port = port};
    char control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {.iov_base = &request, .iov_len = sizeof(request)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &overlay, sizeof(overlay));
    return sendmsg(router, &message, MSG_NOSIGNAL) < 0 ? -1 : 0;
}

int listen(int fd, int backlog) {
    struct slot *slot = host_slot(fd);
    int result = (int)syscall(SYS_listen, fd, backlog);
    if (result != 0 || !slot || !slot->is_bound || slot->is_listening)
        return result;
    struct sockaddr_in host;
    socklen_t size = sizeof(host);
    if (syscall(SYS_listen, slot->overlay, OVERLAY_BACKLOG) != 0 || syscall(SYS_getsockname, fd, &host, &size) != 0 ||
        hand_over(slot->overlay, host.sin_port) != 0)
        return -1;
    syscall(SYS_close, slot->overlay);
    slot->is_listening = 1;
    return 0;
}

int getsockname(int fd, struct sockaddr *address, socklen_t *length) {
    struct slot *slot = host_slot(fd);
    if (!slot || !slot->is_bound)
        return (int)syscall(SYS_getsockname, fd, address, length);
    memcpy(address, &slot->address, *length < sizeof(slot->address) ? *length : sizeof(slot->address));
    *length = sizeof(slot->address);
    return 0;
}

int close(int fd) {
    forget(fd);
    return (int)syscall(SYS_close, fd);
}

/* Where the peer's host listens, asked over the overlay. No more packets than needed: the answer comes with the
 * router's FIN, and our RST leaves no TIME_WAIT. */
static int find_host(const struct sockaddr *peer, socklen_t length, struct sockaddr_in *host) {
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct slim_host_address answer;
    int overlay = kernel_socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), error = 0;
    ssize_t got;
    if (overlay < 0)
        return -1;
    setsockopt(overlay, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    if (kernel_connect(overlay, peer, length) != 0) {
        error = errno;
    } else {
        do
            got = recv(overlay, &answer, sizeof(answer), MSG_WAITALL);
        while (got < 0 && errno == EINTR);
        if (got != sizeof(answer))
            error = ECONNREFUSED;
    }
    syscall(SYS_close, overlay);
    if (error) {
        errno = error;
        return -1;
    }
    *host = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = answer.port, .sin_addr.s_addr = answer.address};
    return 0;
}

int connect(int fd, const struct sockaddr *address, socklen_t length) {
    const struct sockaddr_in *peer = (const struct sockaddr_in *)address;
    struct sockaddr_in host;
    if (!host_slot(fd) || length < sizeof(*peer) || peer->sin_family != AF_INET ||
        (peer->sin_addr.s_addr & mask) != prefix)
        return kernel_connect(fd, address, length);
    if (find_host(address, length, &host) != 0)
        return -1;
    return kernel_connect(fd, &host, sizeof(host));
}
