#!/bin/sh
# Formatting of what belongs to no project: configuration at the root and the tools.
set -eu
cd "$(dirname "$(readlink -f -- "$0")")/../.."
exec node_modules/.bin/biome ci --colors=off biome.json nx.json project.json package.json tsconfig.base.json tsconfig.json .dependency-cruiser.cjs vitest.config.ts tools
