# Sourced by the scripts that test: what the tests need beside Python packages, installed where it is missing.
# shellcheck shell=bash

# apt_get PACKAGE...: install packages of Debian without a word; fails where that cannot be done.
apt_get() {
  if [ "$(id -u)" != 0 ] || ! command -v apt-get >/dev/null; then return 1; fi
  say "Installing $*"
  export DEBIAN_FRONTEND=noninteractive UCF_FORCE_CONFFOLD=1
  { apt-get update -qq && apt-get install -y -qq --no-install-recommends "$@"; } >/dev/null 2>&1
}

# The pictures of flows are drawn by graphviz. Where nobody has it and nobody can install it, the tests of the
# drawing itself are skipped; those of what is drawn run everywhere.
install_graphviz() {
  if command -v dot >/dev/null || apt_get graphviz; then return 0; fi
  say "graphviz could not be installed: the tests that draw are skipped"
}

# The server's tests run on a PostgreSQL that they start and stop themselves: only its programs are needed. The
# package would start a cluster of its own; nothing is to listen but what a test has started.
install_postgresql() {
  local config=/etc/postgresql-common/createcluster.conf
  if command -v initdb >/dev/null || compgen -G '/usr/lib/postgresql/*/bin/initdb' >/dev/null; then return 0; fi
  if [ "$(id -u)" = 0 ] && [ ! -e $config ] && command -v apt-get >/dev/null; then
    mkdir -p "$(dirname $config)"
    echo 'create_main_cluster = false' >$config
  fi
  apt_get postgresql || die "The tests need PostgreSQL's programs: on Debian, apt-get install postgresql"
}
