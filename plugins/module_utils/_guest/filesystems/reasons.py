# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why nothing of a file system counts as free: the codes of ``filesystems[].reason``, which keep their meaning."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Dict

REASONS: Dict[str, str] = {
    "unclean": "it was not unmounted cleanly: a journal or log must be replayed, or it is marked as in use",
    "errors": "it records errors that its own check must look at",
    "unknown_features": "it has features or a version that the reader does not know",
    "damaged": "checksums, counters or structures contradict one another",
    "unconfirmed": "nothing confirms the size and the place of its clusters",
    "too_large": "it says that it is larger than its partition",
    "external": "its journal or log is on another device",
    "hibernated": "the guest is hibernated or suspended to the disk",
    "suspended": "the virtual machine is suspended, or the snapshot has a saved memory state",
    "shadow_copies": "it has shadow copies, which read blocks that it calls free",
    "resizing": "a change of its size is under way",
    "raid": "it is a member of a RAID, or spans several devices",
    "encrypted": "its content is cipher text",
    "ambiguous": "more than one file system or container is recognised in the same place",
    "unsupported": "its layout is not read",
    "partition_table": "partitions overlap or lie outside of the disk, or its tables are bad or disagree",
    "unrecognised": "no file system is recognised",
    "costly": "finding out would read more than the file system holds",
}
