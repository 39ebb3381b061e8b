/*
 * Threads that call socket(2) without end, in processes that somebody kills, stops, freezes or signals meanwhile.
 *
 * interrupted HOW CALLS   HOW: kill, stop, freeze, signal. Goes on until so many calls were made, prints what came of
 * them, then lives, with nothing open, until its input ends. interrupted loop        prints its process id, and what
 * came of the calls when its input ends.
 *
 * {"calls", "rounds": interruptions, "inside": stopped threads of which the kernel says that they are in the call,
 *  "interrupted": calls that failed with EINTR where no handler restarts them, "errors": that failed otherwise,
 * "errno": of the last one of these, "strays": descriptors that nobody was told of}
 *
 * SIGURG comes as Go's runtime sends it, to threads; its handler restarts calls (SA_RESTART) in every other process.
 */
#define _GNU_SOURCE
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 3, PAUSES = 4, SIGNALS = 400 };

/* Of all processes. */
static struct shared {
    atomic_long calls;
    atomic_long interrupted;
    atomic_long errors;
    atomic_long last_errno;
    atomic_long strays;
    atomic_bool enough;
    /* Whether the handler of SIGURG has SA_RESTART. */
    atomic_bool restarts;
    atomic_int tids[THREADS];
} *shared;

static long rounds, inside;

static void fail(const char *what) {
    fprintf(stderr, "interrupted: %s: %s\n", what, strerror(errno));
    _exit(1);
}

static void *make_sockets(void *number) {
    shared->tids[(long)number] = gettid();
    /* Families and flags in turn: IPv6 is always asked of the notify tier. */
    for (unsigned i = 0; !shared->enough; i++) {
        int fd = socket(i % 8 ? AF_INET : AF_INET6, SOCK_STREAM | (i % 2 ? SOCK_CLOEXEC : 0), 0);
        if (fd < 0 && errno == EINTR && !shared->restarts) {
            shared->interrupted++;
        } else if (fd < 0) {
            shared->last_errno = errno;
            shared->errors++;
        } else {
            close(fd);
        }
        shared->calls++;
    }
    return NULL;
}

static int descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    if (!directory)
        fail("/proc/self/fd");
    int count = 0;
    while (readdir(directory))
        count++;
    closedir(directory);
    return count;
}

static void ignore(int number) {
    (void)number;
}

/* Until there were enough calls. */
static void work(void) {
    struct sigaction action = {.sa_handler = ignore, .sa_flags = shared->restarts ? SA_RESTART : 0};
    sigaction(SIGURG, &action, NULL);
    int before = descriptors();
    pthread_t threads[THREADS];
    for (long i = 0; i < THREADS; i++)
        if ((errno = pthread_create(&threads[i], NULL, make_sockets, (void *)i)))
            fail("pthread_create");
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    shared->strays += descriptors() - before;
}

static pid_t spawn_worker(bool restarts) {
    memset(shared->tids, 0, sizeof(shared->tids));
    shared->restarts = restarts;
    pid_t pid = fork();
    if (pid < 0)
        fail("fork");
    if (pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        work();
        _exit(0);
    }
    for (int i = 0; i < THREADS; i++)
        while (!shared->tids[i])
            sched_yield();
    return pid;
}

static void pause_us(long most) {
    struct timespec time = {.tv_nsec = 1000 * (random() % most)};
    nanosleep(&time, NULL);
}

/* Whether a thread that does not run is in socket(2), or in what the preloaded library calls in its place. */
static bool is_inside(pid_t pid, pid_t tid) {
    char path[64], text[32] = "";
    snprintf(path, sizeof(path), "/proc/%d/task/%d/syscall", pid, tid);
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    bool is = fgets(text, sizeof(text), file) && (atol(text) == SYS_socket || atol(text) == SYS_recvmsg);
    fclose(file);
    return is;
}

static void count_inside(pid_t pid) {
    for (int i = 0; i < THREADS; i++)
        inside += is_inside(pid, shared->tids[i]);
}

/* ---- the freezer ------------------------------------------------------------------------------------------------- */

static char group[256];

static void in_group(const char *file, const char *text) {
    char path[300];
    snprintf(path, sizeof(path), "%s/%s", group, file);
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0 || write(fd, text, strlen(text)) < 0)
        fail(path);
    close(fd);
}

static bool is_frozen(void) {
    char path[300], line[64];
    snprintf(path, sizeof(path), "%s/cgroup.events", group);
    FILE *file = fopen(path, "r");
    if (!file)
        fail(path);
    bool is = false;
    while (fgets(line, sizeof(line), file))
        is |= !strcmp(line, "frozen 1\n");
    fclose(file);
    return is;
}

static void make_group(void) {
    char line[512], mount[200] = "", kind[32];
    FILE *mounts = fopen("/proc/self/mounts", "r");
    while (mounts && fgets(line, sizeof(line), mounts))
        if (sscanf(line, "%*s %199s %31s", mount, kind) == 2 && !strcmp(kind, "cgroup2"))
            break;
    if (mounts)
        fclose(mounts);
    snprintf(group, sizeof(group), "%s/interrupted-%d", mount, getpid());
    if (mkdir(group, 0755))
        fail(group);
}

