"""What an application sees while its node's agent is killed.

durable.py keep ADDRESS PORT COUNT   opens COUNT connections and prints "ready"; at each line of its input it uses all of them
                                     and prints how many are broken
durable.py connect ADDRESS PORT      connects again and again, prints "ready", and when its input ends {"count", "errors": {NAME: count}}
durable.py sockets [PAUSE]           creates and closes TCP sockets, 50 at a time with so many seconds between (0.001: as fast as it can
                                     without keeping others from the processor), prints "ready", and when its input ends
                                     {"count", "errors": {NAME: count}, "p999_ms", "longest_ms"}
durable.py own PORT NAME             tells whoever connects its name; prints "ready", and the address of each: "met ADDRESS"
durable.py ask ADDRESS PORT          prints "asks", connects, and prints the name of who answers, or of the error
"""

import collections
import errno
import json
import resource
import select
import socket
import sys
import time

TIMEOUT_SECONDS = 60


def keep(target, count):
    clients = [socket.create_connection(target, timeout=TIMEOUT_SECONDS) for _ in range(count)]
    print("ready", flush=True)
    for line in sys.stdin:
        broken = 0
        for number, client in enumerate(clients):
            try:
                client.sendall(b"%d\n" % number)
            except OSError:
                broken += 1
        for number, client in enumerate(clients):
            try:
                if client.recv(100) != b"%d\n" % number or client.getpeername() != target:
                    broken += 1
            except OSError:
                broken += 1
        print(f"round {line.strip()}: {broken} broken", flush=True)


def connect(target):
    count = 0
    errors = collections.Counter()
    print("ready", flush=True)
    while not select.select([sys.stdin], [], [], 0.005)[0]:
        count += 1
        try:
            with socket.create_connection(target, timeout=TIMEOUT_SECONDS) as client:
                client.sendall(b"x\n")
                if client.recv(100) != b"x\n":
                    errors["cut off"] += 1
        except OSError as error:
            errors[errno.errorcode.get(error.errno, str(error))] += 1
    print(json.dumps({"count": count, "errors": errors}))


def sockets(pause):
    durations = []
    errors = collections.Counter()
    print("ready", flush=True)
    clock = time.perf_counter
    while True:
        for _ in range(50):
            started = clock()
            try:
                socket.socket(socket.AF_INET, socket.SOCK_STREAM).close()
            except OSError as error:
                errors[errno.errorcode.get(error.errno, str(error.errno))] += 1
            durations.append(clock() - started)
        if select.select([sys.stdin], [], [], 0)[0]:
            break
        time.sleep(pause)
    durations.sort()
    at = min(len(durations) - 1, len(durations) * 999 // 1000)
    report = {"count": len(durations), "errors": errors}
    print(json.dumps({**report, "p999_ms": durations[at] * 1000, "longest_ms": durations[-1] * 1000}))


def own(port, name):
    with socket.create_server(("", port), backlog=1024) as listener:
        print("ready", flush=True)
        while True:
            client, (address, _) = listener.accept()
            print(f"met {address}", flush=True)
            with client:
                client.sendall(name.encode())


def ask(target):
    print("asks", flush=True)
    try:
        with socket.create_connection(target, timeout=TIMEOUT_SECONDS) as client:
            print(client.recv(100).decode() or "cut off")
    except OSError as error:
        print(errno.errorcode.get(error.errno, error))


_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
if sys.argv[1] == "keep":
    keep((sys.argv[2], int(sys.argv[3])), int(sys.argv[4]))
elif sys.argv[1] == "connect":
    connect((sys.argv[2], int(sys.argv[3])))
elif sys.argv[1] == "own":
    own(int(sys.argv[2]), sys.argv[3])
elif sys.argv[1] == "ask":
    ask((sys.argv[2], int(sys.argv[3])))
else:
    sockets(float(sys.argv[2]) if len(sys.argv) > 2 else 0.001)
