"""Sockets that change their state in unusual ways: disconnected, shut down, listening again, bound by halves."""

import ctypes
import os
import select
import socket
import struct
import threading

from harness import (
    ANY,
    FAMILY,
    IS_IPV6,
    LOOPBACK,
    OWN,
    REUSE_ADDRESS,
    REUSE_PORT,
    attempt,
    case,
    events,
    listener,
    name,
    pair,
    port_of,
    stream,
    unused_port,
)

libc = ctypes.CDLL(None, use_errno=True)


def disconnect(made):
    """connect(2) with AF_UNSPEC, which Python does not know."""
    address = struct.pack("H14x", socket.AF_UNSPEC)
    if libc.connect(made.fileno(), address, len(address)):
        return os.strerror(ctypes.get_errno())
    return "ok"


def name_of(made, port):
    """The name with its port told apart: the one that is meant, none, or another one."""
    address, own = made.getsockname()[:2]
    return address.replace(OWN, "OWN"), "same" if own == port else "none" if own == 0 else "other"


@case
def disconnecting():
    server, client, accepted = pair()
    port = port_of(client)
    result = disconnect(client), name_of(client, port), attempt(client.getpeername), attempt(client.send, b"x")
    # What the other end has is a reset.
    return *result, attempt(accepted.recv, 1)


@case
def disconnecting_and_connecting_again():
    server, client, _ = pair()
    other = listener()
    result = disconnect(client), attempt(client.connect, (OWN, port_of(other)))
    accepted, peer = other.accept()
    client.sendall(b"again")
    return *result, peer == client.getsockname(), client.getpeername() == name(OWN, port_of(other)), accepted.recv(9).decode()


@case
def disconnecting_what_was_bound():
    def result(address, port):
        server, client = listener(), stream()
        client.bind((address, port))
        port = port_of(client)
        client.connect((OWN, port_of(server)))
        disconnected = disconnect(client), name_of(client, port)
        taken = attempt(stream().bind, (OWN, port))
        other = listener()
        client.connect((OWN, port_of(other)))
        name = client.getsockname()
        return *disconnected, taken, name_of(client, port), other.accept()[1] == name

    return [result(address, port) for address in (OWN, "") for port in (0, unused_port())]


@case
def disconnecting_what_was_bound_and_listening():
    def result(address, port):
        server, client = listener(), stream()
        client.bind((address, port))
        port = port_of(client)
        client.connect((OWN, port_of(server)))
        return disconnect(client), attempt(client.listen, 1), name_of(client, port)

    return [result(address, port) for address in (OWN, "") for port in (0, unused_port())]


@case
def disconnecting_what_was_never_connected():
    made, bound = stream(), stream()
    bound.bind((OWN, 0))
    port = port_of(bound)
    return disconnect(made), name_of(made, 1), disconnect(bound), name_of(bound, port), attempt(bound.listen, 1)


@case
def disconnecting_a_listener():
    def result(address, port):
        server = stream()
        server.bind((address, port))
        server.listen(5)
        port = port_of(server)
        disconnected = disconnect(server), name_of(server, port), attempt(stream().connect, (OWN, port))
        again = attempt(server.listen, 5), name_of(server, port)
        return *disconnected, *again, attempt(stream().connect, (OWN, port_of(server)))

    return [result(address, port) for address in (OWN, "") for port in (0, unused_port())]


@case
def listening_again_after_shutting_down():
    def result(address, port):
        server = stream()
        server.bind((address, port))
        server.listen(5)
        port = port_of(server)
        server.shutdown(socket.SHUT_RDWR)
        down = name_of(server, port), events(server), attempt(stream().connect, (OWN, port))
        other = stream()
        taken = attempt(other.bind, ("", port))
        other.close()
        again = attempt(server.listen, 5), name_of(server, port)
        return *down, taken, *again, attempt(stream().connect, (OWN, port_of(server))), events(server, timeout=5000)

    return [result(address, port) for address in (OWN, "") for port in (0, unused_port())]


@case
def shutting_down_a_listener_that_others_share():
    servers = [stream(FAMILY, REUSE_PORT) for _ in range(2)]
    servers[0].bind((OWN, 0))
    port = port_of(servers[0])
    servers[1].bind((OWN, port))
    for server in servers:
        server.listen(64)
    servers[0].shutdown(socket.SHUT_RDWR)
    return sum(attempt(stream().connect, (OWN, port)) == "ok" for _ in range(20))


