#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Make the pictures of the documentation anew, in docs/pictures. Needs Chromium, and some hundred megabytes in the temporary folder for a while.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
cd "$root"
PYTHONPATH=$build/link PYTHONDONTWRITEBYTECODE=1 exec "$venv/bin/python" -m ansible_collections.vdisk.parallels.tests.pages.pictures docs/pictures
