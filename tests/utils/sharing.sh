#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The unit tests of the port and of shared blocks on a file system that shares blocks, made in a file and mounted where no other process sees it.
# Usage: sharing.sh xfs|btrfs REPORT   Skipped without root, Linux, the program that makes it, and a kernel that knows it.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
system=$1 report=$2
case $system in xfs) package=xfsprogs ;; *) package=btrfs-progs ;; esac
case $(uname -s)$(id -u) in Linux0) ;; *) say "skipped: only root on Linux can mount a file system for them"; exit 0 ;; esac
use_venv dev
command -v "mkfs.$system" >/dev/null 2>&1 || apt_install "$package" || { say "skipped: mkfs.$system is not installed (Debian package $package)"; exit 0; }

work=$build/sharing/$system
trap 'rm -rf "$work"' EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
rm -rf "$work"
mkdir -p "$work/mounted"
image=$work/image
"$venv/bin/python" -c 'import sys; open(sys.argv[1], "wb").truncate(2 << 30)' "$image"
"mkfs.$system" -q "$image" >>"$build/logs/sharing.log" 2>&1 || { say "skipped: mkfs.$system failed, as .build/logs/sharing.log tells"; exit 0; }

# inside COMMAND...: run it in a name space of its own, where the mount ends with it.
# shellcheck disable=SC2016
inside() { unshare -m sh -c 'mount -o loop "$1" "$2" && shift 2 && exec "$@"' _ "$image" "$work/mounted" "$@" </dev/null; }
inside true 2>>"$build/logs/sharing.log" || { say "skipped: $system could not be mounted here, as .build/logs/sharing.log tells"; exit 0; }
cd "$root"
inside "$venv/bin/python" -m pytest -q -n auto -rfEs --junit-xml="$report" --basetemp="$work/mounted/tests" \
  tests/unit/plugins/module_utils/_io tests/unit/plugins/module_utils/_ops/copy tests/unit/plugins/module_utils/_ops/convert/test_share_disk.py
