"""Ports that connections keep, addresses of loopback, and names that no two connections share."""

import ctypes
import select
import socket
import struct

from harness import (
    FAMILY,
    IS_IPV6,
    LOOPBACK,
    OWN,
    REUSE_ADDRESS,
    REUSE_PORT,
    attempt,
    case,
    case_of_ipv4,
    events,
    listener,
    name,
    pair,
    port_of,
    stream,
    unused_port,
)

# Linux gives a connection within loopback its names again when its time stamps have moved on.
NAMES_WAIT_MS = 1_200


def bound(address, port, *options):
    made = stream(FAMILY, *options)
    return made, attempt(made.bind, (address, port))


def binding(address, port):
    """What comes of binding with each option; each socket is closed again."""
    results = []
    for options in ([], [REUSE_ADDRESS], [REUSE_PORT]):
        made, result = bound(address, port, *options)
        made.close()
        results.append(result)
    return results


def reset(made):
    made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    made.close()


@case
def binding_a_port_of_connections_that_live():
    def result(*options):
        server = listener(*options)
        client = stream()
        client.connect((OWN, port_of(server)))
        accepted, _ = server.accept()
        port = port_of(server)
        server.close()
        results = binding("", port), binding(OWN, port), binding(LOOPBACK, port)
        reset(accepted)
        return *results, binding("", port)

    return result(), result(REUSE_ADDRESS), result(REUSE_PORT), result(REUSE_ADDRESS, REUSE_PORT)


@case
def binding_a_port_of_connections_that_wait():
    def result(*options):
        server = listener(*options)
        client = stream()
        client.connect((OWN, port_of(server)))
        accepted, _ = server.accept()
        port = port_of(server)
        accepted.close()
        client.recv(1)
        client.close()
        server.close()
        return binding("", port), binding(OWN, port), binding(LOOPBACK, port)

    return result(), result(REUSE_ADDRESS), result(REUSE_PORT), result(REUSE_ADDRESS, REUSE_PORT)


@case
def binding_a_port_of_a_client():
    def result(*options):
        server = listener()
        client = stream(FAMILY, *options)
        client.bind((OWN, unused_port()))
        port = port_of(client)
        client.connect((OWN, port_of(server)))
        accepted, _ = server.accept()
        alive = binding(OWN, port)
        # Its end is closed second, and nothing is left of it.
        accepted.close()
        client.recv(1)
        half_closed = binding(OWN, port)
        client.close()
        return alive, half_closed, binding(OWN, port)

    return result(), result(REUSE_ADDRESS)


@case
def options_of_sharing_that_change():
    def result(option, at_first, other_options):
        one, other = stream(), stream(FAMILY, *other_options)
        one.setsockopt(socket.SOL_SOCKET, option, at_first)
        one.bind((OWN, 0))
        one.setsockopt(socket.SOL_SOCKET, option, 1 - at_first)
        changed = attempt(other.bind, (OWN, port_of(one)))
        one.setsockopt(socket.SOL_SOCKET, option, at_first)
        one.setsockopt(socket.SOL_SOCKET, option, at_first)
        third = stream(FAMILY, *other_options)
        return changed, attempt(third.bind, (OWN, port_of(one)))

    return [
        result(socket.SO_REUSEADDR, 0, [REUSE_ADDRESS]),
        result(socket.SO_REUSEADDR, 1, [REUSE_ADDRESS]),
        result(socket.SO_REUSEPORT, 0, [REUSE_PORT]),
        result(socket.SO_REUSEPORT, 1, [REUSE_PORT]),
    ]


@case_of_ipv4
def loopback_has_many_addresses():
    port = unused_port()
    servers = {}
    for address in ("127.0.0.1", "127.0.0.5", "127.8.0.1"):
        servers[address], result = bound(address, port)
        result = result, attempt(servers[address].listen, 4)
        if result != ("ok", "ok"):
            return address, result
    taken = [bound(address, port)[1] for address in ("127.0.0.5", "127.0.0.1", "", OWN)]
    reached = []
    for address, server in servers.items():
        client = stream()
        client.connect((address, port))
        accepted, peer = server.accept()
        names = accepted.getsockname()[0], client.getpeername()[0], client.getsockname()[0]
        reached.append((*names, peer == client.getsockname()))
    nobody = attempt(stream().connect, ("127.0.0.9", port)), attempt(stream().connect, (OWN, port))
    servers["127.0.0.5"].close()
    freed = attempt(stream().connect, ("127.0.0.5", port)), bound("127.0.0.5", port, REUSE_ADDRESS)[1]
    return taken, reached, nobody, freed


@case_of_ipv4
def loopback_addresses_beside_any_address():
    def result(first, second, *options, listening=True):
        one, _ = bound(first, 0, *options)
        if listening:
            one.listen(1)
        return bound(second, port_of(one), *options)[1]

    return [
        result(first, second, *options, listening=listening)
        for first, second in (("", "127.0.0.5"), ("127.0.0.5", ""), ("127.0.0.5", "127.0.0.5"), ("127.0.0.5", "127.0.0.6"))
        for options in ([], [REUSE_ADDRESS], [REUSE_PORT])
        for listening in (True, False)
    ]


