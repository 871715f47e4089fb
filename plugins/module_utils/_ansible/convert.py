# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_convert does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, Any, Dict, Mapping, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._change.aside import clear_siblings
from .._change.permissions import refuse_content
from .._core.errors import BadRequest
from .._core.plan import Plan
from .._core.units import MIB
from .._formats.catalog import FORMATS, HDD
from .._guest.foreign.allowed import Reach
from .._guest.source import Source
from .._io.port import DIRECTORY, Port
from .._io.process import source_date_epoch
from .._ops.convert.choose_source import choose_source
from .._ops.convert.conversion import ConvertFacts
from .._ops.convert.options import alignment, output_format, refuse_options
from .._ops.convert.output import Facts, OutputFile, output_files, predicted_facts, present_facts, stale_machine
from .._ops.convert.plan import plan_convert
from .._ops.convert.request import CONTENT, ConvertRequest, SourceRequest
from .apply import apply_plan, diff_of
from .file_options import apply_file_options, apply_owner, cover_new_files, refuse_other_owner
from .run import Result, absolute, own_port, titled_diff
from .spec import disk_name, size_option, version_option

if TYPE_CHECKING:
    from .._change.executor import Outcome

_AZURE_LEAST = 20 * MIB


def convert_disk(module: AnsibleModule) -> Result:
    """Make sure that the output holds the guest disk of the source."""
    port = own_port(module)
    dest = absolute(port, module.params["dest"], "dest")
    source = choose_source(port, _source_request(module.params, port))
    checksum_file = _checksum_file(module.params, port, source, dest)
    request = _request(module.params, dest)
    cover_new_files(port, module)
    if module.params["mode"] is None:
        port.cover(like=[path for path, _seen in source.fingerprint])
    if request.subformat in FORMATS[request.format].text_kinds:
        from .serve.text_view import write_text_view

        return write_text_view(module, port, source, request)
    cleared = list(clear_siblings(port, dest)) if not module.check_mode else []
    before = present_facts(port, request)
    plan = plan_convert(port, source, request, token=uuid.uuid4().hex[:8], predict=module.check_mode)
    if checksum_file is not None:
        from .._ops.convert.checksum_file import refuse_own_file

        refuse_own_file(port, checksum_file, plan)
    if not plan.is_empty:
        refuse_other_owner(port, module, dest, [path for path, _seen in source.fingerprint])
    result, outcome = apply_plan(module, port, plan)
    report: Any = outcome.reports["transfer"] if outcome is not None else None
    files = output_files(port, request, plan, report)
    result.update(_described(request, plan, files, outcome))
    is_predicted = module.check_mode and not plan.is_empty
    after = predicted_facts(port, request, plan) if is_predicted else present_facts(port, request)
    result["diff"] = _diff(before, after, request, plan)
    if request.format == HDD:
        result["disk"] = after
        result["warnings"] += stale_machine(port, dest, result["virtual_size"])
    result["warnings"] = cleared + result["warnings"]
    if module.params["azure"] and result["virtual_size"] < _AZURE_LEAST:
        result["warnings"].append("Azure takes no disks below 20 MiB; align: 20M makes this one large enough.")
    # Where a link gives way to a bundle, there is nothing yet whose owner could be looked at.
    is_there = not is_predicted or port.real_path(dest) == dest
    result["changed"] = is_there and _give_file_options(module, port, dest, files) or result["changed"] or bool(cleared)
    result["changed"] = _update_checksum_file(module, port, checksum_file, files) or result["changed"]
    return result


def _source_request(params: Mapping[str, Any], port: Port) -> SourceRequest:
    return SourceRequest(
        absolute(port, params["src"], "src"),
        format=params["src_format"],
        snapshot=params["snapshot"],
        allow_outside=params["allow_outside"],
        backing=params["backing"],
        reach=_reach(params, port),
        disk=params["src_disk"],
        keeps_layers=params["chain"] == "preserve",
        force=params["force"],
    )


def _reach(params: Mapping[str, Any], port: Port) -> Reach:
    if params["backing_format"] and not params["backing"]:
        raise BadRequest("backing_format: no image below another is read", hint="Set backing: true.")
    folders = tuple(absolute(port, folder, "backing_paths") for folder in params["backing_paths"])
    return Reach(folders, params["backing_format"], params["join_pieces"])


