#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Unit tests on every Python, then architecture, property, crash and oracle tests, then the integration targets, then a summary.
# With --long also what runs for minutes.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
[ "${1:-}" != --long ] || export VDISK_LONG=1
use_venv dev
cd "$root"
rm -rf "$reports"
mkdir -p "$reports"
failed=

# run_pytest NAME PYTHON FOLDERS...
run_pytest() {
  _name=$1 _python=$2
  shift 2
  "$_python" -m pytest -q -n auto -rs --junit-xml="$reports/$_name.xml" "$@" </dev/null || failed="$failed $_name"
}

# The programs that the oracle tests ask; only root on Debian installs them.
title "oracles"
for pair in qemu-img:qemu-utils qemu-io:qemu-utils qemu-nbd:qemu-utils ploop:ploop chromium:chromium; do
  command -v "${pair%%:*}" >/dev/null 2>&1 || apt_install "${pair##*:}" || :
done
for program in qemu-img qemu-io qemu-nbd ploop chromium; do
  if command -v "$program" >/dev/null 2>&1; then say "$program: present"; else say "$program: absent, its comparisons are skipped"; fi
done
while read -r package; do
  case $package in '' | '#'*) continue ;; esac
  if "$venv/bin/python" -m pip install -qq "$package" </dev/null >>"$build/logs/oracles.log" 2>&1; then
    say "$package: present"
  else
    say "$package: absent, its comparisons are skipped"
  fi
done <tests/utils/requirements-oracles.txt

main=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
title "unit tests on Python $main"
run_pytest "unit-$main" "$venv/bin/python" tests/unit

collect_pythons
for python in "$pythons"/python3.*; do
  version=${python##*/python}
  [ "$version" != "$main" ] || continue
  title "unit tests on Python $version"
  # The oldest ansible-core that the collection is for serves modules on all these Pythons, though it does not run on each of them itself.
  folder=$build/units/$version
  real=$(readlink "$python")
  if make_venv "$folder" "$real" units tests/utils/requirements-units.txt &&
    { [ -e "$folder/.made-core" ] || "$folder/bin/python" -m pip install -qq --no-deps --ignore-requires-python 'ansible-core == 2.17.*' </dev/null; }; then
    touch "$folder/.made-core"
    # The main Python has played all examples; here the question is whether the code runs at all. The modules run on the oldest, too.
    units=tests/unit/plugins/module_utils
    case $version in 3.8) units=tests/unit ;; esac
    if [ -n "${VDISK_LONG:-}" ]; then
      run_pytest "unit-$version" "$folder/bin/python" tests/unit
    else
      VDISK_FEW=1 run_pytest "unit-$version" "$folder/bin/python" "$units"
    fi
  else
    failed="$failed unit-$version(packages)"
  fi
done

for kind in architecture property crash oracle pages; do
  [ -d "tests/$kind" ] || continue
  title "$kind tests"
  run_pytest "$kind" "$venv/bin/python" "tests/$kind"
done

# The targets of ansible-test, played from this checkout: no copy, and true line numbers. `make integration` runs them through ansible-test.
title "integration targets"
for folder in tests/integration/targets/*/tasks; do
  [ -e "$folder/main.yml" ] || continue
  target=$(basename "$(dirname "$folder")")
  aliases=$(cat "tests/integration/targets/$target/aliases" 2>/dev/null) || aliases=
  case "$target $aliases" in setup_* | prepare_* | *disabled* | *unsupported*) continue ;; esac
  case "$aliases" in *needs/root*) [ "$(id -u)" = 0 ] || { say "skipped $target: needs root" | tee -a "$reports/integration.txt"; continue; } ;; esac
  case "$aliases" in *skip/macos*) [ "$(uname -s)" != Darwin ] || { say "skipped $target: not for macOS" | tee -a "$reports/integration.txt"; continue; } ;; esac
  mkdir -p "$build/integration"
  play=$build/integration/$target.yml
  printf -- '- name: %s\n  hosts: testhost\n  gather_facts: true\n  roles:\n    - %s\n' "$target" "$target" >"$play"
  if ANSIBLE_ROLES_PATH="$root/tests/integration/targets" ANSIBLE_DEPRECATION_WARNINGS=false "$venv/bin/ansible-playbook" -i testhost, -c local \
    -e "{\"ansible_python_interpreter\": \"$venv/bin/python\"}" "$play" >"$build/logs/integration-$target.log" 2>&1 </dev/null; then
    say "passed $target" | tee -a "$reports/integration.txt"
  else
    tail -n 40 "$build/logs/integration-$target.log"
    say "failed $target: the whole log is .build/logs/integration-$target.log" | tee -a "$reports/integration.txt"
    failed="$failed integration:$target"
  fi
done

title "summary"
"$venv/bin/python" tests/utils/summary.py "$reports"
[ -z "$absent" ] || say "Pythons that are not on this machine, so that nothing ran on them:$absent"
[ -z "$failed" ] || die "failed:$failed"
