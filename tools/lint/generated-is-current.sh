#!/bin/sh
# Fails if the code under libs/proto/src/generated is not what the .proto files give now.
set -eu
cd "$(dirname "$(readlink -f -- "$0")")/../../libs/proto"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
../../node_modules/.bin/buf generate --output "$fresh"
if ! diff -r -u src/generated "$fresh/src/generated" >"$fresh/diff"; then
	head -n 60 "$fresh/diff"
	echo "libs/proto/src/generated is out of date: run \`npx buf generate\` in libs/proto and commit the result" >&2
	exit 1
fi
../../node_modules/.bin/buf build -o "$fresh/descriptors.binpb" --as-file-descriptor-set --exclude-source-info
if ! cmp -s descriptors.binpb "$fresh/descriptors.binpb"; then
	echo "libs/proto/descriptors.binpb is out of date: run \`npx buf build -o descriptors.binpb --as-file-descriptor-set --exclude-source-info\` in libs/proto and commit the result" >&2
	exit 1
fi
