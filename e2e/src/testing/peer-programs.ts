/**
 * A server that says who it is and whom it sees, and a client that says what came of its connections. In Python, which
 * is neither ours nor Node.js.
 */

/**
 * PORT LABEL [FAMILY...]: answers every connection and every datagram on the port with one line of JSON, a
 * {@link PeerAnswer}. FAMILY is 4 (the default) or 6, which takes no IPv4.
 */
const SERVER = `
import json, socket, sys, threading
port, label, families = int(sys.argv[1]), sys.argv[2], sys.argv[3:] or ["4"]
def name(address): return ("[%s]:%d" if ":" in address[0] else "%s:%d") % address[:2]
def answer(connection, peer):
    about = {"label": label, "peer": name(peer), "local": name(connection.getsockname())}
    try:
        connection.sendall((json.dumps(about) + "\\n").encode())
        while connection.recv(65536): pass
    except OSError: pass
    connection.close()
def answer_datagrams(datagrams):
    while True:
        question, peer = datagrams.recvfrom(65536)
        about = {"label": label, "peer": name(peer), "local": "", "received": len(question)}
        datagrams.sendto(json.dumps(about).encode(), peer)
def accept(listener):
    while True:
        threading.Thread(target=answer, args=listener.accept(), daemon=True).start()
loops = []
for family in families:
    kind, wildcard = (socket.AF_INET6, "::") if family == "6" else (socket.AF_INET, "0.0.0.0")
    datagrams = socket.socket(kind, socket.SOCK_DGRAM)
    if family == "6": datagrams.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    datagrams.bind((wildcard, port))
    listener = socket.create_server((wildcard, port), family=kind, backlog=128)
    loops += [threading.Thread(target=answer_datagrams, args=(datagrams,)), threading.Thread(target=accept, args=(listener,))]
for loop in loops: loop.start()
print("ready", flush=True)
`;

/**
 * TARGET...: ADDRESS:PORT for a TCP connection, udp/ADDRESS:PORT for a datagram; prints a line of JSON, a
 * {@link ClientReport}, for each. IPv6 addresses are in brackets. Environment: SYN_RETRIES sets TCP_SYNCNT; PATIENCE is
 * how many seconds an answer may take; LENGTH is that of a datagram, in bytes; HOLD keeps the connections open until the
 * standard input ends.
 */
const CLIENT = `
import errno, json, os, socket, sys, time
def name(address): return ("[%s]:%d" if ":" in address[0] else "%s:%d") % address[:2]
held = []
for target in sys.argv[1:]:
    kind = socket.SOCK_DGRAM if target.startswith("udp/") else socket.SOCK_STREAM
    host, port = target.replace("udp/", "").rsplit(":", 1)
    host, family = host.strip("[]"), socket.AF_INET6 if host.startswith("[") else socket.AF_INET
    report = {"target": target, "error": None, "local": None, "peer": None, "answer": None}
    started = time.monotonic()
    s = socket.socket(family, kind)
    if "SYN_RETRIES" in os.environ: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, int(os.environ["SYN_RETRIES"]))
    try:
        s.connect((host, int(port)))
        report["local"], report["peer"] = name(s.getsockname()), name(s.getpeername())
        s.settimeout(float(os.environ.get("PATIENCE", 10)))
        if kind == socket.SOCK_DGRAM: s.send(b"?" * int(os.environ.get("LENGTH", 1)))
        report["answer"] = json.loads(s.recv(4096))
    except OSError as failure: report["error"] = errno.errorcode.get(failure.errno, "no answer")
    report["elapsedMs"] = round((time.monotonic() - started) * 1000)
    held.append(s)
    if "HOLD" not in os.environ: s.close()
    print(json.dumps(report), flush=True)
if "HOLD" in os.environ: sys.stdin.read()
`;

export interface PeerAnswer {
  readonly label: string;
  /** ADDRESS:PORT of the client, as the server sees it. */
  readonly peer: string;
  /** ADDRESS:PORT of the server's end, as the server sees it. */
  readonly local: string;
  /** Length of the datagram in bytes. */
  readonly received?: number;
}

export interface ClientReport {
  readonly target: string;
  /** Name of the errno; null if it was answered. */
  readonly error: string | null;
  /** ADDRESS:PORT of both ends, as the client sees them. */
  readonly local: string | null;
  readonly peer: string | null;
  readonly answer: PeerAnswer | null;
  readonly elapsedMs: number;
}

export const SERVER_READY = { prints: /^ready$/m } as const;

export type Family = 4 | 6;

export function peerServer(port: number, label: string, families: readonly Family[] = [4]): string[] {
  return ["python3", "-c", SERVER, String(port), label, ...families.map(String)];
}

/** ADDRESS:PORT, as programs and people write it. */
export function socketAddress(address: string, port: number): string {
  return address.includes(":") ? `[${address}]:${port}` : `${address}:${port}`;
}

export function peerClient(targets: readonly string[], environment: Readonly<Record<string, string>> = {}): string[] {
  const settings = Object.entries(environment).map(([name, value]) => `${name}=${value}`);
  return ["env", ...settings, "python3", "-c", CLIENT, ...targets];
}

/** What {@link peerClient} has printed. */
export function readReports(stdout: string): ClientReport[] {
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line) as ClientReport);
}
