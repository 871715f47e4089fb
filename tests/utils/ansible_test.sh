#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run ansible-test in a fresh copy of the working tree, with its own home and the interpreters that really run.
# Usage: ansible_test.sh sanity|units|integration [arguments of ansible-test]

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
command=$1
shift
if [ "$command" = integration ] && ! ls "$root"/tests/integration/targets/*/tasks/main.yml >/dev/null 2>&1; then
  say "there are no integration targets"
  exit 0
fi

collect_pythons
say "copying the tree; Pythons:$(cd "$pythons" && printf ' %s' *)${absent:+ (absent:$absent)}"
"$venv/bin/python" "$root/tests/utils/tree.py" "$root" "$build"
cd "$tree"
log=$build/logs/ansible-test-$command.log
PATH=$pythons:$PATH
export HOME="$build/home"
# ansible-test looks for collections by its own folder.
unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_HOME ANSIBLE_CONFIG

# What pip says at length is in the log.
chatter='^(WARNING: Location |Looking in |Collecting |Processing |  Downloading | +━|Installing collected packages|Successfully |Requirement already |Using cached )'

run() {
  { "$venv/bin/ansible-test" "$command" --venv --color no "$@" </dev/null 2>&1 || echo "ansible-test ended with $?"; } | tee "$log" | grep -v -E "$chatter" || :
  ! grep -q '^ansible-test ended with ' "$log" || exit 1
  ! grep -q 'All targets skipped' "$log" || die "ansible-test skipped every target, so nothing was tested"
}

# `make test-all` plays the integration targets with the controller's Python, so here they meet the oldest one on the managed node.
if [ "$command" = integration ] && [ $# = 0 ]; then
  oldest=$(for minor in 3.8 3.9 3.10 3.11 3.12 3.13 3.14; do [ ! -e "$pythons/python$minor" ] || { echo "$minor"; break; }; done)
  say "with Python $oldest on the managed node"
  run --python "$oldest"
else
  run "$@"
fi
