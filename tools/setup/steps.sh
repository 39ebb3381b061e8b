# Sourced by ../setup.sh. Owns how steps report: one line when a step has work, its log's tail when it fails.

say() {
	printf 'slimfast setup: %s\n' "$*" >&2
}

die() {
	say "$1"
	shift
	for line in "$@"; do printf '  %s\n' "$line" >&2; done
	exit 1
}

# Runs a command with its output in a log; says how long it took only if that was noticeable.
logged() { # LOG-NAME COMMAND...
	local name=$1 log=$ROOT/.slimfast/logs/$1.log from=$SECONDS
	shift
	if "$@" >"$log" 2>&1 </dev/null 9>&-; then
		[ $((SECONDS - from)) -lt 3 ] || say "  $name: done in $((SECONDS - from)) s"
		return 0
	fi
	tail -n 40 "$log" >&2
	say "failed: $*"
	say "the whole output is in $log"
	return 1
}

# The same for what is usually done at once: says what it does only when that takes more than two seconds.
logged_if_slow() { # TEXT LOG-NAME COMMAND...
	local announcer text=$1 result=0
	shift
	(
		exec 9>&-
		sleep 2
		say "$text"
	) &
	announcer=$!
	logged "$@" || result=$?
	kill "$announcer" 2>/dev/null || true
	wait "$announcer" 2>/dev/null || true
	return "$result"
}
