"""Stores and reads values over many connections that are open at the same time: memcached.py PORT COUNT ADDRESS."""

import socket
import sys

port, count, address = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
VALUE = b"v" * 5000
clients = [socket.create_connection((address, port), timeout=30) for _ in range(count)]
lines = [client.makefile("rb") for client in clients]
for number, client in enumerate(clients):
    client.sendall(b"set key%d 0 600 %d\r\n%s\r\n" % (number, len(VALUE), VALUE))
for answer in lines:
    assert answer.readline() == b"STORED\r\n"
for number, client in enumerate(reversed(clients)):
    client.sendall(b"get key%d\r\n" % number)
for number, answer in enumerate(reversed(lines)):
    assert answer.readline() == b"VALUE key%d 0 %d\r\n" % (number, len(VALUE))
    assert answer.readline() == VALUE + b"\r\n"
    assert answer.readline() == b"END\r\n"
clients[0].sendall(b"stats\r\n")
open_now = 0
while (line := lines[0].readline()) != b"END\r\n":
    if line.startswith(b"STAT curr_connections "):
        open_now = int(line.split()[2])
assert open_now >= count, open_now
print("done")
