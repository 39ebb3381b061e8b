"""What connect, and calls on sockets in the wrong state, give."""

import errno
import select
import socket

from harness import FAMILY, IS_IPV6, OWN, REUSE_ADDRESS, attempt, case, events, listener, pair, port_of, stream, unused_port


@case
def connecting_to_nobody():
    return attempt(stream().connect, (OWN, unused_port()))


@case
def connecting_to_nobody_without_blocking():
    client = stream()
    client.setblocking(False)
    first = attempt(client.connect, (OWN, unused_port()))
    return first, events(client, timeout=5000), errno.errorcode[client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)]


@case
def connecting_again_after_a_refusal():
    client = stream()
    refused = attempt(client.connect, (OWN, unused_port()))
    server = listener()
    return refused, attempt(client.connect, (OWN, port_of(server))), server.accept()[0].fileno() >= 0


@case
def connecting_without_blocking():
    server, client = listener(), stream()
    client.setblocking(False)
    first = attempt(client.connect, (OWN, port_of(server)))
    ready = events(client, select.POLLOUT, 5000)
    return first, ready, client.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)


@case
def connecting_twice():
    server, client, _ = pair()
    return attempt(client.connect, (OWN, port_of(server)))


@case
def connecting_a_listener():
    server, other = listener(), listener()
    return attempt(server.connect, (OWN, port_of(other)))


@case
def connecting_with_the_wrong_family():
    if IS_IPV6:
        return attempt(stream(socket.AF_INET).connect, ("192.0.2.1", 80))
    return attempt(stream(socket.AF_INET6).connect, ("2001:db8::1", 80, 0, 0))


@case
def connecting_to_a_closed_listener():
    server = listener()
    port = port_of(server)
    server.close()
    return attempt(stream().connect, (OWN, port))


@case
def closing_a_listener_resets_what_waits():
    server, client = listener(), stream()
    client.connect((OWN, port_of(server)))
    server.close()
    return attempt(client.recv, 1)


@case
def connecting_to_oneself():
    client = stream()
    client.bind((OWN, 0))
    name = client.getsockname()
    done = attempt(client.connect, name)
    return done, client.getpeername() == name if done == "ok" else None


@case
def binding_before_connecting():
    server = listener()
    client = stream()
    client.bind((OWN, 0))
    name = client.getsockname()
    client.connect((OWN, port_of(server)))
    return client.getsockname() == name, server.accept()[1] == name


@case
def two_connections_from_one_port():
    servers, clients = [listener(), listener()], []
    port = unused_port()
    for server in servers:
        client = stream(FAMILY, REUSE_ADDRESS)
        bound = attempt(client.bind, (OWN, port))
        connected = attempt(client.connect, (OWN, port_of(server)))
        clients.append((bound, connected, client))
    return [client[:2] for client in clients]


@case
def calls_on_an_unconnected_socket():
    made = stream()
    return {
        "getpeername": attempt(made.getpeername),
        "recv": attempt(made.recv, 1),
        "send": attempt(made.send, b"x"),
        "shutdown": attempt(made.shutdown, socket.SHUT_RDWR),
        "accept": attempt(made.accept),
        "events": events(made),
    }


@case
def calls_on_a_listener():
    server = listener()
    server.setblocking(False)
    return {
        "getpeername": attempt(server.getpeername),
        "recv": attempt(server.recv, 1),
        "send": attempt(server.send, b"x"),
        "accept": attempt(server.accept),
        "listen": attempt(server.listen, 5),
        "bind": attempt(server.bind, ("", 0)),
        "events": events(server),
        "SO_ACCEPTCONN": server.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
    }


@case
def calls_on_a_connected_socket():
    _, client, _ = pair()
    return {
        "listen": attempt(client.listen, 5),
        "bind": attempt(client.bind, ("", 0)),
        "accept": attempt(client.accept),
        "events": events(client),
        "SO_ACCEPTCONN": client.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN),
    }


@case
def a_backlog_that_is_full():
    server = listener(backlog=1)
    clients = []
    for _ in range(4):
        client = stream()
        client.setblocking(False)
        attempt(client.connect, (OWN, port_of(server)))
        clients.append(client)
    select.select([], clients, [], 5)
    connected = [client for client in clients if events(client, select.POLLOUT, 300) == ["POLLOUT"]]
    return len(connected)
