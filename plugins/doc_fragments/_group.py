# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that a module takes without effect, because many others of the action group have them."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations


class ModuleDocFragment:
    FORCE = r"""
options:
  force:
    description:
      - Has no effect here. The module takes it so that C(module_defaults) of the group can set it for all modules.
    type: bool
    default: false
"""

    RECURSE = r"""
options:
  recurse:
    description:
      - Has no effect here. The module takes it so that C(module_defaults) of the group can set it for all modules.
    type: bool
    default: false
"""

    SCAN = r"""
options:
  scan:
    description:
      - Has no effect here. The module takes it so that C(module_defaults) of the group can set it for all modules.
    type: str
    choices: [metadata, zeros, filesystem]
"""

    SWAP = r"""
options:
  swap:
    description:
      - Has no effect here. The module takes it so that C(module_defaults) of the group can set it for all modules.
    type: str
    choices: [keep, drop]
"""

    FILES = r"""
options:
  mode:
    description:
      - Has no effect here, like the other options for files. The module takes them so that C(module_defaults) of the
        group can set them for all modules. New files of a disk are like those that it has.
    type: raw
  owner:
    description:
      - Has no effect here, see O(mode).
    type: str
  group:
    description:
      - Has no effect here, see O(mode).
    type: str
  seuser:
    description:
      - Has no effect here, see O(mode).
    type: str
  serole:
    description:
      - Has no effect here, see O(mode).
    type: str
  setype:
    description:
      - Has no effect here, see O(mode).
    type: str
  selevel:
    description:
      - Has no effect here, see O(mode).
    type: str
  attributes:
    description:
      - Has no effect here, see O(mode).
    type: str
    aliases:
      - attr
  unsafe_writes:
    description:
      - Has no effect here, see O(mode).
    type: bool
    default: false
"""