/* ---- what is done to a worker; it lives or not ------------------------------------------------------------------- */

static void do_kill(pid_t pid) {
    pause_us(4000);
    kill(pid, SIGKILL);
}

static void do_stop(pid_t pid) {
    for (int i = 0; i < PAUSES; i++) {
        pause_us(2000);
        kill(pid, SIGSTOP);
        int status;
        waitpid(pid, &status, WUNTRACED);
        count_inside(pid);
        /* The last time it ends as it is. */
        kill(pid, i < PAUSES - 1 ? SIGCONT : SIGKILL);
    }
}

static void do_freeze(pid_t pid) {
    char text[16];
    snprintf(text, sizeof(text), "%d", pid);
    in_group("cgroup.procs", text);
    for (int i = 0; i < PAUSES; i++) {
        pause_us(2000);
        in_group("cgroup.freeze", "1");
        while (!is_frozen())
            sched_yield();
        count_inside(pid);
        if (i == PAUSES - 1)
            kill(pid, SIGKILL);
        in_group("cgroup.freeze", "0");
    }
}

static void do_signal(pid_t pid) {
    for (int i = 0; i < SIGNALS; i++) {
        for (int thread = 0; thread < THREADS; thread++)
            tgkill(pid, shared->tids[thread], SIGURG);
        /* Signals that find the former one still to be handled are none. */
        pause_us(60);
    }
    kill(pid, SIGKILL);
}

static void (*interruption(const char *how))(pid_t) {
    static const struct {
        const char *name;
        void (*body)(pid_t);
    } all[] = {{"kill", do_kill}, {"stop", do_stop}, {"freeze", do_freeze}, {"signal", do_signal}};
    for (unsigned i = 0; i < sizeof(all) / sizeof(*all); i++)
        if (!strcmp(how, all[i].name))
            return all[i].body;
    return NULL;
}

/* A storm over a worker that ends by itself, whose descriptors can be counted. */
static void storm_to_the_end(bool restarts, long calls) {
    pid_t pid = spawn_worker(restarts);
    long enough = shared->calls + calls;
    while (shared->calls < enough) {
        for (int thread = 0; thread < THREADS; thread++)
            tgkill(pid, shared->tids[thread], SIGURG);
        pause_us(60);
    }
    shared->enough = true;
    int status;
    waitpid(pid, &status, 0);
    shared->enough = false;
    rounds++;
}

static void report(void) {
    printf("{\"calls\":%ld,\"rounds\":%ld,\"inside\":%ld,\"interrupted\":%ld,\"errors\":%ld,\"errno\":%ld,\"strays\":%"
           "ld}\n",
           shared->calls, rounds, inside, shared->interrupted, shared->errors, shared->last_errno, shared->strays);
    fflush(stdout);
}

static void until_input_ends(void) {
    char byte;
    while (read(0, &byte, 1) > 0) {
    }
}

static void *end_with_input(void *none) {
    (void)none;
    until_input_ends();
    shared->enough = true;
    return NULL;
}

int main(int argc, char **argv) {
    shared = mmap(NULL, sizeof(*shared), PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (shared == MAP_FAILED)
        fail("mmap");
    long calls = argc == 3 ? atol(argv[2]) : 0;
    if (argc == 3 && !strcmp(argv[1], "calls")) {
        for (; shared->calls < calls; shared->calls++) {
            int fd = socket(AF_INET, SOCK_STREAM, 0);
            shared->errors += fd < 0;
            close(fd);
        }
        report();
        return 0;
    }
    if (argc == 2 && !strcmp(argv[1], "loop")) {
        printf("{\"pid\":%d,\"numbers\":[%d,%d]}\n", getpid(), SYS_socket, SYS_recvmsg);
        fflush(stdout);
        pthread_t thread;
        pthread_create(&thread, NULL, end_with_input, NULL);
        shared->restarts = true;
        work();
        report();
        return 0;
    }
    void (*interrupt)(pid_t) = argc == 3 ? interruption(argv[1]) : NULL;
    if (!interrupt) {
        fprintf(stderr, "usage: interrupted kill|stop|freeze|signal|calls CALLS, or interrupted loop\n");
        return 2;
    }
    srandom(7);
    if (interrupt == do_freeze)
        make_group();
    for (; shared->calls < calls; rounds++) {
        pid_t pid = spawn_worker(rounds % 2);
        interrupt(pid);
        int status;
        while (waitpid(pid, &status, 0) == pid && !WIFSIGNALED(status)) {
        }
        if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGKILL)
            fail("a worker ended by itself");
    }
    if (interrupt == do_signal)
        for (int restarts = 0; restarts < 2; restarts++)
            storm_to_the_end(restarts, calls / 10);
    if (interrupt == do_freeze && rmdir(group))
        fail(group);
    report();
    return 0;
}
