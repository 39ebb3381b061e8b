"""Sockets of each address family, made in each way that a process can come by one."""

import array
import ctypes
import errno
import json
import os
import signal
import socket
import sys

FAMILIES = ("inet", "inet6", "mapped")
ANY = {"inet": "0.0.0.0", "inet6": "::", "mapped": "::ffff:0.0.0.0"}
LOOPBACK = {"inet": "127.0.0.1", "inet6": "::1", "mapped": "::ffff:127.0.0.1"}


def stream(family):
    made = socket.socket(socket.AF_INET if family == "inet" else socket.AF_INET6, socket.SOCK_STREAM)
    made.settimeout(5)
    return made


def name_of(family, address):
    """An IPv4 address as the family writes it."""
    return address if family == "inet" or ":" in address else f"::ffff:{address}"


def end_with_parent():
    pr_set_pdeathsig = 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal.SIGKILL)


def send_fd(channel, sock):
    channel.sendmsg([b"s"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [sock.fileno()]))])


def receive_fd(channel):
    _, ancillary, *_ = channel.recvmsg(1, socket.CMSG_SPACE(4))
    (descriptor,) = array.array("i", ancillary[0][2])
    made = socket.socket(fileno=descriptor)
    made.settimeout(5)
    return made


def by_way(way, family, work):
    """Does `work` with a fresh socket, in a process that has it in this way; does not come back unless directly."""
    if way == "direct":
        return work(stream(family))
    ours, theirs = socket.socketpair()
    inherited = stream(family) if way == "fork" else None
    if os.fork() == 0:
        end_with_parent()
        ours.close()
        work(inherited if inherited else receive_fd(theirs))
        os._exit(0)
    if way == "scm":
        send_fd(ours, stream(family))
    return os.wait()


def say(**what):
    # One write: several processes share the pipe.
    os.write(1, f"{json.dumps(what)}\n".encode())


def error_name(error):
    return errno.errorcode.get(error.errno, type(error).__name__) if isinstance(error, OSError) else str(error)


def until_told():
    """Waits until nobody writes to standard input any more."""
    while sys.stdin.read(4096):
        pass
