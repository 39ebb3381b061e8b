/*
 * Prints what the system calls say about a socket's names, in each state of its life: one JSON object per line,
 * {"state": "bound", "local": "0.0.0.0:80", "peer": "ENOTCONN"}. An error takes the name's place.
 *
 *   names server FAMILY MODE ADDRESS PORT    accepts for ever; ADDRESS "-": listen(2) without bind(2)
 *   names client FAMILY MODE ADDRESS PORT [BIND-PORT] [FAREWELL]
 *
 * FAMILY: 4 | 6 (dual-stack) | 6only | both (server: an IPv4 listener and an IPv6-only one beside it, on one port)
 * MODE:   blocking | epoll (non-blocking, registered with epoll before bind, listen and connect)
 * BIND-PORT: the client binds before it connects; 0: it does not.
 * FAREWELL: close (default) | reset (the server resets the connection) | hold (until standard input ends) |
 *           again (close, then connect(AF_UNSPEC) and connect once more)
 *
 * A client with family 6 and an IPv4 address connects to the v4-mapped one.
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_MAX_LENGTH = INET6_ADDRSTRLEN + 16 };

struct options {
    int family;
    bool v6_only;
    bool epoll;
    const char *address;
    int port;
};

/* Not strerrorname_np(3), which musl does not have. */
static const char *errno_name(void) {
    static char number[16];

    switch (errno) {
    case ENOTCONN:
        return "ENOTCONN";
    case ECONNREFUSED:
        return "ECONNREFUSED";
    case EHOSTUNREACH:
        return "EHOSTUNREACH";
    case EADDRNOTAVAIL:
        return "EADDRNOTAVAIL";
    case EADDRINUSE:
        return "EADDRINUSE";
    case EINVAL:
        return "EINVAL";
    case ETIMEDOUT:
        return "ETIMEDOUT";
    default:
        snprintf(number, sizeof(number), "errno %d", errno);
        return number;
    }
}

static _Noreturn void die(const char *what) {
    fprintf(stderr, "names: %s: %s\n", what, errno_name());
    exit(1);
}

static void format_name(char *text, const struct sockaddr_storage *name, socklen_t length) {
    char address[INET6_ADDRSTRLEN];

    if (name->ss_family == AF_INET && length == sizeof(struct sockaddr_in)) {
        const struct sockaddr_in *in = (const void *)name;

        inet_ntop(AF_INET, &in->sin_addr, address, sizeof(address));
        snprintf(text, NAME_MAX_LENGTH, "%s:%d", address, ntohs(in->sin_port));
    } else if (name->ss_family == AF_INET6 && length == sizeof(struct sockaddr_in6)) {
        const struct sockaddr_in6 *in6 = (const void *)name;

        inet_ntop(AF_INET6, &in6->sin6_addr, address, sizeof(address));
        snprintf(text, NAME_MAX_LENGTH, "[%s]:%d", address, ntohs(in6->sin6_port));
    } else {
        snprintf(text, NAME_MAX_LENGTH, "family %d, length %u", name->ss_family, length);
    }
}

typedef int name_call(int fd, struct sockaddr *name, socklen_t *length);

static void ask(char *text, name_call *call, int fd) {
    struct sockaddr_storage name = {0};
    socklen_t length = sizeof(name);

    if (call(fd, (struct sockaddr *)&name, &length) == 0)
        format_name(text, &name, length);
    else
        snprintf(text, NAME_MAX_LENGTH, "%s", errno_name());
}

/* `more` is further members, each with a comma before it. */
static void report(const char *state, int fd, const char *more) {
    char local[NAME_MAX_LENGTH], peer[NAME_MAX_LENGTH];

    ask(local, getsockname, fd);
    ask(peer, getpeername, fd);
    printf("{\"state\":\"%s\",\"local\":\"%s\",\"peer\":\"%s\"%s}\n", state, local, peer, more);
    fflush(stdout);
}

static socklen_t make_address(struct sockaddr_storage *storage, int family, const char *address, int port) {
    memset(storage, 0, sizeof(*storage));
    if (family == AF_INET) {
        struct sockaddr_in *in = (void *)storage;

        *in = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons(port)};
        if (inet_pton(AF_INET, address, &in->sin_addr) != 1)
            die(address);
        return sizeof(*in);
    }
    struct sockaddr_in6 *in6 = (void *)storage;
    char mapped[INET6_ADDRSTRLEN];

    snprintf(mapped, sizeof(mapped), "%s%s", strchr(address, ':') ? "" : "::ffff:", address);
    *in6 = (struct sockaddr_in6){.sin6_family = AF_INET6, .sin6_port = htons(port)};
    if (inet_pton(AF_INET6, mapped, &in6->sin6_addr) != 1)
        die(mapped);
    return sizeof(*in6);
}

static int make_socket(const struct options *options, int epoll, uint32_t events) {
    int on = 1;
    int fd = socket(options->family, SOCK_STREAM | SOCK_CLOEXEC | (options->epoll ? SOCK_NONBLOCK : 0), 0);

    if (fd < 0)
        die("socket");
    if (options->v6_only && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof(on)))
        die("IPV6_V6ONLY");
    if (epoll >= 0) {
        struct epoll_event event = {.events = events, .data.fd = fd};

        if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event))
            die("epoll_ctl");
    }
    report("unbound", fd, "");
    return fd;
}

static void bind_socket(const struct options *options, int fd, const char *address, int port) {
    struct sockaddr_storage name;
    socklen_t length = make_address(&name, options->family, address, port);
    int on = 1;

    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)))
        die("SO_REUSEADDR");
    if (bind(fd, (struct sockaddr *)&name, length))
        die("bind");
    report("bound", fd, "");
}

