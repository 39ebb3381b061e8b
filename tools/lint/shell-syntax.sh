#!/bin/sh
# Fails if a shell script of the project does not parse; with shellcheck installed, also if that finds errors.
set -eu
cd "$(dirname "$(readlink -f -- "$0")")/../.."
git ls-files -co --exclude-standard slimfast .ci/run '*.sh' | while read -r script; do
	[ -e "$script" ] || continue
	case $(head -n 1 "$script") in
	*bash*) bash -n "$script" ;;
	*) sh -n "$script" ;;
	esac
	if command -v shellcheck >/dev/null; then shellcheck -S error -s bash "$script"; fi
done
