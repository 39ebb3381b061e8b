/*
 * The line echo of the tests, in C: a server that forks for each connection, and a blocking client.
 *
 *   echo serve PORT
 *   echo connect ADDRESS:PORT...
 *
 * Each line of a client is answered with the client's address as the server sees it, a space, and the line. The client
 * does it twice on each connection and prints one JSON object per connection.
 */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { NAME_LENGTH = INET_ADDRSTRLEN + 8, LINE_LENGTH = 4096, ROUNDS = 2 };

static _Noreturn void die(const char *what) {
    fprintf(stderr, "echo: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void format_name(char *text, const struct sockaddr_in *name) {
    char address[INET_ADDRSTRLEN];

    inet_ntop(AF_INET, &name->sin_addr, address, sizeof(address));
    snprintf(text, NAME_LENGTH, "%s:%d", address, ntohs(name->sin_port));
}

static void answer(int fd, const struct sockaddr_in *from) {
    char name[NAME_LENGTH], line[LINE_LENGTH];
    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");

    format_name(name, from);
    while (fgets(line, sizeof(line), in)) {
        fprintf(out, "%s %s", name, line);
        fflush(out);
    }
}

static _Noreturn void serve(int port) {
    struct sockaddr_in name = {.sin_family = AF_INET, .sin_port = htons(port)};
    int on = 1, listener = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);

    if (listener < 0)
        die("socket");
    setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(listener, (struct sockaddr *)&name, sizeof(name)))
        die("bind");
    if (listen(listener, 64))
        die("listen");
    signal(SIGCHLD, SIG_IGN);
    for (;;) {
        struct sockaddr_in from;
        socklen_t length = sizeof(from);
        int fd = accept(listener, (struct sockaddr *)&from, &length);

        if (fd < 0)
            die("accept");
        if (fork() == 0) {
            close(listener);
            answer(fd, &from);
            exit(0);
        }
        close(fd);
    }
}

static void converse(const char *target) {
    char address[INET_ADDRSTRLEN], local[NAME_LENGTH], peer[NAME_LENGTH], line[LINE_LENGTH];
    char seen[64];
    struct sockaddr_in name = {.sin_family = AF_INET};
    socklen_t length = sizeof(name);
    unsigned short port;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    if (sscanf(target, "%15[0-9.]:%hu", address, &port) != 2 || inet_pton(AF_INET, address, &name.sin_addr) != 1) {
        errno = EINVAL;
        die(target);
    }
    name.sin_port = htons(port);
    if (fd < 0 || connect(fd, (struct sockaddr *)&name, sizeof(name)))
        die(target);
    if (getpeername(fd, (struct sockaddr *)&name, &length))
        die("getpeername");
    format_name(peer, &name);
    if (getsockname(fd, (struct sockaddr *)&name, &length))
        die("getsockname");
    format_name(local, &name);

    FILE *in = fdopen(fd, "r"), *out = fdopen(dup(fd), "w");

    for (int round = 0; round < ROUNDS; round++) {
        fprintf(out, "line %d\n", round);
        fflush(out);
        if (!fgets(line, sizeof(line), in) || sscanf(line, "%63s line %d", seen, &round) != 2)
            die("answer");
    }
    printf("{\"local\":\"%s\",\"peer\":\"%s\",\"seen\":\"%s\"}\n", local, peer, seen);
    fclose(in);
    fclose(out);
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: echo serve PORT | connect ADDRESS:PORT...\n");
        return 2;
    }
    if (strcmp(argv[1], "serve") == 0)
        serve(atoi(argv[2]));
    for (int index = 2; index < argc; index++)
        converse(argv[index]);
    return 0;
}
