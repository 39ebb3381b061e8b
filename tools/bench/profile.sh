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
samples=$data.samples
HZ=4999
trap 'rm -f "$data" "$data.old" "$samples"' EXIT

# cpu-clock: a timer's samples, which virtual machines without hardware counters have too. An odd rate, so that they do not
# fall into step with timers of the kernel. Names of BPF programs come from /proc/kallsyms.
perf record -q -e cpu-clock -F "$HZ" -a -o "$data" -- \
	"$ROOT/slimfast" bench "$case" --against "$network" --rounds "${ROUNDS:-3}" "$@" >&2

# One sample a line: process, tabulator, symbol. (`perf report --sort symbol` of perf 6.1 leaves out the most frequent symbols.)
perf script -i "$data" -F comm,ip,sym 2>/dev/null |
	sed -nE 's/^ *(.*[^ ]) +[0-9a-f]+ (.+)$/\1\t\2/p' >"$samples"

shares() { # LINES LEAST PATTERN: of what comes in, the most frequent lines that match and have at least that share
	awk -v least="$2" '{ n[$0]++ } END { for (k in n) if (n[k] >= least * NR) printf "%9.2f%%  %s\n", 100 * n[k] / NR, k }' |
		sort -rn | { grep -e "$3" || true; } | sed -n "1,$1p"
}
# By what a symbol is about: profiles of network stacks are flat. Milliseconds are of all rounds.
groups() {
	awk -v hz="$HZ" '
		function group(s) {
			if (s ~ /^bpf_prog_/) return "BPF programs"
			if (s ~ /^bpf_(sk_|local_|map_|selem)|storage|lookup_nulls_elem|map_lookup|sock_hash|^bpf_/) return "storage, maps and helpers of BPF"
			if (s ~ /cgroup_bpf|bpf_skops|nf_hook_run_bpf|bpf_trace_run|bpf_prog_(enter|exit)/) return "calling BPF programs"
			if (s ~ /seccomp|syscall_trace_enter/) return "seccomp"
			if (s ~ /^unix_|__unix_|scm_|receive_fd|__receive_sock/) return "passing descriptors"
			if (s ~ /kmem|kmalloc|kfree|slab|memcg|page_counter|obj_cgroup|objcg/) return "memory"
			if (s ~ /finish_task_switch|schedule|sched_|wake|dequeue_|enqueue_|pick_|update_curr|avg_/) return "scheduling"
			if (s ~ /spin_|rcu_|lock_sock|release_sock/) return "locks (and interrupts that were off)"
			if (s ~ /^(tcp_|__tcp|inet_|__inet|ip_|__ip|fib_|br_|nf_|veth|skb|__skb|dev_|__dev|netif|__netif|net_|eth_|neigh|sock_|sk_|__sk_|process_backlog|__local_bh|do_softirq|validate_xmit)/) return "TCP, IP, bridge and wire"
			return "system calls, files, the program itself and the rest"
		}
		{ n[group($0)]++ }
		END { for (k in n) printf "%8.1f ms %6.2f%%  %s\n", 1000 * n[k] / hz, 100 * n[k] / NR, k }' | sort -rn
}
symbols() { # PROCESS
	awk -F '\t' -v comm="$1" '$1 == comm { print $2 }' "$samples"
}
echo
echo "By process, starting and ending the cluster included (node, ip, slimfast-netns):"
cut -f 1 "$samples" | shares 12 0.003 .
# Clients and servers of the own loads; sockets are made in threads of the keeper, sfd-VNI.ID and sfn-VNI.ID.
for comm in ${COMMS:-slimfast-bench}; do
	echo
	echo "$comm, by what it is about (of its own time):"
	symbols "$comm" | groups
	echo
	echo "$comm, by symbol (of its own time):"
	symbols "$comm" | shares 40 0.003 .
	echo
	echo "$comm, BPF programs and their functions (of its own time):"
	symbols "$comm" | shares 20 0 bpf_prog_
done
