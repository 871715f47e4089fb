# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd_convert does with its arguments."""

# This file is PRIVATE to the vdisk.parallels collection: other collections and playbooks must not import it.

from __future__ import annotations

import os.path
import re
import time
import uuid
from typing import Any, Dict, List, Mapping, Optional

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import observe
from .._bundle.paths import is_inside, locate
from .._bundle.shape import EXPANDING, PLAIN
from .._bundle.tree import resolve
from .._change.aside import clear_siblings
from .._core.errors import AlreadyExists, BadRequest, DiskError, NotFound
from .._core.plan import Plan
from .._core.records import replace
from .._core.units import MIB, SECTOR
from .._guest.source import HDD, RAW, Source, find_source
from .._io.clock import source_date_epoch
from .._io.durable import read_file, replace_file
from .._io.port import DIRECTORY, FILE, Port
from .._io.real import OsPort
from .._ops.convert.plan import CONTENT, ConvertRequest, plan_convert
from .._ops.report.facts import absent_facts, disk_facts
from .disk import Disk, diff_of, refuse_layer, run_plan
from .run import Result, absolute, apply_file_options, apply_owner
from .spec import disk_name, size_option, size_or

_BY_SUFFIX = {
    ".hdd": HDD,
    ".raw": RAW,
    ".img": RAW,
    ".dd": RAW,
    ".bin": RAW,
    ".qcow2": "qcow2",
    ".vmdk": "vmdk",
    ".vhd": "vhd",
    ".vhdx": "vhdx",
    ".vdi": "vdi",
}
_BUNDLE_KINDS = (EXPANDING, PLAIN)
_CHECKSUMS_LIMIT = 1 << 20
_AZURE_LEAST = 20 * MIB
_CHECKSUM_LINE = re.compile(rb"\\?[0-9a-fA-F]{32,128} [ *].+")


def convert_disk(module: AnsibleModule) -> Result:
    """Make sure that the output holds the guest disk of the source."""
    params = module.params
    port = OsPort()
    dest = absolute(port, params["dest"], "dest")
    source = _source(module, port)
    checksum_file = _checksum_file(module, port, source, dest)
    wanted = _wanted(module, dest)
    cleared = list(clear_siblings(port, dest)) if not module.check_mode else []
    before = _facts_of_output(port, dest, wanted)
    plan = plan_convert(port, source, wanted, token=uuid.uuid4().hex[:8], predict=module.check_mode)
    _refuse_own_file(port, checksum_file, plan)
    result, outcome = run_plan(module, port, plan)
    report = outcome.reports["transfer"] if outcome is not None else None
    result.update(dest=dest, reason=plan.facts["reason"], virtual_size=plan.facts["virtual_size"])
    result["verified"] = wanted.update == CONTENT if plan.is_empty else wanted.verify
    result["files"] = _files(module, port, plan, wanted, report)
    result["dest_size"] = sum(file["size"] for file in result["files"])
    checksums = [file["checksum"] for file in result["files"]]
    if len(checksums) == 1 and checksums[0] is not None:
        result["checksum"] = checksums[0]
    if not plan.is_empty and outcome is not None and outcome.elapsed > 0:
        result["rate"] = int(outcome.bytes_written / outcome.elapsed)
    after = (
        _predicted_facts(port, plan, wanted)
        if module.check_mode and not plan.is_empty
        else _facts_of_output(port, dest, wanted)
    )
    result["diff"] = _diff(before, after, wanted, plan)
    if wanted.format == HDD:
        result["disk"] = after
    result["warnings"] = cleared + result["warnings"]
    if module.params["azure"] and result["virtual_size"] < _AZURE_LEAST:
        result["warnings"].append("Azure takes no disks below 20 MiB; align: 20M makes this one large enough.")
    result["changed"] = _give_file_options(module, port, dest, result["files"]) or result["changed"] or bool(cleared)
    result["changed"] = _write_checksum_file(module, port, checksum_file, result["files"]) or result["changed"]
    return result


