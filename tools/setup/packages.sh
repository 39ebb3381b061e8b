# Sourced by ../setup.sh. Owns the list of Debian packages and their installation. Installing a daemon must not start
# it, now or at the next boot: a policy-rc.d guard exists while apt runs, and a daemon that we brought is disabled.

# Build: BPF programs (clang, libelf), native npm modules (g++, python3). Run: namespaces, the demo's real workloads.
PACKAGES_RUN="clang-16 llvm-16 libelf-dev zlib1g-dev pkg-config gcc g++ make libc6-dev python3 iproute2 iputils-ping
	util-linux procps curl ca-certificates runc nginx-light memcached busybox-static"
# Tests: static programs, C formatting, counting the entries of BPF maps, certificates, promtool.
PACKAGES_TEST="musl-tools clang-format-16 bpftool openssl prometheus chromium fonts-dejavu-core
	etcd-server"
# Tests: libFuzzer and the sanitizers.
PACKAGES_TEST="$PACKAGES_TEST libclang-rt-16-dev"
# Tests: Python's own test suite.
PACKAGES_TEST="$PACKAGES_TEST libpython3.11-testsuite"
# Tests: the plots of the benchmarks' report.
PACKAGES_TEST="$PACKAGES_TEST librsvg2-bin"
# Tests: real servers and clients.
PACKAGES_TEST="$PACKAGES_TEST redis-server redis-tools postgresql default-jdk-headless wrk"
# Scenarios of `slimfast bench`; what its tests run is among the tests' packages as well.
PACKAGES_BENCH="wrk redis-server redis-tools postgresql postgresql-contrib openssl librsvg2-bin fonts-dejavu-core"
# By the names of their init scripts.
DAEMONS="nginx memcached prometheus etcd redis-server postgresql"

POLICY=/usr/sbin/policy-rc.d
POLICY_SAVED=/usr/sbin/policy-rc.d.slimfast-saved
POLICY_MARK='# guard of the SlimFast set-up'

is_installed() { # PACKAGE
	[ "$(dpkg-query -W -f='${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

missing_packages() { # SET
	local wanted=$PACKAGES_RUN package
	[ "$1" != bench ] || wanted="$wanted $PACKAGES_BENCH"
	if [ "$1" = test ]; then
		wanted="$wanted $PACKAGES_TEST"
		command -v go >/dev/null || [ -x /usr/local/go/bin/go ] || wanted="$wanted golang-go"
	fi
	# One query for all: a query each would take a second.
	dpkg-query -W -f='${db:Status-Status} ${Package}\n' $wanted 2>/dev/null | sed -n 's/^installed //p' | sort -u >"$ROOT/.slimfast/installed"
	for package in $wanted; do
		grep -qxF "$package" "$ROOT/.slimfast/installed" || echo "$package"
	done
	rm -f "$ROOT/.slimfast/installed"
}

# Also undoes the guard of a set-up that was killed.
remove_guard() {
	if [ -e "$POLICY" ] && grep -qF "$POLICY_MARK" "$POLICY"; then rm -f "$POLICY"; fi
	if [ -e "$POLICY_SAVED" ] || [ -L "$POLICY_SAVED" ]; then mv -f "$POLICY_SAVED" "$POLICY"; fi
}

place_guard() {
	remove_guard
	if [ -e "$POLICY" ] || [ -L "$POLICY" ]; then mv "$POLICY" "$POLICY_SAVED"; fi
	printf '#!/bin/sh\n%s\nexit 101\n' "$POLICY_MARK" >"$POLICY"
	chmod 755 "$POLICY"
}

apt() {
	DEBIAN_FRONTEND=noninteractive NEEDRESTART_SUSPEND=1 apt-get -y -q -o DPkg::Lock::Timeout=600 -o Dpkg::Use-Pty=0 "$@"
}

apt_install() {
	apt install --no-install-recommends "$@"
}

# The lists are fetched only if they know a package not at all or are out of date (an install that fails with 404).
install_packages() { # SET
	local missing daemon brought=''
	if ! command -v dpkg-query >/dev/null; then
		say "this is not Debian: cannot check packages; needed are the equivalents of: $(echo $PACKAGES_RUN)"
		return 0
	fi
	missing=$(missing_packages "$1")
	if [ -z "$missing" ]; then
		[ ! -e "$POLICY_SAVED" ] || remove_guard
		return 0
	fi
	[ "$(id -u)" = 0 ] || die "these Debian packages are missing and only root can install them:" "apt-get install --no-install-recommends $(echo $missing)"
	for daemon in $DAEMONS; do
		[ -e "/etc/init.d/$daemon" ] || brought="$brought $daemon"
	done
	say "installing Debian packages: $(echo $missing)"
	place_guard
	trap remove_guard EXIT
	trap 'exit 130' INT TERM HUP
	if ! apt-cache show --no-all-versions $missing >/dev/null 2>&1; then
		say "  fetching the package lists"
		logged apt-update apt update || say "  some lists could not be fetched; going on with those that are there"
	fi
	# shellcheck disable=SC2086 # a list of names
	if ! logged apt-install apt_install $missing 2>/dev/null; then
		say "  fetching newer package lists"
		logged apt-update apt update || true
		logged apt-install apt_install $missing || die "the Debian packages could not be installed." "Missing: $(echo $missing)"
	fi
	for daemon in $brought; do
		update-rc.d "$daemon" disable >/dev/null 2>&1 || true
	done
	remove_guard
	trap - EXIT INT TERM HUP
}
