# Sourced by the other scripts: the root of the repository, and the search for Pythons that really run.
# shellcheck shell=bash
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

# Pythons are looked for, never fetched; nothing here waits for a prompt.
export UV_PYTHON_DOWNLOADS=never UV_NO_PROGRESS=1 PIP_NO_INPUT=1 PIP_DISABLE_PIP_VERSION_CHECK=1
# The certificates that pip and git trust here are those that uv trusts.
export UV_SYSTEM_CERTS=1

VENV=.venv

say() { printf '%s\n' "$*"; }
die() {
  printf '%s\n' "$*" >&2
  exit 1
}

# runs PYTHON VERSION: does this interpreter start, and is it of that version ("3.12")? A command can be on the
# PATH and not start: pyenv leaves shims for versions that are not selected.
runs() {
  [ "$("$1" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null)" = "$2" ]
}

# candidates VERSION: interpreters that may be of that version, one a line, best first.
candidates() {
  local folder
  for folder in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1"*/bin; do
    if [ -x "$folder/python" ]; then printf '%s\n' "$folder/python"; fi
  done | sort -rV
  command -v "python$1" || true
  if [ -x $VENV/bin/uv ]; then $VENV/bin/uv python find --system --quiet "$1" 2>/dev/null || true; fi
}

# find_python VERSION: print the first candidate that runs; print nothing and fail when none does.
find_python() {
  local python
  while IFS= read -r python; do
    if runs "$python" "$1"; then
      printf '%s\n' "$python"
      return 0
    fi
  done < <(candidates "$1")
  return 1
}

# fingerprint FILE...: one line that changes when one of the files does.
fingerprint() {
  cat "$@" | git hash-object --stdin
}
