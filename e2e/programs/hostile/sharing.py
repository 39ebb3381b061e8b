"""Listeners that say who they are, whoever asks them, and sockets that are passed on to another container.

listen TAG HOWS WAYS PORT        a listener for each of HOWS (any, loopback, unbound, shared (SO_REUSEPORT), or two addresses as
                                 FOUR/SIX),
                                 each family and each of WAYS, on ports from PORT on, by how and family; TAG, with the way's
                                 first letter, is what each of them answers
knock PORTS ADDRESS...           who answers at each of them
ask COUNT FAMILY ADDRESS PORT    who answered, or which error there was, how often
give PATH FAMILY HOW             hands a socket to whoever connects to the unix socket at PATH; HOW: scm, or stays for pidfd_getfd
receive PATH FAMILY HOW ADDRESS PORT  takes it, and tries to act with it as its own: to reach ADDRESS:PORT, and to bind
                                 the address by which it would reach it
move NAMESPACE FAMILY ADDRESS PORT  the same by a child that inherits the socket and enters the other's namespace
"""

import collections
import ctypes
import os
import socket
import struct

from common import ANY, FAMILIES, LOOPBACK, by_way, end_with_parent, error_name, name_of, receive_fd, say, send_fd, stream, until_told

PIDFD_GETFD = 438
TAG_BYTES = 6


def one_of(family, addresses):
    """Of an IPv4 address and an IPv6 one, as FOUR/SIX, as the family writes it."""
    four, _, six = addresses.partition("/")
    return six if family == "inet6" and six else name_of(family, four)


def listen_one(tag, family, way, how, port):
    def work(sock):
        try:
            if how == "shared":
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            if how != "unbound":
                addresses = {"any": ANY, "shared": ANY, "loopback": LOOPBACK}.get(how)
                sock.bind((addresses[family] if addresses else one_of(family, how), port))
            sock.listen(1024)
        except OSError as error:
            say(how=how, family=family, way=way, port=0, error=error_name(error))
            return
        say(how=how, family=family, way=way, port=sock.getsockname()[1], error=None)
        sock.settimeout(None)
        while True:
            accepted, _ = sock.accept()
            try:
                accepted.sendall((tag + way[0]).ljust(TAG_BYTES).encode())
            except OSError:
                pass
            accepted.close()

    by_way(way, family, work)


def listen(tag, hows, ways, port):
    number = int(port)
    for how in hows.split(","):
        for family in FAMILIES:
            for way in ways.split(","):
                if os.fork() == 0:
                    end_with_parent()
                    listen_one(tag, family, way, how, number)
                    os._exit(0)
                # Of the ways that share a port, or else each its own.
                number += how != "shared"
            number += how == "shared"
    until_told()


def knock(ports, *addresses):
    for address in addresses:
        family = "inet6" if ":" in address else "inet"
        for port in ports.split(","):
            sock = stream(family)
            sock.settimeout(1)
            say(address=address, port=int(port), answer=who_answers(sock, (address, int(port))))


def who_answers(sock, name):
    try:
        sock.connect(name)
        answer = sock.recv(TAG_BYTES, socket.MSG_WAITALL)
        return answer.decode().strip() or "ECONNRESET"
    except OSError as error:
        return error_name(error)
    finally:
        sock.close()


def ask(count, family, address, port):
    name = (name_of(family, address), int(port))
    say(**collections.Counter(who_answers(stream(family), name) for _ in range(int(count))))


def give(path, family, how):
    server = socket.socket(socket.AF_UNIX)
    server.bind(path)
    server.listen(1)
    sock = stream(family)
    say(ready=os.getpid(), fd=sock.fileno())
    channel, _ = server.accept()
    if how == "scm":
        send_fd(channel, sock)
    else:
        channel.sendall(struct.pack("ii", os.getpid(), sock.fileno()))
    channel.recv(1)


def take(path, how):
    channel = socket.socket(socket.AF_UNIX)
    channel.connect(path)
    if how == "scm":
        return channel, receive_fd(channel)
    pid, descriptor = struct.unpack("ii", channel.recv(8))
    taken = ctypes.CDLL(None, use_errno=True).syscall(PIDFD_GETFD, os.pidfd_open(pid), descriptor, 0)
    if taken < 0:
        raise OSError(ctypes.get_errno(), "pidfd_getfd")
    sock = socket.socket(fileno=taken)
    sock.settimeout(5)
    return channel, sock


def own_address(address):
    """By which this network namespace would reach it."""
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
        datagrams.connect((address, 9))
        return datagrams.getsockname()[0]


def act_as_own(sock, family, address, port):
    try:
        sock.bind((name_of(family, own_address(address)), 0))
        bound = "ok"
    except OSError as error:
        bound = error_name(error)
    say(bound=bound, answer=who_answers(sock, (name_of(family, address), int(port))))


def receive(path, family, how, address, port):
    channel, sock = take(path, how)
    act_as_own(sock, family, address, port)
    # The same with a socket of its own: that there is something to be reached.
    act_as_own(stream(family), family, address, port)
    channel.close()
    until_told()


def move(namespace, family, address, port):
    sock = stream(family)
    if os.fork() == 0:
        end_with_parent()
        clone_newnet = 0x40000000
        with open(namespace, "rb") as entered:
            if ctypes.CDLL(None, use_errno=True).setns(entered.fileno(), clone_newnet) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        act_as_own(sock, family, address, port)
        # That it is there: datagram sockets are those of the namespace.
        with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET, socket.SOCK_DGRAM) as datagrams:
            datagrams.bind((own_address(address), 0))
        say(bound="ok", answer="moved")
        os._exit(0)
    os.wait()
