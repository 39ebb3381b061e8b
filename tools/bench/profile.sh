#!/usr/bin/env bash
# Where the time of a case of `slimfast bench` goes, by kernel symbol and by BPF program: the whole machine is sampled
# while one network runs it. Two networks are compared by running this for each. Needs perf (Debian: linux-perf) and root.
#
#   tools/bench/profile.sh connect.1-client host
#   tools/bench/profile.sh connect.1-client slimfast-preload
set -euo pipefail

[ $# -ge 2 ] || {
	echo "usage: tools/bench/profile.sh SCENARIO.CASE NETWORK [OPTION OF slimfast bench...]" >&2
	exit 2
}
command -v perf >/dev/null || {
	echo "perf is not installed: apt-get install linux-perf" >&2
	exit 1
}
ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/../.." && pwd)
case=$1 network=$2
shift 2
data=$(mktemp "${TMPDIR:-/tmp}/slimfast-profile-XXXXXX")
trap 'rm -f "$data" "$data.old"' EXIT

# cpu-clock: a timer's samples, which virtual machines without hardware counters have too. An odd rate, so that they do not
# fall into step with timers of the kernel. Names of BPF programs come from /proc/kallsyms.
perf record -q -e cpu-clock -F 4999 -a -o "$data" -- \
	"$ROOT/slimfast" bench "$case" --against "$network" --rounds "${ROUNDS:-3}" "$@" >&2

report() { # TITLE LINES OPTIONS...
	echo
	echo "$1"
	local lines=$2
	shift 2
	perf report -i "$data" --stdio --no-children -q "$@" 2>/dev/null | grep -v '^$' | sed -n "1,${lines}p"
}
report "By process (starting the cluster, which is node and ip, included):" 12 --sort comm
# Clients and servers of the own loads; agents answer and refill in the keeper.
for comm in ${COMMS:-slimfast-bench slimfast-keeper}; do
	report "$comm, by symbol:" 40 --comm "$comm" --sort symbol
done
report "BPF programs, by process:" 30 --sort comm,symbol --symbol-filter=bpf_prog_
