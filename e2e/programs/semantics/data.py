"""Sending, receiving, and the ways in which a connection ends."""

import os
import select
import socket
import struct
import tempfile

from harness import OWN, attempt, case, events, listener, pair, port_of, settle, stream


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
    settle()
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
