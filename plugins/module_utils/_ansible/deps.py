# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libraries that a managed node needs besides Python, checked in one place."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from importlib.util import find_spec

from ansible.module_utils.basic import AnsibleModule, missing_required_lib


def has_lxml() -> bool:
    """Whether lxml is there. It is not loaded here, since not every run reads XML."""
    return find_spec("lxml") is not None


def require_lxml(module: AnsibleModule) -> None:
    """Fail the task with advice when lxml is missing."""
    if not has_lxml():
        module.fail_json(msg=missing_required_lib("lxml >= 4.6"), error_code="missing_library")
