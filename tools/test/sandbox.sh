#!/bin/sh
# sandbox.sh NAME COMMAND...: runs COMMAND in namespaces of its own (network, mount, process, IPC, host name, control
# groups), with a /run, /tmp and /dev/shm of its own, and hierarchies of control groups that begin at a group of this
# name: clusters of tests do not meet there. The groups stay, for the caller to remove, so that a group that is in use is
# none of somebody else's. All processes in the sandbox end with the command, and with the death of this one.
set -eu

ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/../.." && pwd)

# Version 2, and those of version 1 beside it: TYPE PATH OPTIONS.
cgroup_mounts() {
	sed -n 's:^[^ ]* \([^ ]*\) \(cgroup2\{0,1\}\) \([^ ]*\) .*:\2 \1 \3:p' /proc/self/mounts
}

enter_cgroups() { # NAME
	cgroup_mounts | while read -r _ path _; do
		mkdir "$path/$1"
		# Version 1 takes no process into a group without CPUs and memory.
		for file in cpuset.cpus cpuset.mems; do
			[ ! -e "$path/$file" ] || cat "$path/$file" >"$path/$1/$file"
		done
		echo $$ >"$path/$1/cgroup.procs"
	done
}

# In a namespace of control groups a mount shows the group that the namespace was made in as its root.
renew_cgroups() {
	cgroup_mounts | while read -r type path options; do
		controllers=$(echo "$options" | tr , '\n' | grep -vxE 'r[ow]|relatime|no(atime|suid|dev|exec)' | paste -s -d , -)
		umount -l "$path"
		[ "$type" = cgroup ] || controllers=''
		mount -t "$type" ${controllers:+-o "$controllers"} "$type" "$path"
	done
}

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
	sed -n 's:^[^ ]* \(/mnt/[^ ]*\) .*:\1:p' /proc/self/mounts | sort -u | while read -r mounted; do
		case $mounted/ in "$done_below"/*) continue ;; esac
		done_below=$mounted
		[ ! -d "/sys${mounted#/mnt}" ] || mount --rbind "$mounted" "/sys${mounted#/mnt}"
	done
	umount -l /mnt
}

if [ "$1" != --inside ]; then
	enter_cgroups "$1"
	shift
	exec unshare --net --mount --propagation private --pid --ipc --uts --cgroup --fork --kill-child=KILL -- "$0" --inside "$@"
fi
shift

mount -t proc proc /proc
renew_sys
renew_cgroups
cover /run 755
mkdir -p /run/netns /run/lock
cover /tmp 1777
mount -t tmpfs -o mode=1777 tmpfs /dev/shm
unset TMPDIR
ip link set lo up
cd "$ROOT"

# Not by exec: the first process of a process namespace has to wait for orphans.
code=0
"$@" || code=$?
exit "$code"
