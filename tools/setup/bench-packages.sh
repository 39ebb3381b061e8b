#!/usr/bin/env bash
# Installs the Debian packages of the benchmarks' scenarios: what other people's load generators and servers come in.
# `slimfast bench` calls this when a program of a scenario is missing.
set -euo pipefail

ROOT=$(cd "$(dirname "$(readlink -f -- "$0")")/../.." && pwd)
export ROOT
. "$ROOT/tools/setup/steps.sh"
. "$ROOT/tools/setup/packages.sh"

mkdir -p "$ROOT/.slimfast/logs"
exec 9>"$ROOT/.slimfast/setup.lock"
flock 9
install_packages bench
