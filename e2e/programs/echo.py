"""The line echo of the tests (see echo.c), in Python: blocking sockets with threads, or asyncio.

echo.py blocking|asyncio serve PORT
echo.py blocking|asyncio connect ADDRESS:PORT...
"""

import asyncio
import json
import socket
import sys
import threading

ROUNDS = 2


def text(name):
    return f"{name[0]}:{name[1]}"


def result(local, peer, seen):
    return json.dumps({"local": text(local), "peer": text(peer), "seen": seen})


def seen_in(answer, line):
    seen, rest = answer.decode().split(" ", 1)
    assert rest == line, answer
    return seen


def split(target):
    address, port = target.rsplit(":", 1)
    return address, int(port)


def blocking_serve(port):
    def answer(connection, name):
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                connection.sendall(f"{text(name)} ".encode() + line)

    with socket.create_server(("", port)) as listener:
        while True:
            threading.Thread(target=answer, args=listener.accept(), daemon=True).start()


def blocking_connect(targets):
    for target in targets:
        # A timeout makes the socket non-blocking underneath.
        with socket.create_connection(split(target), timeout=10) as connection:
            with connection.makefile("rb") as lines:
                for round in range(ROUNDS):
                    line = f"line {round}\n"
                    connection.sendall(line.encode())
                    seen = seen_in(lines.readline(), line)
            print(result(connection.getsockname(), connection.getpeername(), seen))


async def asyncio_serve(port):
    async def answer(reader, writer):
        name = text(writer.get_extra_info("peername"))
        while line := await reader.readline():
            writer.write(f"{name} ".encode() + line)
        writer.close()

    # One listener for each family, as asyncio does by default.
    server = await asyncio.start_server(answer, None, port)
    await server.serve_forever()


async def asyncio_connect(targets):
    async def converse(target):
        reader, writer = await asyncio.open_connection(*split(target))
        for round in range(ROUNDS):
            line = f"line {round}\n"
            writer.write(line.encode())
            seen = seen_in(await reader.readline(), line)
        print(result(writer.get_extra_info("sockname"), writer.get_extra_info("peername"), seen))
        writer.close()
        await writer.wait_closed()

    await asyncio.gather(*map(converse, targets))


def main(style, role, *arguments):
    run = globals()[f"{style}_{role}"]
    work = run(int(arguments[0])) if role == "serve" else run(arguments)
    if style == "asyncio":
        asyncio.run(work)


main(*sys.argv[1:])
