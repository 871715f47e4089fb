#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The comparisons with other programs (tests/bench). Timings decide nothing; ARGS="--only merge" and the like choose.

# shellcheck disable=SC2154,SC2086
set -eu
. "$(dirname "$0")/common.sh"
. "$(dirname "$0")/oracles.sh"
use_venv dev
install_oracles qemu-img:qemu-utils nbdcopy:libnbd-bin ploop:ploop mkfs.xfs:xfsprogs 7zz:7zip
cd "$build/link"
# The engine is imported from compiled files, as an installed program is.
unset PYTHONDONTWRITEBYTECODE
export PYTHONPYCACHEPREFIX="$build/cache/bytecode"
export PYTHONPATH="$build/link"
# What root mounts for it ends with it, whatever ends it.
alone=
if [ "$(id -u)" = 0 ] && unshare -m true 2>/dev/null; then alone="unshare -m"; fi
$alone "$venv/bin/python" -m ansible_collections.vdisk.parallels.tests.bench.run ${ARGS:-} "$@"
# What a whole fleet costs has a table of its own.
case " ${ARGS:-} $* " in
  *" --"*) ;;
  *) exec "$venv/bin/python" -m ansible_collections.vdisk.parallels.tests.bench.fleet ;;
esac
