#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run one of the development tools in the root of the repository, for example: tool.sh ruff check .

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
cd "$root"
tool=$1
shift
exec "$venv/bin/$tool" "$@" </dev/null
