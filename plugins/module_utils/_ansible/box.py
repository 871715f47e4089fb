# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module vagrant_box does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import json
import time
import uuid
from typing import Any, Dict, Optional, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._bundle.naming import temporary_name
from .._bundle.paths import is_inside
from .._change.aside import clear_siblings
from .._core.errors import AlreadyExists, BadRequest, NotFound
from .._io.clock import source_date_epoch
from .._io.port import DIRECTORY, FILE, Port
from .._io.real import OsPort
from .._ops.box.archive import (
    METADATA,
    VAGRANTFILE,
    Entry,
    Packed,
    archive,
    box_if_same,
    machine_entries,
    machine_uuid,
    small_file,
    write_box,
)
from .run import Result, absolute, apply_file_options

_PROVIDER = "parallels"


def pack_box(module: AnsibleModule) -> Result:
    """Make sure that the box holds the machine as it is now."""
    params = module.params
    port = OsPort()
    machine, box = absolute(port, params["src"], "src"), absolute(port, params["dest"], "dest")
    if not 0 <= params["compression_level"] <= 9:
        raise BadRequest(
            "compression_level: not a level", path=box, expected="0 to 9", found=params["compression_level"]
        )
    found = _refuse_place(port, machine, box)
    own = machine_uuid(port, machine)
    cleared = list(clear_siblings(port, box)) if not module.check_mode else []
    entries = _entries(module, port, machine)
    packed = box_if_same(port, box, archive(port, entries)) if found else None
    changed = packed is None
    before = "absent" if not found else "other content" if changed else "packed"
    started = time.monotonic()
    if packed is None and not module.check_mode:
        packed = _write(module, port, box, entries)
    elapsed = round(time.monotonic() - started, 3)
    result = _result(box, own, entries, packed, before)
    result["changed"] = apply_file_options(port, module, [box], changed=changed) or bool(cleared)
    result.update(elapsed=elapsed if changed else 0.0, warnings=cleared)
    return result


def _refuse_place(port: Port, machine: str, box: str) -> bool:
    """Raises when a box cannot lie there; returns whether there is a file already."""
    if is_inside(box, machine):
        raise BadRequest(
            "dest: a box cannot lie in the machine that it holds", path=box, hint="Choose another directory."
        )
    directory = port.stat(box.rsplit("/", 1)[0] or "/")
    if directory is None or directory.kind != DIRECTORY:
        raise NotFound(
            "The directory for the box does not exist",
            path=box,
            hint="Create it first, for example with ansible.builtin.file.",
        )
    there = port.stat(box)
    if there is not None and there.kind != FILE:
        raise AlreadyExists("dest: what lies there is no file", path=box, found=there.kind, hint="Choose another name.")
    return there is not None


def _entries(module: AnsibleModule, port: Port, machine: str) -> Tuple[Entry, ...]:
    params = module.params
    fixed: Optional[int] = source_date_epoch() if params["reproducible"] else None
    metadata = {**(params["metadata"] or {}), "architecture": params["architecture"], "provider": _PROVIDER}
    text = json.dumps(metadata, sort_keys=True, indent=2) + "\n"
    parts = machine_entries(port, machine, mtime=fixed)
    # These two have no time of their own, and a second run must find them as they are.
    mtime = source_date_epoch() if fixed is None else fixed
    start = [small_file(METADATA, text.encode(), mtime=mtime)]
    if params["vagrantfile"] is not None:
        start.append(small_file(VAGRANTFILE, params["vagrantfile"].encode(), mtime=mtime))
    return tuple(start) + parts


def _write(module: AnsibleModule, port: Port, box: str, entries: Tuple[Entry, ...]) -> Packed:
    directory, base = box.rsplit("/", 1)
    temporary = f"{directory}/{temporary_name(base, uuid.uuid4().hex[:8])}"
    mtime = source_date_epoch() if module.params["reproducible"] else int(time.time())
    return write_box(
        port, box, archive(port, entries), level=module.params["compression_level"], mtime=mtime, temporary=temporary
    )


def _result(box: str, own: str, entries: Tuple[Entry, ...], packed: Optional[Packed], before: str) -> Dict[str, Any]:
    names = [entry.name for entry in entries if not entry.is_directory]
    after = {"box": "packed", "files": names}
    return {
        "dest": box,
        "uuid": own,
        "files": names,
        "content_size": sum(entry.size for entry in entries),
        "size": None if packed is None else packed.size,
        "checksum": None if packed is None else packed.checksum,
        "diff": {
            "before": after if before == "packed" else {"box": before, "files": []},
            "after": after,
            "before_header": f"{box} (box)",
            "after_header": f"{box} (box)",
        },
    }
