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

    # What a managed node needs, for modules that take no part of the others.
    NEEDS = r"""
requirements:
  - python >= 3.8
  - lxml >= 4.6
options: {}
"""

    # The same, and images outside of the bundle.
    OUTSIDE = r"""
requirements:
  - python >= 3.8
  - lxml >= 4.6
options:
  allow_outside:
    description:
      - Follow images outside the bundle that the descriptor names, as in linked clones. They are only read.
    type: bool
    default: false
"""

    # The disks, for modules that work on one disk or on many.
    MANY = r"""
requirements:
  - python >= 3.8
  - lxml >= 4.6
notes:
  - A disk is the directory of a bundle, its C(DiskDescriptor.xml), the empty C(.hdd) file inside it, or a single image
    file that is a whole disk.
options:
  path:
    description:
      - The disk. With O(recurse=true), a folder with disks.
      - Mutually exclusive with O(paths).
    type: path
    aliases:
      - hdd
  paths:
    description:
      - Several disks, C(.pvm) directories, or folders with any of these, in one task, which is much faster than many
        tasks. The results of each disk are in RV(ignore:disks). One that an error stops is in RV(ignore:failed_disks);
        the others get their turn, and the task fails at the end.
      - Mutually exclusive with O(path).
    type: list
    elements: path
  recurse:
    description:
      - Work on all disks in all subdirectories. Links are not followed.
    type: bool
    default: false
  allow_outside:
    description:
      - Follow images outside the bundle that the descriptor names, as in linked clones. They are only read.
    type: bool
    default: false
"""
