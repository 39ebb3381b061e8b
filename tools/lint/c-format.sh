#!/bin/sh
# Fails if a C file under a directory is not formatted as .clang-format says. Generated headers (vmlinux.h) are left out.
set -eu
cd "$(dirname "$(readlink -f -- "$0")")/../.."
[ -d "$1" ] || exit 0
find "$1" -type f \( -name '*.c' -o -name '*.h' \) ! -name 'vmlinux*.h' -exec clang-format-16 --dry-run -Werror {} +
