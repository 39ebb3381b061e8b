"""Many connections.

connections.py serve PORT                   echoes, over as many connections as there are
connections.py hold ADDRESS PORT COUNT      opens them all, uses each one while all are open: prints "done"
connections.py exhaust ADDRESS PORT COUNT   opens connections until one fails: {"opened", "error", "after"}; `after` is
                                            the result of one more once all were closed; COUNT: gives up
connections.py http ADDRESS PORT COUNT      requests, one after the other, each on a connection that the server closes
"""

import errno
import json
import multiprocessing
import resource
import select
import signal
import socket
import struct
import sys

TIMEOUT_SECONDS = 60
PROCESSES = 3


def in_processes(work, count):
    """Calls work(barrier) in each of that many processes: one may not have as many descriptors as are needed."""
    # Daemons end with this process, if it ends in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(count)
    processes = [context.Process(target=work, args=(barrier,), daemon=True) for _ in range(count)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)


def serve(barrier, port):
    listener = socket.create_server(("", port), backlog=4096, reuse_port=True)
    listener.setblocking(False)
    clients = {}
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)
    if barrier.wait() == 0:
        print("ready", flush=True)
    while True:
        for number, _ in poll.poll():
            if number == listener.fileno():
                try:
                    client, _ = listener.accept()
                except BlockingIOError:
                    continue
                clients[client.fileno()] = client
                poll.register(client, select.EPOLLIN)
            else:
                try:
                    data = clients[number].recv(100)
                except ConnectionResetError:
                    data = b""
                if data:
                    clients[number].sendall(data)
                else:
                    poll.unregister(number)
                    clients.pop(number).close()


def hold(barrier, target, count):
    clients = [socket.create_connection(target, timeout=TIMEOUT_SECONDS) for _ in range(count)]
    for number, client in enumerate(clients):
        client.sendall(b"%d\n" % number)
    for number, client in enumerate(clients):
        wanted = b"%d\n" % number
        answer = client.recv(100)
        assert answer == wanted, (answer, wanted)
        assert client.getpeername() == target
    # Until then all are open.
    barrier.wait()


def exhaust(target, count):
    def attempt():
        made = socket.socket()
        try:
            made.connect(target)
        except OSError as error:
            return errno.errorcode[error.errno]
        # Closing it resets the connection: its ports are free at once.
        made.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        clients.append(made)
        return None

    clients = []
    error = None
    while error is None and len(clients) < count:
        error = attempt()
    opened = len(clients)
    # All of them: which one would make place for the next depends on the front port that is chosen.
    while clients:
        clients.pop().close()
    print(json.dumps({"opened": opened, "error": error, "after": attempt()}))


def http(target, count):
    for number in range(count):
        with socket.create_connection(target, timeout=TIMEOUT_SECONDS) as client:
            client.sendall(b"GET / HTTP/1.0\r\n\r\n")
            answer = client.makefile("rb").read()
        assert answer.startswith(b"HTTP/1.1 200 "), (number, answer)
    print("done")


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
mode, arguments = sys.argv[1], sys.argv[2:]
if mode == "serve":
    in_processes(lambda barrier: serve(barrier, int(arguments[0])), PROCESSES)
else:
    target, count = (arguments[0], int(arguments[1])), int(arguments[2])
    if mode == "hold":
        in_processes(lambda barrier: hold(barrier, target, count // PROCESSES), PROCESSES)
        print("done")
    else:
        {"exhaust": exhaust, "http": http}[mode](target, count)
