"""Who may bind which port when, and who gets its connections."""

import socket

from harness import FAMILY, IS_IPV6, LOOPBACK, OWN, REUSE_ADDRESS, REUSE_PORT, V6_ONLY, attempt, case, name, pair, port_of, stream


@case
def binding_twice():
    made = stream()
    made.bind(("", 0))
    return attempt(made.bind, ("", 0))


NOBODYS = ("2001:db8::1", "fdff::1") if IS_IPV6 else ("192.0.2.1", "10.255.255.254")


@case
def binding_elsewhere():
    return [attempt(stream().bind, (address, 0)) for address in NOBODYS]


def second_bind(first_address, second_address, first=(), second=(), listening=True):
    one, other = stream(FAMILY, *first), stream(FAMILY, *second)
    one.bind((first_address, 0))
    if listening:
        one.listen(1)
    bound = attempt(other.bind, (second_address, port_of(one)))
    return bound, attempt(other.listen, 1) if bound == "ok" else None


@case
def binding_a_port_that_is_taken():
    both = {"first": [REUSE_ADDRESS], "second": [REUSE_ADDRESS]}
    return {
        "listening": second_bind("", ""),
        "bound": second_bind("", "", listening=False),
        "listening, SO_REUSEADDR": second_bind("", "", **both),
        "bound, SO_REUSEADDR": second_bind("", "", **both, listening=False),
        "bound, SO_REUSEADDR on one": second_bind("", "", second=[REUSE_ADDRESS], listening=False),
        "SO_REUSEPORT": second_bind("", "", first=[REUSE_PORT], second=[REUSE_PORT]),
        "SO_REUSEPORT on one": second_bind("", "", second=[REUSE_PORT]),
        "any and own": second_bind("", OWN),
        "own and any": second_bind(OWN, ""),
        "own and loopback": second_bind(OWN, LOOPBACK),
        "loopback and loopback": second_bind(LOOPBACK, LOOPBACK),
        "any and own, SO_REUSEADDR": second_bind("", OWN, **both),
        "any and own, bound, SO_REUSEADDR": second_bind("", OWN, **both, listening=False),
    }


@case
def binding_a_port_in_the_other_family():
    def other_family(first_family, first_options, second_family, second_options):
        one, other = stream(first_family, *first_options), stream(second_family, *second_options)
        one.bind(("" if first_family == socket.AF_INET else "::", 0))
        one.listen(1)
        any_address = "" if second_family == socket.AF_INET else "::"
        return attempt(other.bind, (any_address, port_of(one)))

    return {
        "IPv4, dual-stack": other_family(socket.AF_INET, [], socket.AF_INET6, []),
        "dual-stack, IPv4": other_family(socket.AF_INET6, [], socket.AF_INET, []),
        "IPv4, IPv6-only": other_family(socket.AF_INET, [], socket.AF_INET6, [V6_ONLY]),
        "IPv6-only, IPv4": other_family(socket.AF_INET6, [V6_ONLY], socket.AF_INET, []),
        "IPv6-only, dual-stack": other_family(socket.AF_INET6, [V6_ONLY], socket.AF_INET6, []),
    }


@case
def binding_a_port_that_was_used():
    server, client, accepted = pair()
    port = port_of(server)
    # The server closes first: its side goes to TIME_WAIT.
    accepted.close()
    client.recv(1)
    client.close()
    server.close()
    plain = attempt(stream().bind, ("", port))
    return plain, attempt(stream(FAMILY, REUSE_ADDRESS).bind, ("", port))


@case
def binding_a_port_again_after_closing():
    made = stream()
    made.bind(("", 0))
    port = port_of(made)
    made.close()
    return attempt(stream().bind, ("", port))


@case
def binding_a_port_while_connections_of_its_closed_listener_live():
    server, client, accepted = pair()
    port = port_of(server)
    server.close()
    plain = attempt(stream().bind, ("", port))
    reusing = stream(FAMILY, REUSE_ADDRESS)
    result = plain, attempt(reusing.bind, ("", port)), attempt(reusing.listen, 1)
    again = stream()
    again.connect((OWN, port))
    return *result, reusing.accept()[0].fileno() >= 0, client.send(b"x"), accepted.recv(1) == b"x"


@case
def listening_without_binding():
    server = stream()
    server.listen(1)
    client = stream()
    client.connect((OWN, port_of(server)))
    return server.accept()[0].getsockname() == name(OWN, port_of(server))


@case
def balancing_of_listeners_that_share_a_port():
    servers = [stream(FAMILY, REUSE_PORT)]
    servers[0].bind(("", 0))
    for _ in range(3):
        servers.append(stream(FAMILY, REUSE_PORT))
        servers[-1].bind(("", port_of(servers[0])))
    for server in servers:
        server.listen(200)
        server.setblocking(False)
    clients = [socket.create_connection((OWN, port_of(servers[0]))) for _ in range(200)]
    accepted = [0] * len(servers)
    for index, server in enumerate(servers):
        while attempt(server.accept) != "EAGAIN":
            accepted[index] += 1
    del clients
    return sum(accepted), all(accepted)
