#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Play the scenarios of extensions/molecule on this machine, or on Debian 11, 12 and 13 nodes that are started for it.
# Usage: molecule.sh here|nodes [SCENARIO...]   Without names: all of them.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
where=$1
shift
[ "$(uname -s)" = Linux ] || { say "skipped: the scenarios look at processes in /proc, which only Linux has"; exit 0; }
if [ "$where" = nodes ]; then
  why=$(sh "$root/tests/nodes/nodes.sh" obstacle)
  [ -z "$why" ] || { say "skipped: $why"; exit 0; }
fi
use_venv dev
make_venv "$venv" "$controller" molecule "$root/tests/utils/requirements-molecule.txt" || die "molecule could not be installed"
cd "$root"

VDISK_INVENTORY=$where
VDISK_NODES=$build/nodes
work=$build/molecule/$where
VDISK_GROUND="$work/virtual machines"
NO_COLOR=1
export NO_COLOR VDISK_INVENTORY VDISK_NODES VDISK_GROUND
rm -rf "$work"
mkdir -p "$VDISK_GROUND"
trap 'rm -rf "$work"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

if [ $# -gt 0 ]; then
  for name in "$@"; do set -- "$@" -s "$name"; shift; done
else
  set -- --all
  [ "$where" = nodes ] || set -- --all --exclude nodes
fi
# A session starts from the clean environment of common.sh.
set -- env ANSIBLE_HOME="$work/home" "$venv/bin/molecule" test --report --no-command-borders "$@"
[ "$where" = here ] || set -- sh "$root/tests/nodes/nodes.sh" session "$@"
"$@" </dev/null
