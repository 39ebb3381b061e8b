#!/usr/bin/env bash
# What each part of SlimFast adds to connection setup, by leaving parts out: the same client and server, on a cluster that
# is up (`slimfast up`, two nodes), as root, on CPU 0.
#
#   host         both in the nodes' own namespaces
#   beside       the same, in the cgroup of the nodes' keepers: every program runs, finds no record, and ends
#   published    client as in host, server an endpoint with a published port: what accepting costs
#   preload      both endpoints; notify: the client in that tier
#
#   tools/bench/parts.sh [ROUNDS [CONNECTIONS]]
set -euo pipefail

rounds=${1:-5} connections=${2:-8000}
ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/../.." && pwd)
BENCH=$ROOT/target/release/slimfast-bench
CLIENT=sf-node-1 SERVER=sf-node-2
PORT=7900 BESIDE=7901 PUBLISHED=7902 FRONT=7903
export SLIMFAST_SKIP_SETUP=1

for namespace in $CLIENT $SERVER; do
	[ -e "/run/netns/$namespace" ] || {
		echo "no namespace $namespace: start a cluster of two nodes with ./slimfast up --nodes 2 --detach" >&2
		exit 1
	}
done
keeper_cgroup() { # NODE: the cgroup of its keeper, a folder
	local pid
	pid=$(pgrep -f "slimfast-keeper.*/$1( |$)" | head -1)
	echo "$(awk '$3 == "cgroup2" { print $2; exit }' /proc/mounts)$(sed -n 's/^0:://p' "/proc/$pid/cgroup")"
}
in_node() { # NAMESPACE COMMAND...
	exec nsenter --net="/run/netns/$1" "${@:2}"
}
beside() { # NODE NAMESPACE COMMAND...
	echo "$BASHPID" >"$(keeper_cgroup "$1")/cgroup.procs"
	in_node "${@:2}"
}
work=$(mktemp -d)
started=()
finish() {
	for pid in "${started[@]}"; do kill "$pid" 2>/dev/null || :; done
	wait || :
	rm -rf "$work"
}
trap finish EXIT
serve() { # NAME COMMAND...: in the background, until it listens
	"${@:2}" >"$work/$1" 2>"$work/$1.err" &
	started+=($!)
	for _ in $(seq 300); do
		grep -q '"ready":true' "$work/$1" && return
		sleep 0.1
	done
	cat "$work/$1.err" >&2
	exit 1
}
address() { # NAMESPACE: its first global IPv4 address
	nsenter --net="/run/netns/$1" ip -4 -o address show scope global | awk '{ sub("/.*", "", $4); print $4; exit }'
}

server="$BENCH --cpu 0 serve --port"
serve host in_node $SERVER $server $PORT
serve beside beside node-2 $SERVER $server $BESIDE
serve endpoint "$ROOT/slimfast" run --node node-2 --name parts-server --publish $FRONT:$PUBLISHED -- $server $PUBLISHED
node=$(address $SERVER)
endpoint=$("$ROOT/slimfast" endpoint list --json | node -e '
	const found = JSON.parse(require("node:fs").readFileSync(0)).find((e) => e.name === "parts-server");
	process.stdout.write(found.address);')

client="$BENCH --cpu 0 connect --count $connections --to"
measure() { # PART COMMAND...
	("${@:2}") >>"$work/$1.results"
}
for round in $(seq "$rounds"); do
	echo "round $round of $rounds" >&2
	measure host in_node $CLIENT $client "$node:$PORT"
	measure beside beside node-1 $CLIENT $client "$node:$BESIDE"
	measure published in_node $CLIENT $client "$node:$FRONT"
	for tier in preload notify; do
		measure $tier "$ROOT/slimfast" run --node node-1 --tier $tier -- $client "$endpoint:$PUBLISHED"
	done
done
node - "$work" <<'END'
const { readFileSync } = require("node:fs");
const median = (numbers) => numbers.sort((a, b) => a - b)[Math.floor((numbers.length - 1) / 2)];
const part = (name) => {
  const lines = readFileSync(`${process.argv[2]}/${name}.results`, "utf8").trim().split("\n").map((line) => JSON.parse(line));
  return { name, p50Us: median(lines.map((l) => l.p50Us)), minUs: median(lines.map((l) => l.minUs)) };
};
const parts = ["host", "beside", "published", "preload", "notify"].map(part);
console.log("            p50, us   beyond the host's   ratio   shortest, us");
for (const { name, p50Us, minUs } of parts) {
  const [beyond, ratio] = [p50Us - parts[0].p50Us, p50Us / parts[0].p50Us];
  console.log(`${name.padEnd(10)}${p50Us.toFixed(1).padStart(9)}${beyond.toFixed(1).padStart(20)}${ratio.toFixed(3).padStart(8)}${minUs.toFixed(1).padStart(15)}`);
}
END
