#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Render the documentation of the collection to .build/docs/html; warnings are errors.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
out=$build/docs
rm -rf "$out"
mkdir -p "$out"
chmod go-w "$out"
"$venv/bin/antsibull-docs" sphinx-init --use-current --squash-hierarchy --dest-dir "$out" vdisk.parallels >/dev/null
mkdir -p "$out/temp-rst"
chmod go-w "$out/temp-rst"
"$venv/bin/antsibull-docs" --config-file "$out/antsibull-docs.cfg" collection --use-current --squash-hierarchy --cleanup everything \
  --dest-dir "$out/temp-rst" vdisk.parallels
cp -R "$out/temp-rst/." "$out/rst/"
# Without a network there are no inventories of other documentation, and references into it stay plain text.
printf '\nintersphinx_mapping = {}\nsuppress_warnings = ["ref.ref", "ref.envvar"]\n' >>"$out/conf.py"
cd "$out"
"$venv/bin/python" -m sphinx -W --keep-going -q -b html -c . rst html
say "the documentation is in .build/docs/html/index.html"