def _checksum_file(params: Mapping[str, Any], port: Port, source: Source, dest: str) -> Optional[str]:
    if params["checksum_file"] is None:
        return None
    if params["checksum"] == "none":
        raise BadRequest("checksum_file: there is no checksum to write", hint="Set checksum, for example to sha256.")
    from .._ops.convert.checksum_file import refuse_place

    path = absolute(port, params["checksum_file"], "checksum_file")
    refuse_place(port, path, source, dest)
    return path


def _request(params: Mapping[str, Any], dest: str) -> ConvertRequest:
    chosen = output_format(dest, params["dest_format"])
    refuse_options(params, chosen, dest)
    is_azure = params["azure"]
    kinds: Dict[str, Any] = {"subformat": "fixed" if is_azure else params["subformat"]}
    if chosen == HDD:
        kinds = {} if params["subformat"] is None else {"kind": params["subformat"]}
    same = ("sparse", "preallocate", "update", "verify", "reproducible", "force", "compression", "adapter_type")
    return ConvertRequest(
        format=chosen,
        path=dest,
        cluster_bytes=size_option(params["cluster_size"], "cluster_size"),
        version=version_option(params),
        split_size=size_option(params["split_size"], "split_size"),
        align=alignment(size_option(params["align"], "align"), is_azure=is_azure),
        name=disk_name(params["name"]),
        checksum=None if params["checksum"] == "none" else params["checksum"],
        level=params["compression_level"],
        timestamp=source_date_epoch() if params["reproducible"] else int(time.time()),
        keeps_layers=params["chain"] == "preserve",
        drops_free=params["free_space"] == "drop",
        drops_swap=params["swap"] == "drop",
        durable=params["durable"],
        **{option: params[option] for option in same},
        **kinds,
    )


def _described(
    request: ConvertRequest, plan: Plan[ConvertFacts], files: Sequence[OutputFile], outcome: Optional[Outcome]
) -> Result:
    facts = plan.facts
    described: Result = {
        "dest": request.path,
        "reason": facts.reason,
        "virtual_size": facts.shape.size,
        "verified": request.update == CONTENT if plan.is_empty else request.verify,
        "files": [file._asdict() for file in files],
        "dest_size": sum(file.size for file in files),
    }
    if len(files) == 1 and files[0].checksum is not None:
        described["checksum"] = files[0].checksum
    if facts.filesystems is not None:
        described["filesystems"] = list(facts.filesystems)
    if outcome is not None and outcome.elapsed > 0:
        described["rate"] = int(outcome.bytes_written / outcome.elapsed)
    return described


def _diff(before: Facts, after: Facts, request: ConvertRequest, plan: Plan[ConvertFacts]) -> Dict[str, Any]:
    if request.format == HDD:
        diff = diff_of(before, after)
    else:
        diff = titled_diff(f"{request.path} (image)", _image_lines(before), _image_lines(after))
    if not plan.is_empty:
        diff["after"] = {**diff["after"], "content": plan.facts.reason}
    return diff


def _image_lines(facts: Facts) -> Dict[str, Any]:
    return {"size": facts["size"]} if facts["exists"] else {}


def _give_file_options(module: AnsibleModule, port: Port, dest: str, files: Sequence[OutputFile]) -> bool:
    stat = port.stat(dest)
    if stat is None:
        return False
    paths = [file.path for file in files]
    if stat.kind != DIRECTORY:
        return apply_file_options(port, module, paths, changed=False)
    real = port.real_path(dest)
    paths += [f"{real}/{name}" for name in port.list_directory(real) if f"{real}/{name}" not in paths]
    return apply_owner(port, module, real, changed=apply_file_options(port, module, paths, changed=False))


def _update_checksum_file(module: AnsibleModule, port: Port, path: Optional[str], files: Sequence[OutputFile]) -> bool:
    """Keep the checksum file true; returns whether it changes."""
    if path is None:
        return False
    from .._ops.convert.checksum_file import content_of, is_present, write_checksums

    content = content_of(path, files)
    if content is not None and is_present(port, path, content):
        return False
    if content is not None:
        refuse_content(port, path)
    if content is not None and not module.check_mode:
        is_durable = module.params["durable"] or port.lstat(path) is not None
        write_checksums(port, path, content, is_durable=is_durable)
    return True