def _source(module: AnsibleModule, port: Port) -> Source:
    params = module.params
    path = absolute(port, params["src"], "src")
    source = find_source(
        port, path, format=params["src_format"], allow_outside=params["allow_outside"], backing=params["backing"]
    )
    if source.state is not None:
        refuse_layer(port, source.state.location)
    if params["snapshot"] is None:
        return source
    if source.state is None:
        raise BadRequest(
            f"snapshot: a {source.format} source has no snapshots that could be read",
            path=source.path,
            hint="Leave the option out; name the layer as src.",
        )
    from .._bundle.pvm import find_vm
    from .._ops.snapshots.names import wanted_guid

    disk = Disk(port, source.state, find_vm(port, source.state.location), (), ())
    guid = wanted_guid(source.state, params["snapshot"], disk.machine.snapshot_names)
    if guid not in source.state.tree.shots:
        resolve(source.state.tree, params["snapshot"], names=disk.machine.snapshot_names, path=source.path)
    return replace(source, guid=guid)


def _checksum_file(module: AnsibleModule, port: Port, source: Source, dest: str) -> Optional[str]:
    """Where the checksums go; a place where they can be written and that is no part of the source or the output, nor
    any other file of value.
    """
    params = module.params
    if params["checksum_file"] is None:
        return None
    if params["checksum"] == "none":
        raise BadRequest("checksum_file: there is no checksum to write", hint="Set checksum, for example to sha256.")
    path = absolute(port, params["checksum_file"], "checksum_file")
    real = port.real_path(path)
    taken = [dest, source.path] + [one for one, _seen in source.fingerprint]
    for place in [port.real_path(one) for one in taken]:
        if real == place or is_inside(real, place):
            raise BadRequest(
                "checksum_file: the file is a part of src or dest",
                path=path,
                hint="Choose another name, such as that of dest with .sha256.",
            )
    there, directory = port.stat(path), port.stat(path.rsplit("/", 1)[0] or "/")
    if there is not None and there.kind != FILE:
        raise AlreadyExists(
            "checksum_file: what lies there is no file", path=path, found=there.kind, hint="Choose another name."
        )
    if there is not None and there.size and not _holds_checksums(port, path, there.size):
        raise AlreadyExists(
            "checksum_file: the file that lies there holds no checksums",
            path=path,
            hint="Choose another name, or remove the file.",
        )
    if directory is None or directory.kind != DIRECTORY:
        raise NotFound(
            "checksum_file: its directory does not exist",
            path=path,
            hint="Create it first, for example with ansible.builtin.file.",
        )
    return path


def _refuse_own_file(port: Port, checksum_file: Optional[str], plan: Plan) -> None:
    if checksum_file is not None and port.real_path(checksum_file) in [
        port.real_path(path) for path in plan.facts.get("files", ())
    ]:
        raise BadRequest(
            "checksum_file: the output needs this name for a file of its own",
            path=checksum_file,
            hint="Choose another name.",
        )


def _holds_checksums(port: Port, path: str, size: int) -> bool:
    if size > _CHECKSUMS_LIMIT:
        return False
    lines = read_file(port, path, limit=_CHECKSUMS_LIMIT).splitlines()
    return all(_CHECKSUM_LINE.fullmatch(line) for line in lines)


def _wanted(module: AnsibleModule, dest: str) -> ConvertRequest:
    params = module.params
    chosen = params["dest_format"] or _BY_SUFFIX.get(os.path.splitext(dest)[1].lower())
    if chosen is None:
        raise BadRequest(
            "dest_format: the name of the destination does not tell the format",
            path=dest,
            hint="Set dest_format, for example to hdd or qcow2.",
        )
    _refuse_options(params, chosen, dest)
    is_azure = params["azure"]
    align = size_or(params["align"], "align", MIB if is_azure else SECTOR)
    if align % SECTOR or not align:
        raise BadRequest("align: must be a multiple of 512 bytes", found=align, hint="Write for example 1M.")
    if is_azure and align % MIB:
        raise BadRequest(
            "align: Azure takes only whole mebibytes", found=align, hint="Leave align out; azure: true sets it to 1M."
        )
    return ConvertRequest(
        format=chosen,
        path=dest,
        kind=(params["subformat"] if chosen == HDD else None) or EXPANDING,
        cluster_bytes=size_option(params["cluster_size"], "cluster_size"),
        version=None if params["format_version"] == "auto" else int(params["format_version"]),
        split_size=size_option(params["split_size"], "split_size"),
        align=align,
        sparse=params["sparse"],
        preallocate=params["preallocate"],
        name=disk_name(params["name"]),
        update=params["update"],
        verify=params["verify"],
        checksum=None if params["checksum"] == "none" else params["checksum"],
        reproducible=params["reproducible"],
        force=params["force"],
        subformat=None if chosen == HDD else "fixed" if is_azure else params["subformat"],
        compression=params["compression"],
        level=params["compression_level"],
        adapter_type=params["adapter_type"],
        timestamp=source_date_epoch() if params["reproducible"] else int(time.time()),
        keeps_layers=params["chain"] == "preserve",
    )


