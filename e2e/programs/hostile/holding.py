"""Takes as much as it gets of what one endpoint may have.

hold WHAT FAMILY COUNT           WHAT: sockets or listeners; says how many it got and why no more, holds them until its
                                 standard input ends, gives them back and waits for another line's end
storm FAMILY SECONDS ADDRESS PORT  connects as fast as it can; says how many went through, and what stopped the others
"""

import collections
import os
import resource
import socket
import sys
import time

from common import ANY, error_name, name_of, say, stream

SPARE_DESCRIPTORS = 64


def take(what, family, held):
    sock = stream(family)
    if what == "listeners":
        sock.bind((ANY[family], 0))
        sock.listen(1)
    held.append(sock)


def hold(what, family, count):
    wanted = int(count)
    resource.setrlimit(resource.RLIMIT_NOFILE, (wanted + SPARE_DESCRIPTORS, wanted + SPARE_DESCRIPTORS))
    held, error = [], None
    while len(held) < wanted and error is None:
        try:
            take(what, family, held)
        except OSError as failure:
            error = error_name(failure)
    say(got=len(held), error=error)
    sys.stdin.readline()
    # A child that has them all, too, dies of a signal while the parent closes its own.
    child = os.fork()
    if child == 0:
        time.sleep(60)
    held.clear()
    os.kill(child, 9)
    os.waitpid(child, 0)
    say(got=0, error=None)
    sys.stdin.readline()


def storm(family, seconds, address, port):
    name = (name_of(family, address), int(port))
    outcomes = collections.Counter()
    start = time.monotonic()
    while time.monotonic() < start + float(seconds):
        sock = stream(family)
        sock.setblocking(False)
        # Gone at once, ports and all: this is about the rate of SYNs, not of ports.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        outcome = sock.connect_ex(name)
        outcomes["sent" if outcome in (0, 115) else error_name(OSError(outcome, ""))] += 1
        sock.close()
    say(seconds=time.monotonic() - start, **outcomes)
