# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the module hdd does with its arguments."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import uuid
from typing import Any, List, Mapping

from ansible.module_utils.basic import AnsibleModule

from .._bundle.bundle import BundleState, observe
from .._bundle.naming import without_suffix, writable
from .._bundle.neighbours import with_surroundings
from .._bundle.paths import locate, refuse_in_a_bundle, refuse_layer
from .._bundle.predicted import predicted_bundle
from .._bundle.shape import DEFAULT_CLUSTER, EXPANDING, Shape, shape_of
from .._change.aside import clear_siblings
from .._core import guid as guids
from .._core.errors import BadRequest, NotFound
from .._core.plan import Plan
from .._core.records import replace
from .._core.units import MIB, format_size, round_up
from .._io.port import DIRECTORY, Port
from .._ops.report.facts import absent_facts, disk_facts
from .disk import diff_of, run_plan
from .file_options import apply_file_options, apply_owner, cover_new_files
from .run import Result, absolute, own_port
from .spec import disk_name, size_option, size_or, version_option


def ensure_disk(module: AnsibleModule) -> Result:
    """Create, keep or remove the disk."""
    port = own_port(module)
    path = absolute(port, module.params["path"])
    cover_new_files(port, module)
    cleared = list(clear_siblings(port, path)) if not module.check_mode else []
    if module.params["state"] == "absent":
        result = _remove(module, port, path)
    elif port.lstat(path) is not None:
        result = _keep(module)
    else:
        result = _create(module, port, path)
    result["warnings"] = cleared + list(result["warnings"])
    result["changed"] = result["changed"] or bool(cleared)
    return result


def _rounded_size(value: str, warnings: List[str]) -> int:
    asked = size_or(value, "size", 0)
    size = round_up(asked, MIB)
    if size != asked:
        warnings.append(f"size: {asked} bytes were rounded up to {size} ({format_size(size)}).")
    return size


def _create(module: AnsibleModule, port: Port, path: str) -> Result:
    from .._ops.reshape.create import plan_create

    params = module.params
    warnings: List[str] = []
    if params["size"] is None:
        raise BadRequest("size is required to create a disk", path=path, hint="Add the option size, for example 64G.")
    _refuse_without_directory(port, path)
    refuse_in_a_bundle(port, path, "path")
    shape = _shape(params, _rounded_size(params["size"], warnings))
    name = disk_name(params["name"]) or writable(without_suffix(path.rsplit("/", 1)[-1]))
    plan = plan_create(path, shape, name=name, uid=guids.draw(), token=uuid.uuid4().hex[:8])
    result, _outcome = run_plan(module, port, plan)
    if module.check_mode:
        descriptor = replace(plan.facts.descriptor, uid=None)
        state = predicted_bundle(path, shape, descriptor, plan.facts.lengths)
    else:
        _give_file_options(port, module, observe(port, locate(port, path)))
        state = observe(port, locate(port, path))
    result["disk"] = disk_facts(port, state)
    result["diff"] = diff_of(absent_facts(path), result["disk"])
    result["warnings"] = warnings + result["warnings"]
    return result


def _shape(params: Mapping[str, Any], size: int) -> Shape:
    return shape_of(
        size=size,
        kind=params["type"] or EXPANDING,
        cluster_bytes=size_or(params["cluster_size"], "cluster_size", DEFAULT_CLUSTER),
        version=version_option(params),
        split_size=size_option(params["split_size"], "split_size"),
        preallocate=params["preallocate"],
    )


def _refuse_without_directory(port: Port, path: str) -> None:
    directory = path.rsplit("/", 1)[0] or "/"
    stat = port.stat(directory)
    if stat is None or stat.kind != DIRECTORY:
        hint = "Create it first, for example with ansible.builtin.file."
        raise NotFound("The directory for the disk does not exist", path=directory, hint=hint)


def _give_file_options(port: Port, module: AnsibleModule, state: BundleState) -> bool:
    """Owner, group and mode for the files of the disk; the directory gets owner and group only."""
    files = [image.path for image in state.images.values() if not image.outside]
    if not state.is_bundle:
        return apply_file_options(port, module, files, changed=False)
    directory = state.location.directory
    files += [f"{directory}/{name}" for name in state.others]
    return apply_owner(port, module, directory, changed=apply_file_options(port, module, files, changed=False))


def _keep(module: AnsibleModule) -> Result:
    from .hdd_change import change_existing, reshape_request

    params = module.params
    warnings: List[str] = []
    size = _rounded_size(params["size"], warnings) if params["size"] is not None else None
    result, disk, state = change_existing(module, reshape_request(params, size))
    result["changed"] = _give_file_options(disk.port, module, state) or result["changed"]
    exact = params["size"] is not None and size_option(params["size"], "size") == disk.state.descriptor.size_bytes
    result["warnings"] = ([] if exact else warnings) + result["warnings"]
    return result


def _remove(module: AnsibleModule, port: Port, path: str) -> Result:
    try:
        location = locate(port, path)
        refuse_layer(port, location)
        state, around = with_surroundings(port, observe(port, location, allow_outside=True, opens_outside=False), path)
    except NotFound:
        # Nothing, a broken link, or a disk that another run has just removed.
        if port.stat(path) is not None:
            raise
        before, plan = absent_facts(path), Plan("remove", facts=None)
    else:
        from .._ops.reshape.create import plan_remove

        told = around.machine.warnings + around.unknown
        before = disk_facts(port, state, around.machine._replace(warnings=told))
        plan = plan_remove(state, token=uuid.uuid4().hex[:8], force=module.params["force"])
    result, _outcome = run_plan(module, port, plan)
    # What goes with the disk must have been told once.
    result["warnings"] += before.get("warnings", [])
    result["disk"] = absent_facts(before["path"])
    result["diff"] = diff_of(before, result["disk"])
    return result
