# Sourced by run.sh and test.sh: where the checkout is, which environment to use, what to install.

root="$(CDPATH= cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

# Idle OpenMP threads must not spin: several of our processes often share a machine.
export OMP_NUM_THREADS="${OMP_NUM_THREADS:-1}" OMP_WAIT_POLICY="${OMP_WAIT_POLICY:-PASSIVE}"

# Prints the pins. An environment of the user's own keeps its PyTorch, often a CUDA build.
pins() {
  if [[ "$environment" == "$root/.venv" ]]; then
    cat "$root/scripts/constraints.txt"
  else
    grep -v '^torch==' "$root/scripts/constraints.txt"
  fi
}

# Sets $environment and $python: the active environment if it has PyTorch, otherwise .venv.
find_environment() {
  environment="${VIRTUAL_ENV:-${CONDA_PREFIX:-}}"
  python="$environment/bin/python"
  local has_torch='import importlib.util as u, sys; sys.exit(u.find_spec("torch") is None)'
  if [[ ! -x "$python" ]] || ! "$python" -c "$has_torch"; then
    environment="$root/.venv"
    python="$environment/bin/python"
  fi
}

# prepare [EXTRAS]: installs the checkout with EXTRAS, such as "[dev]", unless nothing changed.
prepare() {
  local extras="${1:-}" stamp state
  find_environment
  stamp="$environment/gormpo_density.installed"
  state="$root $(cat "$root/pyproject.toml" "$root/scripts/constraints.txt" | cksum)"
  if [[ "$(cat "$stamp" 2>/dev/null)" == "$state"*"$extras" ]]; then return; fi

  echo "Installing into $environment; the first time takes a few minutes." >&2
  if [[ "$environment" == "$root/.venv" && ! -x "$environment/bin/pip" ]]; then
    python3 -m venv "$environment"
  fi
  rm -f "$stamp"
  "$python" -m pip install --quiet --disable-pip-version-check \
    --constraint <(pins) --editable "$root$extras"
  echo "$state $extras" > "$stamp"
}
