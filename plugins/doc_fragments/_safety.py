# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The options that allow a change which is refused otherwise."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations


class ModuleDocFragment:
    # What stands between a module and a disk that may be in use.
    DOCUMENTATION = r"""
options:
  force:
    description:
      - Continue although an image is marked as in use. A disk that another process holds is still refused.
    type: bool
    default: false
"""
