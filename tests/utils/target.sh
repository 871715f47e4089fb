#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Play one integration target from this checkout on this machine, and say in a line what came of it; the end of the log follows where it failed.
# Usage: target.sh NAME

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
cd "$root"
target=$1
log=$build/logs/integration-$target.log
aliases=$(cat "tests/integration/targets/$target/aliases" 2>/dev/null) || aliases=
case "$target $aliases" in setup_* | prepare_* | *disabled* | *unsupported*) exit 0 ;; esac
case "$aliases" in *needs/root*) [ "$(id -u)" = 0 ] || { say "skipped $target: needs root"; exit 0; } ;; esac
case "$aliases" in *skip/macos*) [ "$(uname -s)" != Darwin ] || { say "skipped $target: not for macOS"; exit 0; } ;; esac

mkdir -p "$build/integration" "$build/logs"
play=$build/integration/$target.yml
printf -- '- name: %s\n  hosts: testhost\n  gather_facts: true\n  gather_subset: [min]\n  roles:\n    - %s\n' "$target" "$target" >"$play"
if ANSIBLE_ROLES_PATH="$root/tests/integration/targets" ANSIBLE_DEPRECATION_WARNINGS=false "$venv/bin/ansible-playbook" -i testhost, -c local \
  -e "{\"ansible_python_interpreter\": \"$venv/bin/python\"}" "$play" >"$log" 2>&1 </dev/null; then
  say "passed $target"
else
  # In one piece, since another target may be speaking too.
  say "failed $target: the whole log is .build/logs/integration-$target.log
$(tail -n 40 "$log" | sed 's/^/    /')"
fi