def _refuse_options(params: Mapping[str, Any], chosen: str, dest: str) -> None:
    """Options that the format of the output does not know are an error, never ignored."""
    given = [
        option
        for option in ("subformat", "cluster_size", "split_size", "name", "adapter_type", "compression_level")
        if params[option] is not None
    ]
    given += [
        option for option, default in (("format_version", "auto"), ("compression", "none")) if params[option] != default
    ]
    given += [option for option in ("azure",) if params[option]]
    known = {
        RAW: (),
        HDD: ("subformat", "cluster_size", "split_size", "name", "format_version"),
        "qcow2": ("cluster_size", "format_version", "compression", "compression_level"),
        "vmdk": ("subformat", "cluster_size", "adapter_type", "compression", "compression_level"),
        "vhd": ("subformat", "cluster_size", "azure"),
        "vhdx": ("subformat", "cluster_size"),
        "vdi": ("subformat",),
    }[chosen]
    wrong = [option for option in given if option not in known]
    if wrong:
        raise BadRequest(
            f"{', '.join(wrong)}: no option for {chosen}",
            path=dest,
            hint=f"Leave it out; {chosen} knows {', '.join(known) or 'none of them'}.",
        )
    if params["compression_level"] is not None and params["compression_level"] < 1:
        raise BadRequest(
            "compression_level: levels begin at 1",
            found=params["compression_level"],
            hint="Leave it out, or leave compression out.",
        )
    if chosen == RAW and params["chain"] == "preserve":
        raise BadRequest(
            "chain: a raw image holds no layers", path=dest, hint="Choose chain: flatten, or another dest_format."
        )
    if chosen == HDD and params["subformat"] not in (None,) + _BUNDLE_KINDS:
        raise BadRequest(
            f"subformat: a bundle is {' or '.join(_BUNDLE_KINDS)}",
            found=params["subformat"],
            hint="Choose one of them.",
        )
    if chosen in (HDD, "qcow2") and params["format_version"] not in ("auto",) + (
        ("1", "2") if chosen == HDD else ("2", "3")
    ):
        raise BadRequest(
            f"format_version: {chosen} has no version {params['format_version']}",
            found=params["format_version"],
            hint="Leave it out.",
        )
    if not params["sparse"] and (params["chain"] == "preserve" or params["subformat"] == "streamOptimized"):
        raise BadRequest(
            "sparse: layers and streams leave zeros out in any case", found=False, hint="Leave sparse out."
        )
    if params["azure"] and params["subformat"] not in (None, "fixed"):
        raise BadRequest(
            "subformat: Azure takes only fixed disks", found=params["subformat"], hint="Leave subformat out."
        )


def _files(module: AnsibleModule, port: Port, plan: Plan, wanted: ConvertRequest, report: Any) -> List[Dict[str, Any]]:
    """The image files of the output, as they are or as they will be."""
    if report is not None:
        made = plan.facts["made"]
        return [
            _file(path, report.lengths[made[path]], report.checksums.get(made[path])) for path in plan.facts["files"]
        ]
    if not plan.is_empty:
        return [_file(path, size, None) for path, size in zip(plan.facts["files"], plan.facts["lengths"])]
    from .._guest.digests import file_checksum

    algorithm = module.params["checksum"]
    found = []
    for path in _existing_files(port, wanted.path, wanted):
        stat = port.stat(path)
        found.append(
            _file(
                path,
                stat.size if stat is not None else 0,
                None if algorithm == "none" else file_checksum(port, path, algorithm),
            )
        )
    return found


def _file(path: str, size: int, checksum: Optional[str]) -> Dict[str, Any]:
    return {"path": path, "size": size, "checksum": checksum}