@case
def shutting_down_a_listener_that_somebody_waits_on():
    server = listener()
    results = []
    waiting = threading.Thread(target=lambda: results.append(attempt(server.accept)))
    waiting.start()
    # Either order gives the same.
    select.select([], [], [], 0.1)
    server.shutdown(socket.SHUT_RDWR)
    waiting.join(10)
    return results


@case
def listening_after_a_failed_connect():
    made, server = stream(), listener()
    port = port_of(server)
    server.close()
    refused = attempt(made.connect, (OWN, port))
    listening = attempt(made.listen, 5)
    return refused, listening, attempt(stream().connect, (OWN, port_of(made)))


@case
def changing_the_backlog():
    server = listener(backlog=1)
    server.listen(10)
    clients = []
    for _ in range(8):
        client = stream()
        client.setblocking(False)
        attempt(client.connect, (OWN, port_of(server)))
        clients.append(client)
    return sum(events(client, select.POLLOUT, 2000) == ["POLLOUT"] for client in clients)


@case
def binding_twice_with_a_name():
    made = stream()
    made.bind((OWN, 0))
    port = port_of(made)
    return attempt(made.bind, (OWN, port)), attempt(made.bind, ("", 0)), name_of(made, port)


@case
def binding_after_connecting_failed():
    made = stream()
    server = listener()
    port = port_of(server)
    server.close()
    refused = attempt(made.connect, (OWN, port))
    return refused, attempt(made.bind, (OWN, 0)), made.getsockname()[0] == OWN


@case
def binding_an_address_without_a_port():
    made, server = stream(), listener()
    # IP_BIND_ADDRESS_NO_PORT: the port comes with connect(2).
    made.setsockopt(socket.IPPROTO_IP, 24, 1)
    made.bind((OWN, 0))
    unconnected = name_of(made, 1)
    made.connect((OWN, port_of(server)))
    accepted, peer = server.accept()
    return unconnected, name_of(made, 1), peer == made.getsockname(), accepted.getpeername() == made.getsockname()


@case
def listening_on_an_address_without_a_port():
    made = stream()
    made.setsockopt(socket.IPPROTO_IP, 24, 1)
    made.bind((OWN, 0))
    listening = attempt(made.listen, 5)
    return listening, name_of(made, 1), attempt(stream().connect, (OWN, port_of(made))), attempt(
        stream().connect, (LOOPBACK, port_of(made))
    )


@case
def sharing_a_port_by_an_option_that_is_set_later():
    one, other = stream(), stream(FAMILY, REUSE_ADDRESS)
    one.bind((OWN, 0))
    one.setsockopt(*REUSE_ADDRESS)
    return attempt(other.bind, (OWN, port_of(one)))


@case
def giving_up_sharing_a_port_later():
    one, other = stream(FAMILY, REUSE_ADDRESS), stream(FAMILY, REUSE_ADDRESS)
    one.bind((OWN, 0))
    one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
    return attempt(other.bind, (OWN, port_of(one)))


@case
def listening_on_a_port_that_another_shares():
    one, other = stream(FAMILY, REUSE_ADDRESS), stream(FAMILY, REUSE_ADDRESS)
    one.bind((OWN, 0))
    other.bind((OWN, port_of(one)))
    return attempt(one.listen, 1), attempt(other.listen, 1), attempt(stream().connect, (OWN, port_of(one)))


@case
def connecting_to_port_zero():
    return attempt(stream().connect, (OWN, 0)), attempt(stream().connect, (LOOPBACK, 0))


@case
def connecting_to_any_address():
    server = listener()
    client = stream()
    result = attempt(client.connect, (ANY, port_of(server)))
    return result, client.getpeername()[0], client.getsockname()[0], server.accept()[1] == client.getsockname()


NO_HOSTS = ("ff0e::1", "ff02::1") if IS_IPV6 else ("255.255.255.255", "224.0.0.1")


@case
def connecting_to_what_is_no_host():
    return [attempt(stream().connect, (address, 80)) for address in NO_HOSTS]


@case
def loopback_is_apart_from_the_own_address():
    server = stream()
    server.bind((LOOPBACK, 0))
    server.listen(5)
    other = stream()
    other.bind((OWN, port_of(server)))
    other.listen(5)
    client, second = stream(), stream()
    client.connect((LOOPBACK, port_of(server)))
    second.connect((OWN, port_of(server)))
    return (
        server.accept()[1] == client.getsockname(),
        client.getsockname()[0],
        other.accept()[1] == second.getsockname(),
        second.getsockname()[0] == OWN,
    )
