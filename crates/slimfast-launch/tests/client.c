// A program for the tests: makes TCP sockets in the way that its first argument says and prints how many of them were
// host sockets ("marked"), how many were not, and how many calls failed. Written for glibc and musl, static and dynamic.

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

// SO_PRIORITY of the sockets that the test's agent makes.
#define MARK 5

static int marked, unmarked, failed;

static int is_marked(int fd) {
  int value = 0;
  socklen_t length = sizeof value;
  return getsockopt(fd, SOL_SOCKET, SO_PRIORITY, &value, &length) == 0 && value == MARK;
}

static void count(int fd) {
  if (fd < 0)
    __atomic_add_fetch(&failed, 1, __ATOMIC_RELAXED);
  else if (is_marked(fd))
    __atomic_add_fetch(&marked, 1, __ATOMIC_RELAXED);
  else
    __atomic_add_fetch(&unmarked, 1, __ATOMIC_RELAXED);
  if (fd >= 0) close(fd);
}

static void *many(void *unused) {
  (void)unused;
  for (int i = 0; i < 1000; i++) count(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0));
  return NULL;
}

static int flags_are_right(void) {
  for (int i = 0; i < 4; i++) {
    int cloexec = i & 1, nonblock = i & 2;
    int fd = socket(AF_INET, SOCK_STREAM | (cloexec ? SOCK_CLOEXEC : 0) | (nonblock ? SOCK_NONBLOCK : 0), IPPROTO_TCP);
    if (fd < 0 || !(fcntl(fd, F_GETFD) & FD_CLOEXEC) != !cloexec || !(fcntl(fd, F_GETFL) & O_NONBLOCK) != !nonblock)
      return 0;
    count(fd);
  }
  return 1;
}

int main(int argc, char **argv) {
  const char *how = argc > 1 ? argv[1] : "one";
  if (!strcmp(how, "flags")) {
    if (!flags_are_right()) return 3;
  } else if (!strcmp(how, "threads")) {
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) pthread_create(&threads[i], NULL, many, NULL);
    for (int i = 0; i < 4; i++) pthread_join(threads[i], NULL);
  } else if (!strcmp(how, "fork")) {
    pid_t child = fork();
    many(NULL);
    if (child == 0) return unmarked + failed ? 4 : 0;
    int status;
    if (waitpid(child, &status, 0) != child || status) return 5;
  } else if (!strcmp(how, "close")) {
    // As daemons do: closes what it does not know, and then uses the numbers for itself.
    for (int fd = 3; fd < 5000; fd++) close(fd);
    for (int i = 0; i < 1200; i++) dup(1);
    many(NULL);
  } else if (!strcmp(how, "errno")) {
    errno = 77;
    count(socket(AF_INET, SOCK_STREAM, 0));
    if (errno != 77) return 6;
    if (socket(AF_INET, SOCK_STREAM, 262) != -1 || errno != EPROTONOSUPPORT) return 7;
    if (socket(AF_INET, SOCK_STREAM | 0x10, 0) != -1 || errno != EINVAL) return 8;
    if (socket(12345, SOCK_STREAM, 0) != -1 || errno != EAFNOSUPPORT) return 9;
  } else if (!strcmp(how, "inet6")) {
    count(socket(AF_INET6, SOCK_STREAM, 0));
    int udp = socket(AF_INET, SOCK_DGRAM, 0);
    if (udp < 0 || is_marked(udp)) return 10;
  } else {
    count(socket(AF_INET, SOCK_STREAM, 0));
  }
  printf("marked %d unmarked %d failed %d\n", marked, unmarked, failed);
  return 0;
}