@case
def clients_with_an_address_of_their_choice():
    server = listener()

    def result(own, peer):
        client, _ = bound(own, 0)
        connected = attempt(client.connect, (peer, port_of(server)))
        accepted, seen = server.accept()
        return (
            connected,
            client.getsockname()[0].replace(OWN, "OWN"),
            seen == client.getsockname(),
            accepted.getpeername() == client.getsockname(),
            accepted.getsockname() == client.getpeername() == name(peer, port_of(server)),
        )

    others = ((), ()) if IS_IPV6 else (("127.0.0.2",), ("127.0.0.3",))
    addresses = ("", LOOPBACK, *others[0], OWN)
    return [result(own, peer) for own in addresses for peer in (LOOPBACK, *others[1], OWN)]


@case
def connections_with_the_same_names():
    server, other = listener(backlog=64), listener(backlog=64)
    port = unused_port()

    def connect(address, to):
        client, result = bound(address, port, REUSE_ADDRESS)
        return client, (result, attempt(client.connect, (OWN, port_of(to))))

    first, result = connect(OWN, server)
    results = [result, connect(OWN, server)[1], connect("", server)[1]]
    elsewhere, result = connect(OWN, other)
    results.append(result)
    accepted, _ = server.accept()
    accepted.close()
    first.recv(1)
    first.close()
    # The other end waits, not this one; its names are its own affair.
    reset(elsewhere)
    elsewhere, result = connect(OWN, other)
    results.append(result)
    # This end closes first, and waits.
    elsewhere.close()
    results.append(connect(OWN, other)[1])
    return results


@case
def connections_with_the_same_names_by_loopback():
    server = listener(backlog=64)
    port = unused_port()

    def connect(address, to):
        client, _ = bound(address, port, REUSE_ADDRESS)
        return client, attempt(client.connect, (to, port_of(server)))

    first, result = connect(LOOPBACK, LOOPBACK)
    results = [result]
    others = [] if IS_IPV6 else [("127.0.0.2", LOOPBACK), (LOOPBACK, "127.0.0.2")]
    for address, to in [(LOOPBACK, LOOPBACK), *others]:
        results.append(connect(address, to)[1])
    accepted, _ = server.accept()
    first.close()
    accepted.close()
    select.select([], [], [], NAMES_WAIT_MS / 1000)
    results.append(connect(LOOPBACK, LOOPBACK)[1])
    return results


@case
def connecting_while_connecting():
    # Its queue is full: SYNs are not answered.
    server = listener(backlog=0)
    waiting = [stream() for _ in range(4)]
    for client in waiting:
        client.setblocking(False)
        attempt(client.connect, (OWN, port_of(server)))
    select.select([], [], [], 0.2)
    client = waiting[-1]
    result = attempt(client.connect, (OWN, port_of(server))), events(client), attempt(client.send, b"x")
    return *result, attempt(client.recv, 1), attempt(client.listen, 1), client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def events_in_every_state():
    found = {}
    made = stream()
    found["new"] = events(made)
    made.bind((OWN, 0))
    found["bound"] = events(made)
    made.listen(1)
    found["listening"] = events(made)
    refused = stream()
    refused.setblocking(False)
    attempt(refused.connect, (OWN, unused_port()))
    found["refused"] = events(refused, select.POLLOUT, 5000), events(refused)
    found["error"] = refused.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), events(refused)
    _, client, accepted = pair()
    found["connected"] = events(client), events(accepted)
    client.shutdown(socket.SHUT_WR)
    found["half closed"] = events(client), events(accepted, timeout=5000)
    accepted.shutdown(socket.SHUT_WR)
    found["closed by both"] = events(client, select.POLLIN, 5000), events(client), events(accepted)
    _, client, accepted = pair()
    client.shutdown(socket.SHUT_RD)
    found["not reading"] = events(client), events(accepted)
    _, client, accepted = pair()
    reset(accepted)
    found["reset"] = events(client, 0, 5000), events(client)
    found["reset, error taken"] = client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR), events(client)
    return found


@case
def what_options_tell_of_a_connection():
    server, client, accepted = pair()
    length, address = (28, slice(8, 24)) if IS_IPV6 else (16, slice(4, 8))

    def of(one):
        peer = one.getsockopt(socket.SOL_SOCKET, 28, length)  # SO_PEERNAME
        return (
            [one.getsockopt(socket.SOL_SOCKET, getattr(socket, option)) for option in ("SO_ACCEPTCONN", "SO_DOMAIN", "SO_PROTOCOL")],
            one.getsockopt(socket.SOL_SOCKET, 49) >= 0,  # SO_INCOMING_CPU
            len(one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 500)),
            name(socket.inet_ntop(FAMILY, peer[address]), int.from_bytes(peer[2:4], "big")) == one.getpeername(),
        )

    return of(client), of(accepted), attempt(server.getsockopt, socket.SOL_SOCKET, 28, length)


@case
def opening_fast():
    server, client = listener(), stream()
    sent = attempt(client.sendto, b"early", socket.MSG_FASTOPEN, (OWN, port_of(server)))
    accepted, peer = server.accept()
    received = accepted.recv(100).decode()
    accepted.sendall(b"late")
    return sent, received, client.recv(100).decode(), peer == client.getsockname()


@case
def lingering():
    def result(seconds):
        _, client, accepted = pair()
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, seconds))
        client.sendall(b"x" * 100_000)
        reader = ctypes.CDLL(None).close(client.detach()) if seconds else client.close()
        received = 0
        try:
            while chunk := accepted.recv(65536):
                received += len(chunk)
        except ConnectionResetError:
            return "reset"
        return received, reader

    return result(0), result(1)