def _existing_files(port: Port, dest: str, wanted: ConvertRequest) -> List[str]:
    stat = port.stat(dest)
    if wanted.format not in (HDD, RAW):
        from .._guest.backing import find_chain

        try:
            return [path for path, _seen in find_chain(port, dest, format=wanted.format, backing=True).fingerprint]
        except DiskError:
            # It was kept because it exists, whatever it is.
            return [dest]
    if stat is None or stat.kind != DIRECTORY:
        return [dest]
    state = observe(port, locate(port, dest), allow_outside=True)
    return [image.path for image in state.layer(state.tree.top)]


def _facts_of_output(port: Port, dest: str, wanted: ConvertRequest) -> Dict[str, Any]:
    stat = port.stat(dest)
    if stat is None:
        return absent_facts(dest)
    if wanted.format != HDD:
        return {"path": dest, "exists": True, "size": stat.size}
    try:
        return disk_facts(port, observe(port, locate(port, dest)))
    except DiskError:
        # What is no disk, or a damaged one, is the planner's business to judge.
        return absent_facts(dest)


def _predicted_facts(port: Port, plan: Plan, wanted: ConvertRequest) -> Dict[str, Any]:
    if wanted.format != HDD:
        return {"path": wanted.path, "exists": True, "size": plan.facts["lengths"][0]}
    from .._bundle.predicted import predicted_bundle

    names = [path.rsplit("/", 1)[-1] for path in plan.facts["files"]]
    return disk_facts(
        port,
        predicted_bundle(
            wanted.path, plan.facts["shape"], plan.facts["descriptor"], dict(zip(names, plan.facts["lengths"]))
        ),
    )


def _diff(before: Mapping[str, Any], after: Mapping[str, Any], wanted: ConvertRequest, plan: Plan) -> Dict[str, Any]:
    if wanted.format == HDD:
        diff = diff_of(before, after)
    else:
        header = f"{wanted.path} (image)"
        diff = {
            "before": _image_lines(before),
            "after": _image_lines(after),
            "before_header": header,
            "after_header": header,
        }
    if not plan.is_empty:
        diff["after"] = {**diff["after"], "content": plan.facts["reason"]}
    return diff


def _image_lines(facts: Mapping[str, Any]) -> Dict[str, Any]:
    return {"size": facts["size"]} if facts["exists"] else {}


def _give_file_options(module: AnsibleModule, port: Port, dest: str, files: List[Dict[str, Any]]) -> bool:
    stat = port.stat(dest)
    if stat is None:
        return False
    paths = [file["path"] for file in files]
    if stat.kind != DIRECTORY:
        return apply_file_options(port, module, paths, changed=False)
    paths += [f"{dest}/{name}" for name in port.list_directory(dest) if f"{dest}/{name}" not in paths]
    return apply_owner(module, dest, changed=apply_file_options(port, module, paths, changed=False))


def _write_checksum_file(module: AnsibleModule, port: Port, path: Optional[str], files: List[Dict[str, Any]]) -> bool:
    """Keep the checksum file true; returns whether it changes."""
    if path is None:
        return False
    if module.check_mode and any(file["checksum"] is None for file in files):
        return True
    content = "".join(_checksum_line(file["checksum"], _relative(file["path"], path)) for file in files).encode(
        errors="surrogateescape"
    )
    stat = port.stat(path)
    if stat is not None and stat.size == len(content) and read_file(port, path, limit=_CHECKSUMS_LIMIT) == content:
        return False
    if not module.check_mode:
        directory, name = path.rsplit("/", 1)
        temporary = f"{directory}/.{name}.vdisk-new.tmp"
        port.remove(temporary)
        replace_file(port, path, content, temporary=temporary)
    return True


def _checksum_line(checksum: str, name: str) -> str:
    """A line as sha256sum writes it; names with backslashes and newlines are escaped, and a backslash at the start
    says so.
    """
    escaped = name.replace("\\", "\\\\").replace("\n", "\\n").replace("\r", "\\r")
    return f"{'' if escaped == name else chr(92)}{checksum}  {escaped}\n"


def _relative(path: str, checksum_file: str) -> str:
    directory = checksum_file.rsplit("/", 1)[0] + "/"
    return path[len(directory) :] if path.startswith(directory) else path
