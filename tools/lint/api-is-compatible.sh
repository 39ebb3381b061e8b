#!/bin/sh
# Fails if the API breaks programs that were written for the one in libs/proto/baseline.binpb, which is that of the last
# release. A release makes its own the baseline: `npx buf build -o baseline.binpb --exclude-source-info` in libs/proto.
set -eu
cd "$(dirname "$(readlink -f -- "$0")")/../../libs/proto"
../../node_modules/.bin/buf breaking . --against baseline.binpb
