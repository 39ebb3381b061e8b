#!/bin/sh
# sandbox.sh CGROUP COMMAND...: runs COMMAND in namespaces of its own (network, mount, process, IPC, host name, control
# group), with a /run, a /tmp and a control group hierarchy of its own: clusters of tests do not meet there. CGROUP is an
# empty control group of version 2. All processes in the sandbox end with the command, and with the death of this one.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/../.." && pwd)

if [ "$1" != --inside ]; then
	echo $$ >"$1/cgroup.procs"
	shift
	exec unshare --net --mount --propagation private --pid --ipc --uts --cgroup --fork --kill-child=KILL -- "$0" --inside "$@"
fi
shift

# An empty directory in place of DIR. What the tests themselves are made of stays visible, should it be there.
cover() { # DIR MODE
	mount --rbind "$1" /mnt
	mount -t tmpfs -o "mode=$2" tmpfs "$1"
	for path in "$ROOT" "${HOME-}" "${CARGO_HOME-}" "${RUSTUP_HOME-}" "${CARGO_TARGET_DIR-}" "$(dirname "$(command -v node)")"; do
		case $path in "$1"/*) ;; *) continue ;; esac
		mkdir -p "$path"
		mount --rbind "/mnt${path#"$1"}" "$path"
	done
	umount -l /mnt
}

# The interfaces in /sys are those of the network namespace that it was mounted in; what is mounted below it stays.
renew_sys() {
	mount --rbind /sys /mnt
	umount -l /sys
	mount -t sysfs sysfs /sys
	done_below=/
	sed -n 's:^[^ ]* \(/mnt/[^ ]*\) .*:\1:p' /proc/self/mounts | sort | while read -r mounted; do
		case $mounted/ in "$done_below"/*) continue ;; esac
		done_below=$mounted
		[ ! -d "/sys${mounted#/mnt}" ] || mount --rbind "$mounted" "/sys${mounted#/mnt}"
	done
	umount -l /mnt
}

mount -t proc proc /proc
renew_sys
cgroup2=$(sed -n 's:^[^ ]* \([^ ]*\) cgroup2 .*:\1:p' /proc/self/mounts | head -n 1)
umount -l "$cgroup2"
mount -t cgroup2 cgroup2 "$cgroup2"
cover /run 755
mkdir -p /run/netns /run/lock
cover /tmp 1777
unset TMPDIR
ip link set lo up
cd "$ROOT"

# Not by exec: the first process of a process namespace has to wait for orphans.
code=0
"$@" || code=$?
exit "$code"
