# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The attributes of every module: check mode, diff, idempotence, platform."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations


class ModuleDocFragment:
    # For modules that change disks. Each module documents its own support of check_mode, diff_mode and idempotent.
    DOCUMENTATION = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff
      mode.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled/queried by the module has not changed in a relevant way.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  safe_file_operations:
    description: Uses Ansible's strict file operation functions to ensure proper permissions and avoid data corruption.
    support: partial
    details:
      - Files are replaced by a synced copy in the same directory and one rename. Images are changed in place in an
        order that leaves a readable disk wherever the run is interrupted.
      - Ansible's own functions are not used for this.
  action_group:
    description: Use C(group/vdisk.parallels.hdd) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - vdisk.parallels.hdd
"""

    # For modules that only read; complete, used instead of the fragment above.
    INFO_MODULE = r"""
options: {}
attributes:
  check_mode:
    description: Can run in C(check_mode) and return changed status prediction without modifying target.
    support: full
    details:
      - This action does not modify state.
  diff_mode:
    description: Will return details on what has changed (or possibly needs changing in C(check_mode)), when in diff
      mode.
    support: N/A
    details:
      - This action does not modify state.
  idempotent:
    description:
      - When run twice in a row outside check mode, with the same arguments, the second invocation indicates no change.
      - This assumes that the system controlled/queried by the module has not changed in a relevant way.
    support: full
    details:
      - This action does not modify state.
  platform:
    description: Target OS/families that can be operated against.
    support: full
    platforms: posix
  async:
    description: Supports being used with the C(async) keyword.
    support: full
  safe_file_operations:
    description: Uses Ansible's strict file operation functions to ensure proper permissions and avoid data corruption.
    support: N/A
    details:
      - This action does not modify state.
  action_group:
    description: Use C(group/vdisk.parallels.hdd) in C(module_defaults) to set defaults for this module.
    support: full
    membership:
      - vdisk.parallels.hdd
"""
