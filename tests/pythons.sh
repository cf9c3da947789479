#!/bin/sh
# Runs the tests without other people's services with each Python that Berlin supports and that is
# found here, with the newest allowed dependencies; and with the oldest ones, on the first of them.
# It ends with one line for each: what passed, and what was not found.
#
#   sh tests/pythons.sh UV [3.12 | oldest ...]
#   TESTS=tests/unit sh tests/pythons.sh UV 3.13      a part of them
set -u
uv=$1; shift
groups=${TESTS:-tests/unit tests/property tests/contract}
wanted=${*:-3.11 3.12 3.13 oldest}
summary="" failed=0 first=""

find_python() {
  for known in "$(command -v "python$1")" "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$1".*/bin/python; do
    [ -x "$known" ] && "$known" -c "import sys; sys.exit('%d.%d' % sys.version_info[:2] != '$1')" 2>/dev/null \
      && { echo "$known"; return; }
  done
  "$uv" python find --no-python-downloads "$1" 2>/dev/null
}

run() { # name, Python, options of the installation
  home=.venv-pythons/$1 python=$2; shift 2
  "$uv" venv --quiet --clear --python "$python" "$home" \
    && "$uv" pip install --quiet --python "$home/bin/python" "$@" \
    && "$uv" pip install --quiet --python "$home/bin/python" --no-deps --no-build-isolation -e . \
    && "$home/bin/python" -m pytest -q -n 2 $groups
}

for version in $wanted; do
  case $version in
    oldest)
      python=${first:-$(find_python 3.11)}
      set -- --resolution lowest-direct -r pyproject.toml --all-extras --group dev hatchling 'editables>=0.5' ;;
    *)
      python=$(find_python "$version")
      first=${first:-$python}
      set -- -r requirements/dev.txt editables ;;
  esac
  if [ -z "$python" ]; then
    summary="$summary$version: not found here, not run\n"
  elif run "$version" "$python" "$@"; then
    summary="$summary$version: passed ($("$python" -V 2>&1))\n"
  else
    summary="$summary$version: FAILED ($("$python" -V 2>&1))\n" failed=1
  fi
done
printf '\nPythons:\n%b' "$summary"
exit $failed
