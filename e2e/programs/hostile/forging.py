"""SYNs that are made by hand, on the wire between the nodes.

forge SOURCE DESTINATION FRONT_PORT VNI ID PORT   one of each of SHAPES; says whether there was a SYN+ACK, an RST, or nothing
flood SOURCE DESTINATION FRONT_PORT VNI ID PORT COUNT  as many SYNs as fast as it can, each of another port
"""

import random
import socket
import struct
import time

from common import say

KIND, LENGTH, EXID, VERSION = 254, 20, 0x5346, 1
LOOPBACK, LOOPBACK6 = 1, 2
SYN, RST, ACK = 0x02, 0x04, 0x10
PATIENCE_SECONDS = 0.5
OVERLAY_SOURCE = "10.32.99.99"


def option(vni, endpoint, port, kind=KIND, length=LENGTH, exid=EXID, version=VERSION, flags=0):
    return (
        struct.pack("!BBHB", kind, length, exid, version << 4 | flags)
        + vni.to_bytes(3, "big")
        + struct.pack("!I", endpoint)
        + socket.inet_aton(OVERLAY_SOURCE)
        + struct.pack("!HH", port, 40_000)
    )


# What the option of a SYN says, from what would be right.
SHAPES = {
    "valid": lambda vni, endpoint, port: option(vni, endpoint, port),
    "stale generation": lambda vni, endpoint, port: option(vni, endpoint + 1000, port),
    "generation 0": lambda vni, endpoint, port: option(vni, 0, port),
    "unknown network": lambda vni, endpoint, port: option(vni + 77, endpoint, port),
    "port without a listener": lambda vni, endpoint, port: option(vni, endpoint, port + 1000),
    "port 0": lambda vni, endpoint, port: option(vni, endpoint, 0),
    "loopback": lambda vni, endpoint, port: option(vni, endpoint, port, flags=LOOPBACK),
    "loopback of IPv6": lambda vni, endpoint, port: option(vni, endpoint, port, flags=LOOPBACK6),
    "no option": lambda *_: b"",
    "another kind": lambda vni, endpoint, port: option(vni, endpoint, port, kind=253),
    "another ExID": lambda vni, endpoint, port: option(vni, endpoint, port, exid=0x1234),
    "another version": lambda vni, endpoint, port: option(vni, endpoint, port, version=9),
    "a length that lies": lambda vni, endpoint, port: option(vni, endpoint, port, length=4),
    "cut short": lambda vni, endpoint, port: option(vni, endpoint, port)[:16],
    "not at the end": lambda vni, endpoint, port: option(vni, endpoint, port) + b"\1\1\1\1",
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


def answer_to(sniffer, source, destination, source_port, port):
    """To the source that the SYN pretended to have, wherever that is on the wire."""
    ends = socket.inet_aton(destination) + socket.inet_aton(source) + struct.pack("!HH", port, source_port)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while (left := deadline - time.monotonic()) > 0:
        sniffer.settimeout(left)
        try:
            frame = sniffer.recv(256)
        except TimeoutError:
            break
        packet = frame[14:]
        if len(packet) < 40 or packet[9] != socket.IPPROTO_TCP or packet[12:24] != ends:
            continue
        if packet[33] & (SYN | ACK) == SYN | ACK:
            return "SYN+ACK"
        if packet[33] & RST:
            return "RST"
    return "nothing"


def sender():
    return socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)


def forge(source, destination, port, vni, endpoint, to):
    # All protocols: what a bridge hands on is shown to nobody who asks for IPv4 only.
    sniffer = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
    through = sender()
    for what, shape in SHAPES.items():
        source_port = random.randrange(20_000, 60_000)
        options = shape(int(vni), int(endpoint), int(to))
        through.sendto(syn(source, destination, source_port, int(port), options), (destination, 0))
        say(what=what, answer=answer_to(sniffer, source, destination, source_port, int(port)))


def flood(source, destination, port, vni, endpoint, to, count):
    through = sender()
    options = option(int(vni), int(endpoint), int(to))
    for number in range(int(count)):
        packet = syn(source, destination, 1024 + number % 64_000, int(port) + number % 16, options)
        try:
            through.sendto(packet, (destination, 0))
        except OSError:
            time.sleep(0.001)  # the device's queue is full
    say(sent=int(count))
