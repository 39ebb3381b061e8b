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

report() { # TITLE LINES PATTERN OPTIONS...
	local title=$1 lines=$2 pattern=$3
	shift 3
	echo
	echo "$title"
	perf report -i "$data" --stdio --no-children -q --percentage relative --percent-limit 0.3 "$@" 2>/dev/null |
		{ grep -e "$pattern" || true; } | sed -e 's/ *-  *- *$//' | sed -n "1,${lines}p"
}
report "By process, starting and ending the cluster included (node, ip, slimfast-netns):" 12 . --sort comm
# Clients and servers of the own loads; sockets are made in threads of the keeper, sfd-VNI.ID and sfn-VNI.ID.
for comm in ${COMMS:-slimfast-bench}; do
	report "$comm, by symbol (of its own time):" 40 . --comm "$comm" --sort symbol
	report "$comm, BPF programs (of its own time):" 20 bpf_prog_ --comm "$comm" --sort symbol
done
