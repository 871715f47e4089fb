#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Every check that reads and does not run: style, types, playbooks, documentation, changes, licences, shell.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
cd "$root"
failed=

check() {
  _name=$1
  shift
  title "$_name"
  "$@" </dev/null || failed="$failed $_name"
}

check ruff "$venv/bin/ruff" check --quiet --output-format concise .
check ruff-format "$venv/bin/ruff" format --check --quiet --output-format concise .
MYPYPATH=$build/link check mypy "$venv/bin/mypy" --config-file pyproject.toml -p ansible_collections.vdisk.parallels.plugins.module_utils
check yamllint "$venv/bin/yamllint" --strict .
check ansible-lint "$venv/bin/ansible-lint" --offline --strict -q
check antsibull-docs "$venv/bin/antsibull-docs" lint-collection-docs --plugin-docs --skip-rstcheck --validate-collection-refs=all .
check antsibull-changelog "$venv/bin/antsibull-changelog" lint
check reuse "$venv/bin/reuse" lint --lines
command -v shellcheck >/dev/null 2>&1 || apt_install shellcheck || :
if command -v shellcheck >/dev/null 2>&1; then
  check shellcheck shellcheck -x -P SCRIPTDIR tests/utils/*.sh tests/nodes/*.sh .ci/run
else
  say "shellcheck: absent, the shell scripts were not checked"
fi
[ -z "$failed" ] || die "complaints of:$failed"
say ""
say "no complaints"
