/* Slim's router (SlimRouter in the paper), one per node, in the node's own network namespace: makes host sockets for
 * the shims, and answers on overlay listeners with the host's address. For measurements only.
 *
 * Two threads: one for the shims, one for overlay connections; neither waits for the other. A listener belongs to the
 * shim's connection that brought it: when the last process that shares it is gone, the listener is shut down, and the
 * thread that answers closes it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "protocol.h"

#define EVENTS 64

struct listener {
    /* The answering thread's; it closes it. */
    int overlay;
    /* The same open file, for shutting it down. */
    int handle;
    struct slim_host_address answer;
    struct listener *next;
};

struct client {
    int fd;
    struct listener *listeners;
};

static int accepting;
static uint32_t host_address;

static void fail(const char *what) {
    fprintf(stderr, "slim-router: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int watch(int epoll, int fd, void *data) {
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = data};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

/* Data and FIN leave in one packet. */
static void answer_all(struct listener *listener) {
    for (;;) {
        int fd = accept4(listener->overlay, NULL, NULL, SOCK_CLOEXEC);
        if (fd < 0 && (errno == EINTR || errno == ECONNABORTED))
            continue;
        if (fd < 0)
            return;
        (void)!send(fd, &listener->answer, sizeof(listener->answer), MSG_MORE | MSG_DONTWAIT | MSG_NOSIGNAL);
        close(fd);
    }
}

static void *answer_forever(void *unused) {
    struct epoll_event events[EVENTS];
    (void)unused;
    for (;;) {
        int count = epoll_wait(accepting, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct listener *listener = events[i].data.ptr;
            answer_all(listener);
            if (events[i].events & (EPOLLHUP | EPOLLERR)) {
                /* The other descriptor may keep the open file alive, and with it what epoll knows of it. */
                epoll_ctl(accepting, EPOLL_CTL_DEL, listener->overlay, NULL);
                close(listener->overlay);
                free(listener);
            }
        }
    }
    return NULL;
}

static void send_socket(int to) {
    char byte = 0, control[CMSG_SPACE(sizeof(int))] = {0};
    struct iovec data = {.iov_base = &byte, .iov_len = 1};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return;
    header->cmsg_level = SOL_SOCKET;
    header->cmsg_type = SCM_RIGHTS;
    header->cmsg_len = CMSG_LEN(sizeof(int));
    memcpy(CMSG_DATA(header), &fd, sizeof(fd));
    /* A full queue: the shim has plenty. */
    (void)!sendmsg(to, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
    close(fd);
}

static void add_listener(struct client *client, int overlay, uint16_t port) {
    struct listener *listener = calloc(1, sizeof(*listener));
    if (!listener)
        fail("calloc");
    listener->overlay = overlay;
    listener->handle = fcntl(overlay, F_DUPFD_CLOEXEC, 3);
    listener->answer = (struct slim_host_address){.address = host_address, .port = port};
    listener->next = client->listeners;
    client->listeners = listener;
    fcntl(overlay, F_SETFL, O_RDWR | O_NONBLOCK);
    if (listener->handle < 0 || watch(accepting, overlay, listener) != 0)
        fail("overlay listener");
}

/* False: the client is gone. */
static int serve(struct client *client) {
    struct slim_request request;
    char control[CMSG_SPACE(sizeof(int))];
    struct iovec data = {.iov_base = &request, .iov_len = sizeof(request)};
    struct msghdr message = {
        .msg_iov = &data, .msg_iovlen = 1, .msg_control = control, .msg_controllen = sizeof(control)};
    ssize_t got = recvmsg(client->fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    if (got < 0)
        return errno == EAGAIN || errno == EINTR;
    if (got != sizeof(request))
        return 0;
    struct cmsghdr *header = CMSG_FIRSTHDR(&message);
    if (request.kind == SLIM_SOCKETS) {
        for (int i = 0; i < request.count; i++)
            send_socket(client->fd);
    } else if (request.kind == SLIM_LISTENER && header && header->cmsg_type == SCM_RIGHTS) {
        int overlay;
        memcpy(&overlay, CMSG_DATA(header), sizeof(overlay));
        add_listener(client, overlay, request.port);
    }
    return 1;
}

static void drop(struct client *client) {
    for (struct listener *listener = client->listeners, *next; listener; listener = next) {
        int handle = listener->handle;
        next = listener->next;
        /* From here on the answering thread owns it. */
        shutdown(handle, SHUT_RDWR);
        close(handle);
    }
    close(client->fd);
    free(client);
}

int main(int argc, char **argv) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    struct epoll_event events[EVENTS];
    struct rlimit limit;
    pthread_t thread;
    if (argc != 3 || strlen(argv[1]) >= sizeof(name.sun_path) || inet_pton(AF_INET, argv[2], &host_address) != 1) {
        fprintf(stderr, "usage: slim-router SOCKET HOST-ADDRESS\n");
        return 2;
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    strcpy(name.sun_path, argv[1]);
    unlink(argv[1]);
    int clients = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0), main_loop = epoll_create1(EPOLL_CLOEXEC);
    accepting = epoll_create1(EPOLL_CLOEXEC);
    if (clients < 0 || bind(clients, (struct sockaddr *)&name, sizeof(name)) != 0 || listen(clients, 128) != 0)
        fail(argv[1]);
    if (main_loop < 0 || accepting < 0 || watch(main_loop, clients, NULL) != 0)
        fail("epoll");
    if (pthread_create(&thread, NULL, answer_forever, NULL) != 0)
        fail("pthread_create");
    printf("{\"ready\":true}\n");
    fflush(stdout);
    for (;;) {
        int count = epoll_wait(main_loop, events, EVENTS, -1);
        for (int i = 0; i < count; i++) {
            struct client *client = events[i].data.ptr;
            if (client) {
                if (!serve(client))
                    drop(client);
                continue;
            }
            client = calloc(1, sizeof(*client));
            if (!client)
                fail("calloc");
            client->fd = accept4(clients, NULL, NULL, SOCK_CLOEXEC);
            if (client->fd < 0)
                free(client);
            else if (watch(main_loop, client->fd, client) != 0)
                fail("epoll_ctl");
        }
    }
}
