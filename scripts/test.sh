#!/usr/bin/env bash
# The gate, the same for people and for CI: formatting, lint, types, tests.
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

prepare "[dev]"
cd "$root"

failed=""
# check NAME MODULE [ARGS]: runs a Python tool and goes on to the next even if it fails.
check() {
  local name="$1"
  shift
  echo "== $name"
  "$python" -m "$@" || failed="$failed $name"
}
check format ruff format --check .
check lint ruff check .
check types mypy
check tests pytest

if [[ -n "$failed" ]]; then
  echo "FAILED:$failed"
  exit 1
fi
echo "OK: format, lint, types, tests"