static int make_listener(const struct options *options, int epoll) {
    int fd = make_socket(options, epoll, EPOLLIN);

    if (strcmp(options->address, "-") != 0)
        bind_socket(options, fd, options->address, options->port);
    if (listen(fd, 16))
        die("listen");
    report("listening", fd, "");
    return fd;
}

/* Says hello, is told how to part, and parts. Blocking: the client does not let it wait. */
static void serve(int listener, bool nonblocking) {
    struct sockaddr_storage from = {0};
    socklen_t length = sizeof(from);
    char name[NAME_MAX_LENGTH], more[NAME_MAX_LENGTH + 64], farewell = 0;
    int fd = accept4(listener, (struct sockaddr *)&from, &length, SOCK_CLOEXEC);

    if (fd < 0) {
        if (nonblocking && errno == EAGAIN)
            return;
        die("accept4");
    }
    format_name(name, &from, length);
    snprintf(more, sizeof(more), ",\"acceptedFrom\":\"%s\"", name);
    report("accepted", fd, more);
    /* A client that fails says so itself. */
    if (send(fd, "k", 1, MSG_NOSIGNAL) != 1 || read(fd, &farewell, 1) < 0)
        farewell = 'r';
    if (farewell == 'r') {
        struct linger reset = {.l_onoff = 1, .l_linger = 0};

        setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof(reset));
    } else if (farewell == 'c') {
        /* The client closes first after it has looked at the half-closed connection. */
        shutdown(fd, SHUT_WR);
        while (read(fd, &farewell, 1) > 0)
            ;
    }
    close(fd);
}

static _Noreturn void server(struct options options, bool both) {
    int epoll = options.epoll ? epoll_create1(EPOLL_CLOEXEC) : -1;
    int listener = make_listener(&options, epoll);

    if (both) {
        struct options beside = options;

        beside.family = AF_INET6;
        beside.v6_only = true;
        beside.address = "::";
        make_listener(&beside, epoll);
    }
    for (;;) {
        struct epoll_event event = {.data.fd = listener};

        if (epoll >= 0 && epoll_wait(epoll, &event, 1, -1) < 0)
            die("epoll_wait");
        serve(event.data.fd, options.epoll);
    }
}

/* Waits for an event of a socket that epoll has known since before it was connected. */
static void await(const struct options *options, int epoll, int fd, uint32_t events) {
    struct epoll_event wanted = {.events = events, .data.fd = fd}, event;

    if (!options->epoll)
        return;
    if (epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &wanted))
        die("epoll_ctl");
    if (epoll_wait(epoll, &event, 1, 10000) != 1) {
        errno = ETIMEDOUT;
        die("epoll_wait");
    }
}

static void establish(const struct options *options, int epoll, int fd) {
    struct sockaddr_storage name;
    socklen_t length = make_address(&name, options->family, options->address, options->port);
    int error = 0;
    socklen_t error_length = sizeof(error);
    char hello;

    if (connect(fd, (struct sockaddr *)&name, length) && !(options->epoll && errno == EINPROGRESS))
        die("connect");
    if (options->epoll) {
        struct epoll_event event;

        /* Registered once, before connect, and not touched since. */
        do {
            if (epoll_wait(epoll, &event, 1, 10000) != 1) {
                errno = ETIMEDOUT;
                die("epoll_wait");
            }
        } while (!(event.events & EPOLLOUT));
        if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &error_length) || error) {
            errno = error ? error : errno;
            die("connect");
        }
    }
    report("connected", fd, "");
    await(options, epoll, fd, EPOLLIN);
    if (read(fd, &hello, 1) != 1)
        die("hello");
}

static void client(struct options options, int bind_port, const char *farewell) {
    int epoll = options.epoll ? epoll_create1(EPOLL_CLOEXEC) : -1;
    int fd = make_socket(&options, epoll, EPOLLIN | EPOLLOUT | EPOLLET);
    char byte = farewell[0] == 'r' ? 'r' : 'c';

    if (bind_port)
        bind_socket(&options, fd, options.family == AF_INET ? "0.0.0.0" : "::", bind_port);
    establish(&options, epoll, fd);
    if (farewell[0] == 'h')
        while (getchar() != EOF)
            ;
    if (write(fd, &byte, 1) != 1)
        die("write");
    await(&options, epoll, fd, EPOLLIN);
    ssize_t got = read(fd, &byte, 1);

    if (got == 0)
        report("half-closed", fd, "");
    else if (got < 0 && errno == ECONNRESET)
        report("reset", fd, "");
    else
        die("read");
    if (farewell[0] == 'a') {
        struct sockaddr unspecified = {.sa_family = AF_UNSPEC};
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};

        if (connect(fd, &unspecified, sizeof(unspecified)))
            die("connect(AF_UNSPEC)");
        report("disconnected", fd, "");
        if (options.epoll && epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &event))
            die("epoll_ctl");
        establish(&options, epoll, fd);
    }
    close(fd);
}

int main(int argc, char **argv) {
    if (argc < 6) {
        fprintf(stderr, "usage: names server|client FAMILY MODE ADDRESS PORT [BIND-PORT] [FAREWELL]\n");
        return 2;
    }
    const char *family = argv[2];
    struct options options = {
        .family = family[0] == '6' ? AF_INET6 : AF_INET,
        .v6_only = strcmp(family, "6only") == 0,
        .epoll = strcmp(argv[3], "epoll") == 0,
        .address = argv[4],
        .port = atoi(argv[5]),
    };

    if (strcmp(argv[1], "server") == 0)
        server(options, strcmp(family, "both") == 0);
    client(options, argc > 6 ? atoi(argv[6]) : 0, argc > 7 ? argv[7] : "close");
    return 0;
}
