"""What the cases are made of."""

import errno
import select
import socket
import struct
import sys

OWN = sys.argv[1]
IS_IPV6 = ":" in OWN
FAMILY = socket.AF_INET6 if IS_IPV6 else socket.AF_INET
LOOPBACK = "::1" if IS_IPV6 else "127.0.0.1"
ANY = "::" if IS_IPV6 else "0.0.0.0"
CASES = {}
TIMEOUT_SECONDS = 10


def case(function):
    CASES[function.__name__.replace("_", " ")] = function
    return function


def case_of_ipv4(function):
    """What IPv6 has nothing like."""
    return function if IS_IPV6 else case(function)


def attempt(function, *arguments):
    """The result, or the errno's name."""
    try:
        result = function(*arguments)
    except OSError as error:
        return errno.errorcode.get(error.errno, type(error).__name__)
    return result.decode() if isinstance(result, bytes) else "ok" if result is None else result


def stream(family=FAMILY, *options):
    made = socket.socket(family, socket.SOCK_STREAM)
    for level, name, value in options:
        made.setsockopt(level, name, value)
    return made


REUSE_ADDRESS = (socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
REUSE_PORT = (socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
V6_ONLY = (socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)


def listener(*options, address="", backlog=16):
    made = stream(FAMILY, *options)
    made.bind((address, 0))
    made.listen(backlog)
    return made


def name(address, port):
    """As Python tells a socket's name."""
    return (address, port, 0, 0) if IS_IPV6 else (address, port)


def port_of(sock):
    return sock.getsockname()[1]


def pair(*options):
    """Listener, client, accepted; blocking, with a time-out by the kernel."""
    server = listener(REUSE_ADDRESS)
    client = stream(FAMILY, *options)
    client.connect((OWN, port_of(server)))
    accepted, _ = server.accept()
    for one in (client, accepted):
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", TIMEOUT_SECONDS, 0))
    return server, client, accepted


def unused_port():
    with listener() as server:
        return port_of(server)


def events(sock, wanted=select.POLLIN | select.POLLOUT | select.POLLRDHUP, timeout=0):
    poll = select.poll()
    poll.register(sock, wanted)
    names = ("POLLIN", "POLLOUT", "POLLERR", "POLLHUP", "POLLRDHUP")
    return [name for _, found in poll.poll(timeout) for name in names if found & getattr(select, name)]
