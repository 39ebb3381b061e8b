"""Sockets as descriptors: numbers, flags, options, and other processes."""

import array
import os
import select
import socket

from harness import OWN, attempt, case, listener, name, pair, port_of, stream

# Not in Python's socket module.
IP_BIND_ADDRESS_NO_PORT = 24


@case
def duplicating():
    _, client, accepted = pair()
    copy = client.dup()
    client.close()
    copy.sendall(b"x")
    return accepted.recv(1).decode(), copy.getpeername() == accepted.getsockname()


@case
def forking():
    server = listener()
    child = os.fork()
    if child == 0:
        accepted, _ = server.accept()
        accepted.sendall(b"child")
        os._exit(0)
    client = stream()
    client.connect((OWN, port_of(server)))
    text = client.recv(100).decode()
    return text, os.waitpid(child, 0)[1]


@case
def making_sockets_in_a_forked_process():
    server = listener()
    child = os.fork()
    if child == 0:
        with stream() as client:
            client.connect((OWN, port_of(server)))
            client.sendall(b"child")
        os._exit(0)
    accepted, _ = server.accept()
    return accepted.recv(100).decode(), os.waitpid(child, 0)[1]


@case
def passing_to_another_process():
    ours, theirs = socket.socketpair()
    server, client, accepted = pair()
    child = os.fork()
    if child == 0:
        _, control, _, _ = theirs.recvmsg(1, socket.CMSG_SPACE(8))
        received = socket.socket(fileno=array.array("i", control[0][2])[0])
        received.sendall(b"passed")
        os._exit(0 if received.getpeername() == client.getsockname() else 1)
    ours.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [accepted.fileno()]))])
    accepted.close()
    return client.recv(100).decode(), os.waitpid(child, 0)[1]


@case
def keeping_across_exec():
    _, client, accepted = pair()
    client.set_inheritable(True)
    child = os.fork()
    if child == 0:
        os.execvp("sh", ["sh", "-c", f"echo executed >&{client.fileno()}"])
    text = accepted.recv(100).decode()
    return text, os.waitpid(child, 0)[1]


@case
def flags():
    import fcntl

    def of(sock):
        return fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK != 0, fcntl.fcntl(sock, fcntl.F_GETFD)

    libc_flags = {
        "none": socket.SOCK_STREAM,
        "SOCK_NONBLOCK": socket.SOCK_STREAM | socket.SOCK_NONBLOCK,
    }
    made = {name: of(socket.socket(socket.AF_INET, kind)) for name, kind in libc_flags.items()}
    server, client, accepted = pair()
    # Python asks for CLOEXEC with each socket.
    return made, of(server), of(client), of(accepted)


@case
def descriptors_are_the_lowest_free_ones():
    first, second = stream(), stream()
    number = first.fileno()
    first.close()
    third = stream(socket.AF_INET6)
    return third.fileno() == number, second.fileno() > number


@case
def a_descriptor_limit():
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
    made = []
    try:
        while True:
            result = attempt(stream)
            if isinstance(result, str):
                return result, made[-1].fileno()
            made.append(result)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@case
def options_as_they_are_at_first():
    def of(family):
        made = stream(family)
        return {
            name: made.getsockopt(socket.SOL_SOCKET, getattr(socket, name))
            for name in (
                "SO_DOMAIN",
                "SO_TYPE",
                "SO_PROTOCOL",
                "SO_REUSEADDR",
                "SO_REUSEPORT",
                "SO_KEEPALIVE",
                "SO_LINGER",
                "SO_OOBINLINE",
                "SO_ERROR",
                "SO_MARK",
                "SO_PRIORITY",
                "SO_SNDBUF",
                "SO_RCVBUF",
            )
        } | {
            "TCP_NODELAY": made.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
            "TCP_CORK": made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK),
            "TCP_SYNCNT": made.getsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT),
            "TCP_CONGESTION": made.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode(),
            "IPV6_V6ONLY": made.getsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY)
            if family == socket.AF_INET6
            else None,
            "IP_TTL": made.getsockopt(socket.IPPROTO_IP, socket.IP_TTL),
            "IP_TOS": made.getsockopt(socket.IPPROTO_IP, socket.IP_TOS),
            "IP_BIND_ADDRESS_NO_PORT": made.getsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT),
        }

    return of(socket.AF_INET), of(socket.AF_INET6)


