# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Libraries that a managed node needs besides Python, checked in one place."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import traceback

from ansible.module_utils.basic import AnsibleModule, missing_required_lib

LXML_IMPORT_ERROR = None
try:
    import lxml.etree  # noqa: F401  # pylint: disable=unused-import
except ImportError:
    LXML_IMPORT_ERROR = traceback.format_exc()


def require_lxml(module: AnsibleModule) -> None:
    """Fail the task with advice when lxml is missing."""
    if LXML_IMPORT_ERROR is not None:
        module.fail_json(
            msg=missing_required_lib("lxml >= 4.6"), exception=LXML_IMPORT_ERROR, error_code="missing_library"
        )
