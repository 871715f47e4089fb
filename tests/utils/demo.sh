#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Run examples/demo.yml from this checkout on disks in a temporary folder, which goes away with the run.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv demo

folder=$(mktemp -d "${TMPDIR:-/tmp}/vdisk-demo.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
cd "$root"
ANSIBLE_DEPRECATION_WARNINGS=false "$venv/bin/ansible-playbook" -i localhost, -c local \
  -e "{\"ansible_python_interpreter\": \"$venv/bin/python\", \"demo_dir\": \"$folder\"}" examples/demo.yml "$@" </dev/null
cat "$folder/story.txt" 2>/dev/null || :