@case
def options_that_are_set():
    options = [
        (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
        (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
        (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 77),
        (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 5000),
        (socket.IPPROTO_IP, socket.IP_TOS, 0x10),
        (socket.SOL_SOCKET, socket.SO_PRIORITY, 3),
    ]
    _, client, _ = pair(*options)
    return [client.getsockopt(level, name) for level, name, _ in options]


@case
def options_that_accepted_sockets_inherit():
    server = listener((socket.IPPROTO_TCP, socket.TCP_NODELAY, 1), (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1))
    client = stream()
    client.connect((OWN, port_of(server)))
    accepted, _ = server.accept()
    return (
        accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY),
        accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE),
        accepted.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR),
    )


@case
def sockets_that_are_not_ours():
    def make(*arguments):
        return attempt(lambda: socket.socket(*arguments).close())

    return {
        "UDP": make(socket.AF_INET, socket.SOCK_DGRAM),
        "UDP over IPv6": make(socket.AF_INET6, socket.SOCK_DGRAM),
        "stream of UDP": make(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP),
        "datagrams of TCP": make(socket.AF_INET, socket.SOCK_DGRAM, socket.IPPROTO_TCP),
        "unix": make(socket.AF_UNIX, socket.SOCK_STREAM),
        "netlink": make(socket.AF_NETLINK, socket.SOCK_RAW),
        "unknown type": make(socket.AF_INET, 9),
        "unknown family": make(1000, socket.SOCK_STREAM),
        "TCP by number": make(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP),
        "wrong protocol": make(socket.AF_INET, socket.SOCK_STREAM, 250),
    }


@case
def registering_before_connecting():
    server, client = listener(), stream()
    client.setblocking(False)
    poll = select.epoll()
    poll.register(client, select.EPOLLIN | select.EPOLLOUT | select.EPOLLET)
    unconnected = [found for _, found in poll.poll(0)]
    attempt(client.connect, (OWN, port_of(server)))
    connected = [found for _, found in poll.poll(5)]
    accepted, _ = server.accept()
    accepted.sendall(b"x")
    return unconnected, connected, [found for _, found in poll.poll(5)], client.recv(1).decode()


@case
def duplicating_before_connecting():
    server, client = listener(), stream()
    copy = client.dup()
    other = os.dup2(client.fileno(), 200)
    client.connect((OWN, port_of(server)))
    accepted, peer = server.accept()
    os.write(other, b"x")
    os.close(other)
    return copy.getsockname() == peer, copy.getpeername() == name(OWN, port_of(server)), accepted.recv(1).decode()


@case
def setting_options_before_connecting():
    options = [
        (socket.SOL_SOCKET, socket.SO_RCVBUF, 65536),
        (socket.SOL_SOCKET, socket.SO_SNDBUF, 65536),
        (socket.IPPROTO_TCP, socket.TCP_MAXSEG, 500),
        (socket.IPPROTO_TCP, socket.TCP_WINDOW_CLAMP, 30_000),
        (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
        (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
        (socket.IPPROTO_TCP, socket.TCP_QUICKACK, 0),
        (socket.IPPROTO_TCP, socket.TCP_LINGER2, 7),
        (socket.IPPROTO_TCP, socket.TCP_CONGESTION, b"reno"),
        (socket.IPPROTO_IP, socket.IP_TTL, 33),
    ]
    server, client = listener(), stream()
    results = [attempt(client.setsockopt, *option) for option in options]
    client.connect((OWN, port_of(server)))
    # These are what the kernel makes of them.
    made_of = (socket.TCP_CONGESTION, socket.TCP_MAXSEG, socket.TCP_QUICKACK)
    kept = [client.getsockopt(level, name) for level, name, _ in options if name not in made_of]
    return results, kept, client.getsockopt(socket.IPPROTO_TCP, socket.TCP_CONGESTION, 16).rstrip(b"\0").decode()


@case
def the_state_of_a_connection():
    server, client, accepted = pair()
    # tcpi_state: established, listening.
    states = [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for one in (client, accepted, server)]
    client.shutdown(socket.SHUT_WR)
    accepted.recv(1)
    return states, [one.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0] for one in (client, accepted)]
