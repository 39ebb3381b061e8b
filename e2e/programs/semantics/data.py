"""Sending, receiving, and the ways in which a connection ends."""

import fcntl
import os
import select
import socket
import struct
import tempfile
import termios

from harness import OWN, attempt, case, events, listener, pair, port_of, stream

# Not in Python's modules.
SIOCATMARK = 0x8905


@case
def half_closing():
    _, client, accepted = pair()
    client.sendall(b"request")
    client.shutdown(socket.SHUT_WR)
    request = accepted.recv(100), accepted.recv(100)
    accepted.sendall(b"answer")
    state = events(client, timeout=5000), events(accepted, timeout=5000)
    return [text.decode() for text in request], client.recv(100).decode(), attempt(client.send, b"x"), state


@case
def closing():
    _, client, accepted = pair()
    accepted.close()
    result = client.recv(1).decode(), events(client)
    # The answer to what comes after the close is a reset.
    client.send(b"x")
    events(client, select.POLLERR, 5000)
    return *result, attempt(client.recv, 1), attempt(client.send, b"x"), attempt(client.getpeername)


@case
def resetting():
    _, client, accepted = pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    accepted.close()
    state = events(client, timeout=5000)
    return state, attempt(client.recv, 1), attempt(client.send, b"x"), attempt(client.getpeername)


@case
def accepting_what_was_reset():
    server, client = listener(), stream()
    client.connect((OWN, port_of(server)))
    name = client.getsockname()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    accepted, peer = server.accept()
    return peer == name, attempt(accepted.getpeername), attempt(accepted.recv, 1)


@case
def urgent_data():
    _, client, accepted = pair()
    client.send(b"a")
    client.send(b"!", socket.MSG_OOB)
    select.select([], [], [accepted], 5)
    return accepted.recv(1, socket.MSG_OOB).decode(), accepted.recv(10).decode()


@case
def peeking_and_waiting_for_all():
    _, client, accepted = pair()
    client.sendall(b"0123456789")
    peeked = accepted.recv(4, socket.MSG_PEEK).decode()
    return peeked, accepted.recv(10, socket.MSG_WAITALL).decode(), attempt(accepted.recv, 1, socket.MSG_DONTWAIT)


@case
def sending_a_file():
    _, client, accepted = pair()
    with tempfile.TemporaryFile() as file:
        file.write(b"f" * 100_000)
        sent = 0
        while sent < 100_000:
            sent += os.sendfile(client.fileno(), file.fileno(), sent, 100_000 - sent)
    client.close()
    with accepted.makefile("rb") as stream_:
        return len(stream_.read())


@case
def splicing():
    if not hasattr(os, "splice"):
        return None
    _, client, accepted = pair()
    read_end, write_end = os.pipe()
    client.sendall(b"through a pipe")
    moved = os.splice(accepted.fileno(), write_end, 100)
    back = os.splice(read_end, accepted.fileno(), moved)
    return moved, back, client.recv(100).decode()


@case
def urgent_data_in_line():
    _, client, accepted = pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    client.send(b"ab")
    client.send(b"!", socket.MSG_OOB)
    events(accepted, select.POLLPRI, 5000)

    def at_mark():
        return struct.unpack("i", fcntl.ioctl(accepted, SIOCATMARK, b"\0" * 4))[0]

    return at_mark(), accepted.recv(10).decode(), at_mark(), accepted.recv(10).decode()


@case
def counting_what_waits():
    _, client, accepted = pair()
    client.sendall(b"12345")
    events(accepted, select.POLLIN, 5000)
    return [struct.unpack("i", fcntl.ioctl(accepted, request, b"\0" * 4))[0] for request in (termios.FIONREAD, SIOCATMARK)]


@case
def waking_up_only_for_enough():
    _, client, accepted = pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 4)
    client.sendall(b"12")
    few = events(accepted, select.POLLIN, 200)
    client.sendall(b"34")
    return few, events(accepted, select.POLLIN, 5000), accepted.recv(10).decode()


@case
def accepting_when_data_comes():
    server = listener((socket.IPPROTO_TCP, socket.TCP_DEFER_ACCEPT, 5))
    server.setblocking(False)
    client = stream()
    client.connect((OWN, port_of(server)))
    early = attempt(server.accept)
    client.sendall(b"here")
    ready = events(server, select.POLLIN, 5000)
    accepted, peer = server.accept()
    return early, ready, peer == client.getsockname(), accepted.recv(10).decode()


@case
def sending_without_copying():
    _, client, accepted = pair((socket.SOL_SOCKET, 60, 1))  # SO_ZEROCOPY
    sent = client.send(b"z" * 10_000, 0x4000000)  # MSG_ZEROCOPY
    received = accepted.recv(10_000, socket.MSG_WAITALL)
    # The notification that the memory is free again.
    noticed = events(client, 0, 5000)
    return sent, len(received), noticed, len(client.recvmsg(10, 100, socket.MSG_ERRQUEUE)[1])


@case
def waiting_no_longer_than_said():
    _, client, accepted = pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 0, 50_000))
    client.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 50_000))
    empty = attempt(accepted.recv, 1)
    while (full := attempt(client.send, b"x" * 65536)) != "EAGAIN":
        if isinstance(full, str):
            return empty, full
    return empty, full


@case
def lingering_over_what_was_not_read():
    _, client, accepted = pair()
    accepted.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 5))
    client.sendall(b"unread")
    events(accepted, select.POLLIN, 5000)
    # Closing with something unread resets.
    accepted.close()
    return events(client, timeout=5000), attempt(client.recv, 10)


@case
def shutting_down_while_connecting_and_connected():
    _, client, accepted = pair()
    fresh = stream()
    client.shutdown(socket.SHUT_RD)
    accepted.sendall(b"nobody reads")
    return attempt(fresh.shutdown, socket.SHUT_WR), client.recv(100) in (b"", b"nobody reads"), attempt(client.send, b"x")


@case
def kernel_tls():
    _, client, _ = pair()
    # TCP_ULP
    return attempt(client.setsockopt, socket.IPPROTO_TCP, 31, b"tls")
