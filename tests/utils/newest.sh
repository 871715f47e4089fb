#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The unit tests of the engine on a Python that this machine lacks, with the one of Debian sid, in a root file system that is made for it once.
# Usage: newest.sh VERSION REPORT   Skipped without root, Linux, mmdebstrap, a mirror of Debian, and when sid has another Python.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
version=$1 report=$2
log=$build/logs/newest.log
mkdir -p "$build/logs"
case $(uname -s)$(id -u) in Linux0) ;; *) say "skipped: only root on Linux can make a root file system for it"; exit 0 ;; esac
command -v timeout >/dev/null 2>&1 || { say "skipped: there is no program timeout"; exit 0; }
clean_path
VDISK_SUITES=sid timeout 300 sh "$root/tests/nodes/nodes.sh" roots >"$log" 2>&1 </dev/null ||
  { say "skipped: a root file system of Debian sid could not be made: $(tail -n 1 "$log")"; exit 0; }
inside() { sh "$root/tests/nodes/nodes.sh" inside sid "$@" </dev/null; }
found=$(inside python3 -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>>"$log") || { say "skipped: it does not run here, as .build/logs/newest.log tells"; exit 0; }
[ "$found" = "$version" ] || { say "skipped: Debian sid has Python $found"; exit 0; }
cd "$root"
inside env VDISK_FEW="${VDISK_FEW-1}" python3 -m pytest -q -n auto -rfEs -p no:cacheprovider --junit-xml="$report" tests/unit/plugins
