#!/bin/sh
# Builds Slim's shim and router into the given directory. Only the benchmarks call this: Slim is their opponent, and no
# part of the product.
set -eu
here=${0%/*}
mkdir -p "$1"
${CC:-cc} -std=c11 -O2 -Wall -Wextra -Werror -o "$1/slim-router.new" "$here/router.c" -pthread
${CC:-cc} -std=c11 -O2 -Wall -Wextra -Werror -fPIC -shared -o "$1/slim-shim.so.new" "$here/shim.c"
mv -f "$1/slim-router.new" "$1/slim-router"
mv -f "$1/slim-shim.so.new" "$1/slim-shim.so"
