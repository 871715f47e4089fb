#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# How long one task and one role take for 64 disks on 8 nodes, with 1 and with 8 forks: medians of 3 runs, as a table.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/../utils/common.sh"
why=$(sh "$root/tests/nodes/nodes.sh" obstacle)
[ -z "$why" ] || { say "skipped: $why"; exit 0; }
use_venv dev
cd "$root"
sh "$root/tests/nodes/nodes.sh" session "$venv/bin/python" tests/nodes/fan_out.py "$root" "$build/nodes" </dev/null
