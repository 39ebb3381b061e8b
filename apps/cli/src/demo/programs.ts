/** The small Python programs of the demo: clients and a UDP echo server, as text for `python3 -c`. */

/** Sets a value, reads it back, prints `VALUE LOCAL-ADDRESS PEER-ADDRESS`. Arguments: address, port. */
export const MEMCACHED_CLIENT = `
import socket, sys
s = socket.create_connection((sys.argv[1], int(sys.argv[2])), timeout=5)
f = s.makefile("rwb")
f.write(b"set greeting 0 60 8\\r\\nslimfast\\r\\n"); f.flush()
assert f.readline() == b"STORED\\r\\n"
f.write(b"get greeting\\r\\n"); f.flush()
assert f.readline().startswith(b"VALUE greeting")
print(f.readline().decode().strip(), s.getsockname()[0], s.getpeername()[0])
`;

/** Answers each datagram with its text and the sender's address. Argument: port. */
export const UDP_ECHO_SERVER = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("", int(sys.argv[1])))
while True:
    text, sender = s.recvfrom(2048)
    s.sendto(text + b" from " + sender[0].encode(), sender)
`;

/** Sends until it is answered, prints the answer. Arguments: address, port. */
export const UDP_CLIENT = `
import socket, sys
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.settimeout(0.3)
for attempt in range(20):
    s.sendto(b"datagram", (sys.argv[1], int(sys.argv[2])))
    try:
        print(s.recv(2048).decode())
        break
    except OSError:
        pass
else:
    sys.exit("no answer")
`;

/** Prints the errno name with which connect(2) fails. Arguments: address, port. */
export const FAILING_CLIENT = `
import errno, socket, sys
s = socket.socket()
s.settimeout(2)  # Neighbours that do not answer are given up after 3 s: that would be a TimeoutError.
try:
    s.connect((sys.argv[1], int(sys.argv[2])))
    print("connected")
except OSError as e:
    print(errno.errorcode.get(e.errno, type(e).__name__))
`;
