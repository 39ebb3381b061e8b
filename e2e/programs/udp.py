"""UDP between endpoints.

udp.py serve PORT             answers each datagram with "ADDRESS:PORT LENGTH", the sender and the length as it sees them
udp.py ask ADDRESS PORT LENGTH  sends such a datagram until it is answered (UDP may lose it); prints the names as JSON
"""

import json
import socket
import sys

ATTEMPTS = 50
# Connecting fixes the source address, so that getsockname tells it.
ANSWER_TIMEOUT_SECONDS = 0.3


def serve(port):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as server:
        server.bind(("", int(port)))
        print("ready", flush=True)
        while True:
            datagram, sender = server.recvfrom(65536)
            server.sendto(f"{sender[0]}:{sender[1]} {len(datagram)}".encode(), sender)


def ask(address, port, length):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.settimeout(ANSWER_TIMEOUT_SECONDS)
        client.connect((address, int(port)))
        for _ in range(ATTEMPTS):
            try:
                client.send(b"x" * int(length))
                seen, received = client.recv(2048).decode().split(" ")
            except OSError:
                continue
            local, peer = ("%s:%d" % name for name in (client.getsockname(), client.getpeername()))
            print(json.dumps({"local": local, "peer": peer, "seen": seen, "received": int(received)}))
            return
        sys.exit(f"no answer from {address}:{port}")


{"serve": serve, "ask": ask}[sys.argv[1]](*sys.argv[2:])
