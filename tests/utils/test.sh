#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Unit tests on every Python, on that of Debian sid where 3.14 is missing, and on file systems that share blocks, then architecture, property, crash and oracle tests, then the integration targets, then a summary.
# A sample that ends in minutes: some examples of each unit test, every third of these on the oldest Python and on file systems that share blocks, every thirtieth of the crash and oracle tests, three targets.
# With --all every example, every Python and every target; with --long also what runs for minutes.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/oracles.sh"
share=30 every=3
case ${1:-} in
  --all) share='' every='' ;;
  --long) share='' every='' && export VDISK_LONG=1 ;;
esac
use_venv dev
cd "$root"
rm -rf "$reports"
mkdir -p "$reports"
failed=

# run_pytest NAME PYTHON FOLDERS...
run_pytest() {
  _name=$1 _python=$2
  shift 2
  "$_python" -m pytest -q -n auto -rfEs --junit-xml="$reports/$_name.xml" "$@" </dev/null || failed="$failed $_name"
}

title "oracles"
# shellcheck disable=SC2086
install_oracles qemu-img:qemu-utils qemu-io:qemu-utils qemu-nbd:qemu-utils nbdcopy:libnbd-bin nbdkit:nbdkit ploop:ploop 7zz:7zip chromium:chromium $file_systems

main=$("$venv/bin/python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
title "unit tests on Python $main"
VDISK_FEW=${share:+1} VDISK_SHARE=$share run_pytest "unit-$main" "$venv/bin/python" tests/unit

collect_pythons
for python in "$pythons"/python3.*; do
  version=${python##*/python}
  [ "$version" != "$main" ] || continue
  [ -z "$share" ] || [ "$version" = 3.8 ] || continue
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
      VDISK_FEW=1 VDISK_EVERY=$every run_pytest "unit-$version" "$folder/bin/python" "$units"
    fi
  else
    failed="$failed unit-$version(packages)"
  fi
done

# A Python that is newer than any on this machine comes from Debian sid.
case $share:$absent in
  :*\ 3.14*)
    title "unit tests on Python 3.14 of Debian sid"
    sh tests/utils/newest.sh 3.14 "$reports/unit-3.14.xml" || failed="$failed unit-3.14"
    [ ! -e "$reports/unit-3.14.xml" ] || absent=$(printf '%s' "$absent" | sed 's/ 3\.14//')
    ;;
esac

for system in xfs btrfs; do
  title "unit tests on $system"
  VDISK_EVERY=$every sh tests/utils/sharing.sh "$system" "$reports/unit-$system.xml" || failed="$failed unit-$system"
done

for kind in architecture property crash oracle pages; do
  [ -d "tests/$kind" ] || continue
  title "$kind tests"
  case $kind in
    crash | oracle) VDISK_SHARE=$share run_pytest "$kind" "$venv/bin/python" "tests/$kind" ;;
    *) run_pytest "$kind" "$venv/bin/python" "tests/$kind" ;;
  esac
done

# The targets of ansible-test, played from this checkout: no copy, and true line numbers. `make integration` runs them through ansible-test.
title "integration targets"
for folder in tests/integration/targets/*/tasks; do
  target=$(basename "$(dirname "$folder")")
  case ${share:+sample}:$target in :* | sample:life_of_a_disk | sample:progress | sample:role_maintain) ;; *) continue ;; esac
  [ ! -e "$folder/main.yml" ] || echo "$target"
done | xargs -P "$(getconf _NPROCESSORS_ONLN)" -n 1 sh tests/utils/target.sh | tee "$reports/integration.txt"
if grep -q '^failed' "$reports/integration.txt" || ! grep -q '^passed' "$reports/integration.txt"; then failed="$failed integration"; fi

if [ -n "${VDISK_LONG:-}" ]; then
  for where in here nodes; do
    case $where in here) name=molecule ;; *) name=nodes ;; esac
    title "$name"
    if sh tests/utils/molecule.sh "$where" >"$build/logs/$name.log" 2>&1; then
      grep '^skipped: ' "$build/logs/$name.log" || grep -E '^[a-z_]+ +: actions=' "$build/logs/$name.log"
    else
      tail -n 40 "$build/logs/$name.log"
      say "the whole log is .build/logs/$name.log"
      failed="$failed $name"
    fi
  done
fi

title "summary"
"$venv/bin/python" tests/utils/summary.py "$reports"
[ -z "$absent" ] || say "Pythons that are not on this machine, so that nothing ran on them:$absent"
[ -z "$failed" ] || die "failed:$failed"
