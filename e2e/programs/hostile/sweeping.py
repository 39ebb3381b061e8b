"""Every number of an option, at every level that a TCP socket may know: what can be set, and what can be read."""

import errno
import json
import socket

# IP, SOCKET, ICMP, TCP, UDP, IPV6, ICMPV6, SCTP, UDPLITE, RAW, and those of other families (NETLINK, TLS, MPTCP among them);
# 0x5346 is the level by which the agent gives a socket to an endpoint.
LEVELS = [0, 1, 2, 6, 17, 41, 58, 132, 136, 255, *range(256, 288), 0x5346]
# The tables end at 128, and packet filters begin there.
OPTIONS = [*range(130), 255, 256, 1000, 0x10001, 0x7FFFFFFF, -1]
VALUES = [(1).to_bytes(4, "little"), bytes(4), bytes(64), b"lo\0\0"]
MOST_BYTES = 256


def outcome(call, *args):
    try:
        return call(*args)
    except OSError as failure:
        return errno.errorcode.get(failure.errno, str(failure.errno))


def set_on_fresh(family, level, option, value):
    with socket.socket(family) as fresh:
        result = outcome(fresh.setsockopt, level, option, value)
    return "ok" if result is None else result


def read(sock, level, option):
    """An errno, or how long the value is and whether it says anything."""
    value = outcome(sock.getsockopt, level, option, MOST_BYTES)
    return value if isinstance(value, str) else [len(value), any(value)]


def sweep():
    """One line for each family, level and option."""
    for family, loopback in (socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1"):
        with socket.socket(family) as listener, socket.socket(family) as client, socket.socket(family) as fresh:
            listener.bind((loopback, 0))
            listener.listen()
            client.connect(listener.getsockname())
            for level in LEVELS:
                for option in OPTIONS:
                    print(
                        json.dumps(
                            {
                                "family": family.name,
                                "level": level,
                                "option": option,
                                "set": [set_on_fresh(family, level, option, value) for value in VALUES],
                                "get": [read(sock, level, option) for sock in (fresh, client, listener)],
                            }
                        )
                    )
