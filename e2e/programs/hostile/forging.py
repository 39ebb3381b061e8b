"""SYNs that are made by hand, on the wire between the nodes.

forge SOURCE DESTINATION FRONT_PORT VNI ID PORT OVERLAY_SOURCE  one of each of SHAPES; says whether there was a SYN+ACK, an
                                                 RST, or nothing
flood SOURCE DESTINATION FRONT_PORT VNI ID PORT OVERLAY_SOURCE COUNT  as many SYNs as fast as it can, each of another port

OVERLAY_SOURCE: an IPv4 address, or the id of an endpoint, as connections by IPv6 name theirs
"""

import random
import socket
import struct
import time

from common import say

KIND, LENGTH, EXID = 254, 20, 0x5346
BY_ADDRESS, BY_ID = 1, 2
LOOPBACK, LOOPBACK6 = 1, 2
SYN, RST, ACK = 0x02, 0x04, 0x10
PATIENCE_SECONDS = 1.0


def overlay_source(text):
    """Version of the option that has it, and its four bytes."""
    return (BY_ADDRESS, socket.inet_aton(text)) if "." in text else (BY_ID, struct.pack("!I", int(text)))


def option(source, vni, endpoint, port, kind=KIND, length=LENGTH, exid=EXID, version=None, flags=0):
    own_version, named = source
    return (
        struct.pack("!BBHB", kind, length, exid, (version or own_version) << 4 | flags)
        + vni.to_bytes(3, "big")
        + struct.pack("!I", endpoint)
        + named
        + struct.pack("!HH", port, 40_000)
    )


# What the option of a SYN says, from what would be right.
SHAPES = {
    "valid": lambda *right: option(*right),
    "stale generation": lambda source, vni, endpoint, port: option(source, vni, endpoint + 1000, port),
    "generation 0": lambda source, vni, endpoint, port: option(source, vni, 0, port),
    "unknown network": lambda source, vni, endpoint, port: option(source, vni + 77, endpoint, port),
    "port without a listener": lambda source, vni, endpoint, port: option(source, vni, endpoint, port + 1000),
    "port 0": lambda source, vni, endpoint, port: option(source, vni, endpoint, 0),
    "loopback": lambda *right: option(*right, flags=LOOPBACK),
    "loopback of IPv6": lambda *right: option(*right, flags=LOOPBACK6),
    "no option": lambda *_: b"",
    "another kind": lambda *right: option(*right, kind=253),
    "another ExID": lambda *right: option(*right, exid=0x1234),
    "another version": lambda *right: option(*right, version=9),
    "a length that lies": lambda *right: option(*right, length=4),
    "cut short": lambda *right: option(*right)[:16],
    "not at the end": lambda *right: option(*right) + b"\1\1\1\1",
}
# Where the source is named by an id.
SHAPES_BY_ID = {
    "unknown source": lambda source, *right: option((BY_ID, b"\x7f\xff\xff\xff"), *right),
    "source 0": lambda source, *right: option((BY_ID, bytes(4)), *right),
}


def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF


def syn(source, destination, source_port, port, options):
    offset = 5 + len(options) // 4
    header = struct.pack("!HHIIBBHHH", source_port, port, random.getrandbits(32), 0, offset << 4, SYN, 64_000, 0, 0)
    ends = socket.inet_aton(source) + socket.inet_aton(destination)
    pseudo = ends + struct.pack("!BBH", 0, socket.IPPROTO_TCP, len(header) + len(options))
    total = checksum(pseudo + header + options)
    segment = header[:16] + struct.pack("!HH", total, 0) + options
    ip = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(segment), random.getrandbits(16), 0, 64, socket.IPPROTO_TCP, 0)
    return ip + ends + segment


def answers_to(sniffer, source, destination, port, asked):
    """By source port, to the source that the SYNs pretended to have, wherever that is on the wire."""
    ends = socket.inet_aton(destination) + socket.inet_aton(source) + struct.pack("!H", port)
    answers = {}
    deadline = time.monotonic() + PATIENCE_SECONDS
    while len(answers) < len(asked) and (left := deadline - time.monotonic()) > 0:
        sniffer.settimeout(left)
        try:
            packet = sniffer.recv(256)[14:]
        except TimeoutError:
            break
        if len(packet) < 40 or packet[9] != socket.IPPROTO_TCP or packet[12:22] != ends:
            continue
        (to,) = struct.unpack("!H", packet[22:24])
        if to not in asked or answers.get(to) == "SYN+ACK":
            continue
        if packet[33] & (SYN | ACK) == SYN | ACK:
            answers[to] = "SYN+ACK"
        elif packet[33] & RST:
            answers[to] = "RST"
    return answers


def sender():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def forge(source, destination, port, vni, endpoint, to, overlay):
    # All protocols: what a bridge hands on is shown to nobody who asks for IPv4 only.
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    through = sender()
    named = overlay_source(overlay)
    shapes = SHAPES
    if named[0] == BY_ID:
        shapes = SHAPES | SHAPES_BY_ID
    asked = dict(zip(random.sample(range(20_000, 60_000), len(shapes)), shapes))
    for source_port, what in asked.items():
        options = shapes[what](named, int(vni), int(endpoint), int(to))
        through.sendto(syn(source, destination, source_port, int(port), options), (destination, 0))
    answers = answers_to(sniffer, source, destination, int(port), asked)
    for source_port, what in asked.items():
        say(what=what, answer=answers.get(source_port, "nothing"))


def flood(source, destination, port, vni, endpoint, to, overlay, count):
    through = sender()
    options = option(overlay_source(overlay), int(vni), int(endpoint), int(to))
    for number in range(int(count)):
        packet = syn(source, destination, 1024 + number % 64_000, int(port) + number % 16, options)
        try:
            through.sendto(packet, (destination, 0))
        except OSError:
            time.sleep(0.001)  # the device's queue is full
    say(sent=int(count))
