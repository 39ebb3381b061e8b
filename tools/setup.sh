#!/usr/bin/env bash
# Makes a checkout ready to run: Debian packages, npm packages, Rust and TypeScript builds. Idempotent: a step that has
# nothing to do prints nothing. Progress goes to stderr (stdout may be somebody's JSON), full output to .slimfast/logs/.
#
#   tools/setup.sh [--with run|test] [--only-build] [--report]
#
# Exit codes: 0 ready, 1 a step failed (what to do is printed), 2 usage.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/.." && pwd)
export ROOT
. "$ROOT/tools/setup/steps.sh"
. "$ROOT/tools/setup/fresh.sh"
. "$ROOT/tools/setup/toolchain.sh"
. "$ROOT/tools/setup/packages.sh"
. "$ROOT/tools/setup/npm.sh"
. "$ROOT/tools/setup/build.sh"

usage() {
	sed -n '2,7s/^# \{0,1\}//p' "$ROOT/tools/setup.sh"
}

with=run only_build='' report=''
while [ $# -gt 0 ]; do
	case $1 in
	--with)
		case ${2-} in run | test) with=$2 ;; *) usage >&2; exit 2 ;; esac
		shift
		;;
	--only-build) only_build=yes ;;
	--report) report=yes ;;
	-h | --help) usage; exit 0 ;;
	*) usage >&2; exit 2 ;;
	esac
	shift
done

mkdir -p "$ROOT/.slimfast/logs"
exec 9>"$ROOT/.slimfast/setup.lock"
flock -n 9 || { say "waiting for another set-up of this checkout"; flock 9; }

started=$ROOT/.slimfast/setup.started
: >"$started"
if [ -z "$only_build" ]; then
	install_packages "$with"
fi
check_toolchain
# Side by side: npm waits for the network and compiles on one CPU only. Both end before anything else is said.
build_rust &
rust=$!
(
	install_node_modules
	build_typescript
	build_programs
	build_console
) &
node=$!
result=0
wait "$rust" || result=1
wait "$node" || result=1
[ "$result" -eq 0 ] || exit 1
build_addon

stamp=$(setup_stamp "$ROOT" "$with")
setup_fingerprint >"$stamp.new"
touch -r "$started" "$stamp.new"
if [ -z "$only_build" ] || [ -e "$stamp" ]; then
	mv "$stamp.new" "$stamp"
fi
rm -f "$stamp.new" "$started"
[ -z "$report" ] || say "ready"
