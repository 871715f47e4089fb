# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_convert does for the subformat view: no conversion, a text that points into the source."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import uuid
from typing import Any, Dict, List

from ansible.module_utils.basic import AnsibleModule

from .._guest.source import Source
from .._io.port import Port
from .._ops.convert.output import OutputFile, present_facts
from .._ops.convert.reason import is_kept
from .._ops.convert.request import ConvertRequest
from .._ops.serve.text_view import SAME, TextView, plan_text_view, refuse_others
from .apply import apply_plan
from .file_options import apply_file_options
from .run import Result, titled_diff


def write_text_view(module: AnsibleModule, port: Port, source: Source, request: ConvertRequest) -> Result:
    """Make sure that the output points to the data of the source."""
    refuse_others(module.params)
    before = present_facts(port, request)
    plan = plan_text_view(port, source, request, token=uuid.uuid4().hex[:8])
    result, _outcome = apply_plan(module, port, plan)
    view = plan.facts
    files = _files(port, request, view)
    result.update(
        dest=request.path,
        reason=view.reason,
        virtual_size=view.size,
        verified=view.reason == SAME,
        files=[file._asdict() for file in files],
        dest_size=sum(file.size for file in files),
    )
    after: Dict[str, Any] = {"size": files[0].size, "content": view.reason} if not plan.is_empty else _lines(before)
    result["diff"] = titled_diff(f"{request.path} (image)", _lines(before), after)
    paths = [file.path for file in files]
    result["changed"] = apply_file_options(port, module, paths, changed=False) or result["changed"]
    return result


def _lines(facts: Dict[str, Any]) -> Dict[str, Any]:
    return {"size": facts["size"]} if facts["exists"] else {}


def _files(port: Port, request: ConvertRequest, view: TextView) -> List[OutputFile]:
    zeros = port.stat(view.zeros_path)
    longest = max(view.zeros, zeros.size if zeros is not None else 0)
    files = [OutputFile(request.path, _length(port, request, view), None)]
    return [*files, OutputFile(view.zeros_path, longest, None)] if view.zeros else files


def _length(port: Port, request: ConvertRequest, view: TextView) -> int:
    """That of the text; of one that is kept whatever it is, its own."""
    stat = port.stat(request.path)
    return stat.size if stat is not None and is_kept(view.reason) else len(view.text)
