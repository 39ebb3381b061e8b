"""Takes as much as it gets of what one endpoint may have.

hold WHAT FAMILY WAY COUNT       WHAT: sockets or listeners; WAY: in one process, in several, or parked in unix sockets, where
                                 no process has them open; says how many it got and why no more, holds them until its
                                 standard input ends, gives them back and waits for another line's end
storm FAMILY WAY SECONDS ADDRESS PORT  connects as fast as it can: by itself, from several processes, or with sockets that
                                 another process has made; says how many went through, and what stopped the others
"""

import collections
import json
import os
import resource
import socket
import sys
import time

from common import ANY, end_with_parent, error_name, name_of, receive_fd, say, send_fd, stream

SPARE_DESCRIPTORS = 64
PROCESSES = 4
# Of one queue: each message is charged to its sender's buffer.
PARKED_TOGETHER = 32


class Parked:
    """Sockets on their way through unix sockets that nobody reads."""

    def __init__(self):
        self.queues = []
        self.count = 0

    def append(self, sock):
        if self.count % PARKED_TOGETHER == 0:
            self.queues.append(socket.socketpair())
        send_fd(self.queues[-1][0], sock)
        self.count += 1
        sock.close()

    def __len__(self):
        return self.count

    def clear(self):
        for pair in self.queues:
            for end in pair:
                end.close()
        self.queues.clear()


def take(what, family, held):
    sock = stream(family)
    if what == "listeners":
        sock.bind((ANY[family], 0))
        sock.listen(1)
    held.append(sock)


def take_all(what, family, held, wanted):
    """Why no more; None if it got them all."""
    try:
        while len(held) < wanted:
            take(what, family, held)
    except OSError as failure:
        return error_name(failure)
    return None


def take_in_children(what, family, wanted):
    """The children, what they got together, and why no more."""
    results, children = [], []
    for _ in range(PROCESSES):
        ours, theirs = os.pipe()
        child = os.fork()
        if child == 0:
            end_with_parent()
            held = []
            error = take_all(what, family, held, wanted // PROCESSES)
            os.write(theirs, f"{len(held)} {error or ''}".encode())
            time.sleep(600)
        os.close(theirs)
        results.append(ours)
        children.append(child)
    said = [os.read(result, 64).decode().split() for result in results]
    return children, sum(int(got) for got, *_ in said), next((error for _, *errors in said for error in errors), None)


def hold(what, family, way, count):
    wanted = int(count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + SPARE_DESCRIPTORS, wanted + SPARE_DESCRIPTORS))
    held, children, error = Parked() if way == "scm" else [], [], None
    if way == "fork":
        children, got, error = take_in_children(what, family, wanted)
    else:
        error = take_all(what, family, held, wanted)
        got = len(held)
    say(got=got, error=error)
    sys.stdin.readline()
    # A child that has them all, too, dies of a signal while the parent closes its own.
    child = os.fork()
    if child == 0:
        time.sleep(60)
    held.clear()
    for one in [*children, child]:
        os.kill(one, 9)
        os.waitpid(one, 0)
    say(got=0, error=None)
    sys.stdin.readline()


def storm_in(family, seconds, name, made_by=None):
    outcomes = collections.Counter()
    start = time.monotonic()
    while time.monotonic() < start + seconds:
        sock = receive_fd(made_by) if made_by else stream(family)
        sock.setblocking(False)
        # Gone at once, ports and all: this is about the rate of SYNs, not of ports.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        outcome = sock.connect_ex(name)
        outcomes["sent" if outcome in (0, 115) else error_name(OSError(outcome, ""))] += 1
        sock.close()
    return outcomes


def make_for_another(family):
    """A unix socket from which sockets come that another process makes."""
    ours, theirs = socket.socketpair()
    if os.fork() == 0:
        end_with_parent()
        ours.close()
        while True:
            with stream(family) as sock:
                send_fd(theirs, sock)
    theirs.close()
    return ours


def storm(family, way, seconds, address, port):
    name = (name_of(family, address), int(port))
    start = time.monotonic()
    outcomes = collections.Counter()
    if way == "fork":
        results = []
        for _ in range(PROCESSES):
            ours, theirs = os.pipe()
            if os.fork() == 0:
                end_with_parent()
                said = storm_in(family, float(seconds), name)
                os.write(theirs, json.dumps(said).encode())
                os._exit(0)
            os.close(theirs)
            results.append(ours)
        for result in results:
            outcomes.update(json.loads(os.read(result, 1024)))
    else:
        outcomes = storm_in(family, float(seconds), name, make_for_another(family) if way == "scm" else None)
    say(seconds=time.monotonic() - start, **outcomes)
