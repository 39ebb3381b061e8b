/*
 * What a container finds of the node's own doors. One line of JSON each:
 *
 *   doors PATH|ADDRESS:PORT|[ADDRESS6]:PORT|io_uring...   unix sockets, TCP ports, io_uring's, and the descriptors of every process
 * that it sees
 */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#define MOST_DESCRIPTORS 64

static void report(const char *door, bool is_open) {
    printf("{\"door\":\"%s\",\"achieved\":%s,\"error\":", door, is_open ? "true" : "false");
    if (is_open)
        printf("null}\n");
    else
        printf("\"%s\"}\n", strerrorname_np(errno));
}

static void knock_unix(const char *path) {
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    strncpy(name.sun_path, path, sizeof(name.sun_path) - 1);
    report(path, !connect(fd, (struct sockaddr *)&name, sizeof(name)));
    close(fd);
}

static void knock_tcp(const char *door) {
    struct sockaddr_in four = {.sin_family = AF_INET};
    struct sockaddr_in6 six = {.sin6_family = AF_INET6};
    struct timeval patience = {.tv_sec = 2};
    bool is_six = door[0] == '[';
    int fd = socket(is_six ? AF_INET6 : AF_INET, SOCK_STREAM, 0), result, port = 0;
    char address[64] = "";

    sscanf(door, is_six ? "[%63[^]]]:%d" : "%63[0-9.]:%d", address, &port);
    inet_pton(AF_INET, address, &four.sin_addr);
    inet_pton(AF_INET6, address, &six.sin6_addr);
    four.sin_port = six.sin6_port = htons(port);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof(patience));
    result = is_six ? connect(fd, (struct sockaddr *)&six, sizeof(six))
                    : connect(fd, (struct sockaddr *)&four, sizeof(four));
    report(door, fd >= 0 && !result);
    close(fd);
}

static void knock_io_uring(void) {
    unsigned char parameters[120] = {0};
    int ring = syscall(SYS_io_uring_setup, 4, parameters);

    report("io_uring", ring >= 0);
    if (ring >= 0)
        close(ring);
}

static bool is_own(int pid) {
    char path[64], theirs[64] = "", ours[64] = "";

    snprintf(path, sizeof(path), "/proc/%d/ns/net", pid);
    return readlink(path, theirs, sizeof(theirs) - 1) > 0 &&
           readlink("/proc/self/ns/net", ours, sizeof(ours) - 1) > 0 && !strcmp(theirs, ours);
}

/* A seccomp listener or a dispenser's other end is a descriptor of some process. Those of its own container do not
 * count. */
static void reach_for_descriptors(void) {
    DIR *processes = opendir("/proc");
    struct dirent *entry;
    bool taken = false;

    errno = ESRCH;
    while (processes && (entry = readdir(processes))) {
        int pid = atoi(entry->d_name), process;

        if (pid <= 0 || is_own(pid))
            continue;
        process = syscall(SYS_pidfd_open, pid, 0);
        for (int fd = 0; process >= 0 && fd < MOST_DESCRIPTORS; fd++) {
            int copy = syscall(SYS_pidfd_getfd, process, fd, 0);

            if (copy < 0)
                continue;
            taken = true;
            close(copy);
        }
        close(process);
    }
    report("descriptors of other processes", taken);
}

int main(int argc, char **argv) {
    for (int i = 1; i < argc; i++) {
        if (argv[i][0] == '/')
            knock_unix(argv[i]);
        else if (!strcmp(argv[i], "io_uring"))
            knock_io_uring();
        else
            knock_tcp(argv[i]);
    }
    reach_for_descriptors();
    return 0;
}
