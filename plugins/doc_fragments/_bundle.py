# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that name a disk."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations


class ModuleDocFragment:
    # The disk that a module works on.
    DOCUMENTATION = r"""
requirements:
  - python >= 3.8
  - lxml >= 4.6
notes:
  - The O(path) is the directory of a bundle, its C(DiskDescriptor.xml), the empty C(.hdd) file inside it, or a single
    image file that is a whole disk.
options:
  path:
    description:
      - The disk.
    type: path
    required: true
    aliases:
      - hdd
  allow_outside:
    description:
      - Follow images outside the bundle that the descriptor names, as in linked clones. They are only read.
    type: bool
    default: false
"""
