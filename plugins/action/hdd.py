# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import Any, Dict

from ansible.module_utils.parsing.convert_bool import boolean

from ansible_collections.vdisk.parallels.plugins.plugin_utils._progress.action import ProgressAction


class ActionModule(ProgressAction):
    """The module hdd, with progress while an existing disk is written anew."""

    def may_take_long(self, options: Dict[str, Any]) -> bool:
        """A new or a larger disk costs nothing; one that changes its kind, its parts or its version is written anew,
        and a smaller one may move data.
        """
        if options.get("state") == "absent":
            return False
        if any(options.get(option) is not None for option in ("type", "split_size")):
            return True
        return (
            options.get("snapshots") == "merge"
            or options.get("format_version", "auto") != "auto"
            or boolean(options.get("shrink", False), strict=False)
        )
