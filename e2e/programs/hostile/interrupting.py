"""Targets that are killed, stopped and signalled in the middle of socket(2).

interrupt HOW FAMILY ROUNDS   HOW: kill, stop, signal, freeze; ends when its standard input does, with nothing left but itself
"""

import os
import random
import signal
import socket
import threading
import time

from common import say, stream, until_told


def make_sockets(family):
    while True:
        stream(family).close()


class Freezer:
    """A cgroup of its own below the process' one."""

    def __init__(self):
        with open("/proc/self/mounts", encoding="ascii") as mounts:
            mount = next(line.split()[1] for line in mounts if line.split()[2] == "cgroup2")
        self.path = f"{mount}/hostile-{os.getpid()}"
        os.mkdir(self.path)

    def write(self, file, text):
        with open(f"{self.path}/{file}", "w", encoding="ascii") as out:
            out.write(text)

    def remove(self):
        os.rmdir(self.path)


def interrupt(how, family, rounds):
    random.seed(7)
    signal.signal(signal.SIGURG, lambda *_: None)
    freezer = Freezer() if how == "freeze" else None
    for _ in range(int(rounds)):
        child = os.fork()
        if child == 0:
            if how == "signal":
                for _ in range(2):
                    threading.Thread(target=make_sockets, args=(family,), daemon=True).start()
            make_sockets(family)
        time.sleep(0.003 + random.random() / 100)
        if how == "signal":
            for _ in range(500):
                os.kill(child, signal.SIGURG)
        if how == "stop":
            for _ in range(3):
                os.kill(child, signal.SIGSTOP)
                time.sleep(0.002)
                os.kill(child, signal.SIGCONT)
            os.kill(child, signal.SIGSTOP)
        if freezer:
            freezer.write("cgroup.procs", str(child))
            freezer.write("cgroup.freeze", "1")
            time.sleep(0.005)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        if freezer:
            freezer.write("cgroup.freeze", "0")
    if freezer:
        freezer.remove()
    # And it is served as ever.
    sock = stream(family)
    say(made=sock.family == (socket.AF_INET if family == "inet" else socket.AF_INET6))
    sock.close()
    until_told()
