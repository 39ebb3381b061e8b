/**
 * A server that says who it is and whom it sees, and a client that says what came of its connections. In Python, which
 * is neither ours nor Node.js.
 */

/** PORT LABEL: answers every connection and every datagram on the port with one line of JSON, a {@link PeerAnswer}. */
const SERVER = `
import json, socket, sys, threading
port, label = int(sys.argv[1]), sys.argv[2]
def name(address): return "%s:%d" % address[:2]
def answer(connection, peer):
    about = {"label": label, "peer": name(peer), "local": name(connection.getsockname())}
    try:
        connection.sendall((json.dumps(about) + "\\n").encode())
        while connection.recv(65536): pass
    except OSError: pass
    connection.close()
datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
datagrams.bind(("0.0.0.0", port))
def answer_datagrams():
    while True:
        _, peer = datagrams.recvfrom(100)
        datagrams.sendto(json.dumps({"label": label, "peer": name(peer), "local": ""}).encode(), peer)
threading.Thread(target=answer_datagrams, daemon=True).start()
listener = socket.create_server(("0.0.0.0", port), backlog=128)
print("ready", flush=True)
while True:
    threading.Thread(target=answer, args=listener.accept(), daemon=True).start()
`;

/**
 * TARGET...: ADDRESS:PORT for a TCP connection, udp/ADDRESS:PORT for a datagram; prints a line of JSON, a
 * {@link ClientReport}, for each. Environment: SYN_RETRIES sets TCP_SYNCNT; PATIENCE is how many
 * seconds an answer may take; HOLD keeps the connections open until the standard input ends.
 */
const CLIENT = `
import errno, json, os, socket, sys, time
held = []
for target in sys.argv[1:]:
    kind = socket.SOCK_DGRAM if target.startswith("udp/") else socket.SOCK_STREAM
    host, port = target.replace("udp/", "").split(":")
    report = {"target": target, "error": None, "local": None, "peer": None, "answer": None}
    started = time.monotonic()
    s = socket.socket(socket.AF_INET, kind)
    if "SYN_RETRIES" in os.environ: s.setsockopt(socket.IPPROTO_TCP, socket.TCP_SYNCNT, int(os.environ["SYN_RETRIES"]))
    try:
        s.connect((host, int(port)))
        report["local"], report["peer"] = "%s:%d" % s.getsockname(), "%s:%d" % s.getpeername()
        s.settimeout(float(os.environ.get("PATIENCE", 10)))
        if kind == socket.SOCK_DGRAM: s.send(b"?")
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

export function peerServer(port: number, label: string): string[] {
  return ["python3", "-c", SERVER, String(port), label];
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
