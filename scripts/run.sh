#!/usr/bin/env bash
# Installs the project and trains a density model: bash scripts/run.sh [arguments of the command]
# Without arguments, a flow on simulated Hopper transitions: --config hopper.yaml
set -euo pipefail
source "$(dirname "${BASH_SOURCE[0]}")/setup.sh"

prepare
if [[ $# -eq 0 ]]; then set -- --config hopper.yaml; fi
exec "$python" -m gormpo_density.train "$@"
