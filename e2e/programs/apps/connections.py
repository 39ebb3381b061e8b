"""Many connections.

connections.py serve PORT COUNT             echoes, over so many connections at a time
connections.py hold ADDRESS PORT COUNT      prints "begun", opens them all, uses each one: "open"; when its input ends, uses each one
                                            again, resets them: "done"
connections.py exhaust ADDRESS PORT COUNT   opens connections until one fails: {"opened", "error", "after"}; `after` is
                                            the result of one more once all were closed; COUNT: gives up
connections.py http ADDRESS PORT COUNT      requests, as fast as can be, each on a connection that the server closes: prints "done"
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

TIMEOUT_SECONDS = 120
PROCESSES_MIN = 3


def in_processes(count, begin, between=lambda: None):
    """For so many connections at a time, of which one process may not have all: calls begin(share) in each process;
    between() in this one, once all have come back; then what begin has returned."""
    # The kernel spreads a server's connections over its processes, not quite evenly.
    number = max(PROCESSES_MIN, count * 4 // (descriptors * 3) + 1)
    # Daemons end with this process, if it ends in good order.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    context = multiprocessing.get_context("fork")
    barrier = context.Barrier(number + 1)

    def body(index):
        try:
            go_on = begin(count // number + (index < count % number))
            barrier.wait()
            barrier.wait()
        except BaseException:
            barrier.abort()
            raise
        go_on()

    processes = [context.Process(target=body, args=(index,), daemon=True) for index in range(number)]
    for process in processes:
        process.start()
    barrier.wait()
    between()
    barrier.wait()
    for process in processes:
        process.join()
    if any(process.exitcode for process in processes):
        sys.exit(1)


def serve(port):
    listener = socket.create_server(("", port), backlog=4096, reuse_port=True)
    listener.setblocking(False)
    clients = {}
    poll = select.epoll()
    poll.register(listener, select.EPOLLIN)

    def go_on():
        while True:
            for number, _ in poll.poll():
                answer(number)

    def answer(number):
        if number == listener.fileno():
            try:
                client, _ = listener.accept()
            except BlockingIOError:
                return
            clients[client.fileno()] = client
            poll.register(client, select.EPOLLIN)
            return
        try:
            data = clients[number].recv(100)
        except ConnectionResetError:
            data = b""
        if data:
            clients[number].sendall(data)
        else:
            poll.unregister(number)
            clients.pop(number).close()

    return go_on


def hold(target, count):
    clients = [socket.create_connection(target, timeout=TIMEOUT_SECONDS) for _ in range(count)]

    def use():
        for number, client in enumerate(clients):
            client.sendall(b"%d\n" % number)
        for number, client in enumerate(clients):
            wanted = b"%d\n" % number
            answer = client.recv(100)
            assert answer == wanted, (answer, wanted)
            assert client.getpeername() == target

    def go_on():
        use()
        for client in clients:
            reset_at_close(client)

    use()
    return go_on


def all_are_open():
    print("open", flush=True)
    sys.stdin.read()


def reset_at_close(client):
    """Its ports are free at once then."""
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


def exhaust(target, count):
    def attempt():
        made = socket.socket()
        try:
            made.connect(target)
        except OSError as error:
            return errno.errorcode[error.errno]
        reset_at_close(made)
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
    def go_on():
        for number in range(count):
            with socket.create_connection(target, timeout=TIMEOUT_SECONDS) as client:
                client.sendall(b"GET / HTTP/1.0\r\n\r\n")
                answer = client.makefile("rb").read()
            assert answer.startswith(b"HTTP/1.1 200 "), (number, answer)

    return go_on


_, descriptors = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (descriptors, descriptors))
mode, *target, count = sys.argv[1:]
port, count = int(target[-1]), int(count)
target = (target[0], port)
if mode == "serve":
    in_processes(count, lambda _: serve(port), lambda: print("ready", flush=True))
elif mode == "exhaust":
    exhaust(target, count)
elif mode == "hold":
    print("begun", flush=True)
    in_processes(count, lambda share: hold(target, share), all_are_open)
    print("done")
else:
    # Of which few are there at a time.
    in_processes(0, lambda _: http(target, count // PROCESSES_MIN))
    print("done")
