"""Python's socketserver and asyncio, with and without TLS: servers, and clients with many connections at a time.

servers.py serve PORT CERTIFICATE KEY     threads on PORT, processes on the next, asyncio, asyncio with TLS
servers.py talk ADDRESS PORT CERTIFICATE  prints "done"
"""

import asyncio
import socket
import socketserver
import ssl
import sys
import threading

CLIENTS = 40
ROUNDS = 3


class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(b"%s:%d %s" % (self.client_address[0].encode(), self.client_address[1], line))


class Threads(socketserver.ThreadingTCPServer):
    request_queue_size = 2 * CLIENTS
    daemon_threads = True


class Processes(socketserver.ForkingTCPServer):
    request_queue_size = 2 * CLIENTS
    max_children = 2 * CLIENTS


async def echo(reader, writer):
    while line := await reader.readline():
        writer.write(b"%s:%d %s" % (writer.get_extra_info("peername")[0].encode(), writer.get_extra_info("peername")[1], line))
        await writer.drain()
    writer.close()


def of_ipv6(kind):
    """The same by IPv6, as a socket of its own."""

    class Server(kind):
        address_family = socket.AF_INET6

        def server_bind(self):
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            super().server_bind()

    return Server


async def serve(port, certificate, key):
    for offset, kind in [(0, Threads), (0, of_ipv6(Threads)), (1, Processes), (1, of_ipv6(Processes))]:
        server = kind(("", port + offset), Echo)
        threading.Thread(target=server.serve_forever, daemon=True).start()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(certificate, key)
    await asyncio.start_server(echo, port=port + 2, backlog=2 * CLIENTS)
    await asyncio.start_server(echo, port=port + 3, backlog=2 * CLIENTS, ssl=context)
    print("ready", flush=True)
    await asyncio.Event().wait()


async def converse(address, port, context):
    reader, writer = await asyncio.open_connection(
        address, port, ssl=context, server_hostname="server.test" if context else None
    )
    host, own_port = writer.get_extra_info("sockname")[:2]
    for number in range(ROUNDS):
        writer.write(b"%d\n" % number)
        answer = await reader.readline()
        wanted = b"%s:%d %d\n" % (host.encode(), own_port, number)
        assert answer == wanted, (answer, wanted)
    writer.close()
    await writer.wait_closed()


async def talk(address, port, certificate):
    context = ssl.create_default_context(cafile=certificate)
    for offset in range(4):
        tls = context if offset == 3 else None
        conversations = (converse(address, port + offset, tls) for _ in range(CLIENTS))
        await asyncio.wait_for(asyncio.gather(*conversations), 60)
    print("done")


if sys.argv[1] == "serve":
    asyncio.run(serve(int(sys.argv[2]), *sys.argv[3:]))
else:
    asyncio.run(talk(sys.argv[2], int(sys.argv[3]), sys.argv[4]))
