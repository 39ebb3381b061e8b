"""What an unprivileged program may do, and what programs do to each other with sockets."""

import array
import os
import socket

from harness import IS_IPV6, LOOPBACK, OWN, attempt, case, listener, port_of, stream

NOBODY = 65534


def in_child(work):
    """The result of `work` in a forked process: text only."""
    read_end, write_end = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            text = str(work())
        except Exception as error:
            text = f"{type(error).__name__}: {error}"
        os.write(write_end, text.encode())
        os._exit(0)
    os.close(write_end)
    with os.fdopen(read_end, "rb") as stream_:
        text = stream_.read().decode()
    os.waitpid(child, 0)
    return text


def unprivileged(work):
    def dropped():
        os.setgroups([])
        os.setgid(NOBODY)
        os.setuid(NOBODY)
        return work()

    return in_child(dropped)


@case
def privileged_ports():
    def bind():
        return [attempt(stream().bind, (address, port)) for address in ("", OWN, LOOPBACK) for port in (1, 1023, 1024)]

    def bind6():
        return [attempt(stream(socket.AF_INET6).bind, (address, 80)) for address in ("::", "::1", OWN if IS_IPV6 else f"::ffff:{OWN}")]

    return bind(), unprivileged(bind), unprivileged(bind6)


@case
def privileged_ports_by_the_rules_of_the_namespace():
    setting = "/proc/sys/net/ipv4/ip_unprivileged_port_start"
    with open(setting) as file:
        usual = file.read().strip()
    if not os.access(setting, os.W_OK):
        return None
    results = [usual]
    try:
        for first in ("90", "0"):
            with open(setting, "w") as file:
                file.write(first)
            results.append(unprivileged(lambda: [attempt(stream().bind, ("", port)) for port in (80, 89, 90)]))
    finally:
        with open(setting, "w") as file:
            file.write(usual)
    return results


@case
def privileged_ports_from_a_user_namespace():
    def bind():
        os.unshare(os.CLONE_NEWUSER) if hasattr(os, "unshare") else unshare_user()
        return attempt(stream().bind, ("", 80))

    return in_child(bind), unprivileged(bind)


def unshare_user():
    import ctypes

    if ctypes.CDLL(None, use_errno=True).unshare(0x10000000):
        raise OSError(ctypes.get_errno(), "unshare")


def socket_passed_before(use, then):
    """`then` here, with a socket that another process made and did `use` with."""
    ours, theirs = socket.socketpair()

    def make():
        made = stream()
        use(made)
        theirs.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [made.fileno()]))])

    in_child(make)
    _, control, _, _ = ours.recvmsg(1, socket.CMSG_SPACE(8))
    return then(socket.socket(fileno=array.array("i", control[0][2])[0]))


@case
def connecting_with_a_socket_of_another_process():
    server = listener()

    def connect(made):
        made.connect((OWN, port_of(server)))
        return made.getsockname() == server.accept()[1]

    return socket_passed_before(lambda made: None, connect)


@case
def accepting_with_a_listener_of_another_process():
    def listen(made):
        made.bind((OWN, 0))
        made.listen(5)

    def accept(made):
        client = stream()
        client.connect(made.getsockname())
        return made.accept()[1] == client.getsockname()

    return socket_passed_before(listen, accept)


@case
def listening_with_what_another_process_bound():
    def listen(made):
        made.listen(5)
        client = stream()
        client.connect(made.getsockname())
        return made.accept()[1] == client.getsockname()

    return socket_passed_before(lambda made: made.bind((OWN, 0)), listen)


@case
def executing_with_a_listener():
    server = listener()
    server.set_inheritable(True)
    program = (
        "import socket, sys; server = socket.socket(fileno=int(sys.argv[1])); client, _ = server.accept();"
        "client.sendall(('%s:%d' % client.getsockname()[:2]).encode())"
    )
    child = os.fork()
    if child == 0:
        os.execvp("python3", ["python3", "-c", program, str(server.fileno())])
    port = port_of(server)
    server.close()
    client = stream()
    client.connect((OWN, port))
    text = client.recv(100).decode()
    return text == f"{OWN}:{port}", os.waitpid(child, 0)[1]
