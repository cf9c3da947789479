#!/bin/sh
# Makes sure that the programs of the system that the tests start are there.
# With `services`, also those that only `make test-services` starts.
set -eu

# One line for each: the program, and the Debian package that brings it.
programs='
redis-server redis-server
tinyproxy tinyproxy
microsocks microsocks
valgrind valgrind
zsh zsh
fish fish
psql postgresql-client
/usr/lib/postgresql/*/bin/postgres postgresql
'
[ "${1:-}" != services ] || programs="$programs
nginx nginx-light
prometheus prometheus
"

# Debian keeps servers in sbin, which is not on everybody's PATH.
PATH="$PATH:/usr/local/sbin:/usr/sbin:/sbin"

missing_packages() {
  printf '%s\n' "$programs" | while read -r program package; do
    [ -n "$program" ] || continue
    # A program in a folder with its version is written with a wildcard.
    # shellcheck disable=SC2086
    command -v $program >/dev/null 2>&1 || printf '%s ' "$package"
  done
}

missing=$(missing_packages)
[ -n "$missing" ] || exit 0

if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
  export DEBIAN_FRONTEND=noninteractive
  case " $missing " in
    *" postgresql "*)
      # The tests run servers of their own; the package would start one more for the system.
      if [ ! -e /etc/postgresql-common/createcluster.conf ]; then
        mkdir -p /etc/postgresql-common
        echo 'create_main_cluster = false' >/etc/postgresql-common/createcluster.conf
      fi
      ;;
  esac
  # The lists of packages are often there already; they are fetched only if the first try fails.
  # $missing is a list of words on purpose.
  # shellcheck disable=SC2086
  apt-get install -y -qq --no-install-recommends $missing >/dev/null 2>&1 || {
    apt-get update -qq >/dev/null
    apt-get install -y -qq --no-install-recommends $missing >/dev/null
  }
  missing=$(missing_packages)
  [ -n "$missing" ] || exit 0
fi

{
  echo "The tests need programs that are not installed. Missing Debian packages: $missing"
  echo "Install them with: sudo apt-get update && sudo apt-get install -y $missing"
} >&2
exit 1
