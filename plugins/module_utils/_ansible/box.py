# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module vagrant_box does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
import uuid
from typing import Any, Dict

from ansible.module_utils.basic import AnsibleModule

from .._change.aside import clear_siblings
from .._io.port import Port
from .._io.process import source_date_epoch
from .._ops.box.pack import PACKED, Box, BoxRequest, find_box, find_machine, pack
from .file_options import apply_file_options, cover_new_files, refuse_other_owner
from .run import Result, absolute, own_port, titled_diff


def pack_box(module: AnsibleModule) -> Result:
    """Make sure that the box holds the machine as it is now."""
    port = own_port(module)
    request = _request(module, port)
    machine_uuid = find_machine(port, request)
    cleared = list(clear_siblings(port, request.path)) if not module.check_mode else []
    box = find_box(port, request, machine_uuid)
    changed = box.packed is None
    started = time.monotonic()
    sources = [entry.path for entry in box.entries if entry.path is not None]
    if changed:
        refuse_other_owner(port, module, request.path, sources)
    if changed and not module.check_mode:
        cover_new_files(port, module)
        if module.params["mode"] is None:
            port.cover(like=sources)
        box = pack(port, request, box, token=uuid.uuid4().hex[:8])
    elapsed = round(time.monotonic() - started, 3)
    result = _result(request.path, box)
    result["changed"] = apply_file_options(port, module, [request.path], changed=changed) or bool(cleared)
    result.update(elapsed=elapsed if changed else 0.0, warnings=[*cleared, *box.disks.warnings])
    return result


def _request(module: AnsibleModule, port: Port) -> BoxRequest:
    params = module.params
    return BoxRequest(
        # A link that the task names is resolved once; what is in the machine may lead nowhere else.
        machine=port.real_path(absolute(port, params["src"], "src")),
        path=absolute(port, params["dest"], "dest"),
        architecture=params["architecture"],
        epoch=source_date_epoch(),
        now=int(time.time()),
        level=params["compression_level"],
        reproducible=params["reproducible"],
        metadata=params["metadata"],
        vagrantfile=params["vagrantfile"],
        force=params["force"],
        durable=params["durable"],
    )


def _result(path: str, box: Box) -> Dict[str, Any]:
    names = [entry.name for entry in box.entries if not entry.is_directory]
    after = {"box": PACKED, "files": names}
    before = after if box.before == PACKED else {"box": box.before, "files": []}
    return {
        "dest": path,
        "uuid": box.uuid,
        "files": names,
        "content_size": sum(entry.size for entry in box.entries),
        "size": None if box.packed is None else box.packed.size,
        "checksum": None if box.packed is None else box.packed.checksum,
        "diff": titled_diff(f"{path} (box)", before, after),
    }
