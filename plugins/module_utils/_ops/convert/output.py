# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""What there is of an output, before and after: its facts and its image files, present or predicted."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Dict, List, NamedTuple, Optional, Tuple

from ..._bundle.bundle import observe
from ..._bundle.paths import locate
from ..._bundle.shape import Shape
from ..._core.errors import DiskError
from ..._core.plan import Plan
from ..._core.records import replace
from ..._core.units import MIB
from ..._formats.catalog import HDD, RAW
from ..._io.port import DIRECTORY, Port
from ..report.facts import absent_facts, disk_facts
from .conversion import ConvertFacts
from .request import ConvertRequest

if TYPE_CHECKING:
    from .job import TransferReport

Facts = Dict[str, Any]


class OutputFile(NamedTuple):
    """One image file of the output: its length in bytes, and its checksum, None when it is not asked for or unknown."""

    path: str
    size: int
    checksum: Optional[str]


def present_facts(port: Port, request: ConvertRequest) -> Facts:
    """The facts of what is at the destination now: of a disk, or of an image with ``path``, ``exists`` and ``size``."""
    stat = port.stat(request.path)
    if stat is None:
        return absent_facts(request.path)
    if request.format != HDD:
        return _image_facts(request.path, stat.size)
    try:
        return disk_facts(port, observe(port, locate(port, request.path)))
    except DiskError:
        # What is no disk, or a damaged one, is the planner's business to judge.
        return absent_facts(request.path)


def predicted_facts(port: Port, request: ConvertRequest, plan: Plan[ConvertFacts]) -> Facts:
    """The same as it will be, from a plan that was made with ``predict``."""
    facts = plan.facts
    if facts.descriptor is None or not isinstance(facts.shape, Shape):
        return _image_facts(request.path, facts.lengths[0])
    from ..._bundle.predicted import predicted_bundle

    names = [path.rsplit("/", 1)[-1] for path in facts.files]
    state = predicted_bundle(request.path, facts.shape, facts.descriptor, dict(zip(names, facts.lengths)))
    return disk_facts(port, replace(state, notes=facts.notes))


def stale_machine(port: Port, path: str, size: int) -> Tuple[str, ...]:
    """A warning when the machine in whose folder a bundle is takes it for longer or shorter than ``size`` bytes.

    Nothing but the bundle is written, so its machine is told by ``hdd_check``.
    """
    from ..._bundle.paths import bundle_location
    from ..._bundle.pvm import find_vm

    facts = find_vm(port, bundle_location(port.real_path(path)), at=path).facts
    if facts is None or facts.config_size_mib is None or facts.config_size_mib == size // MIB:
        return ()
    sizes = f"{facts.config_size_mib} MiB, it has {size // MIB} MiB"
    return (f"{facts.config}: the virtual machine takes the disk for {sizes}; hdd_check with repair: safe tells it.",)


def _image_facts(path: str, size: int) -> Facts:
    return {"path": path, "exists": True, "size": size}


def output_files(
    port: Port, request: ConvertRequest, plan: Plan[ConvertFacts], report: Optional[TransferReport]
) -> Tuple[OutputFile, ...]:
    """The image files of the output: as ``report`` says they were written, as they will be, or as they are."""
    facts = plan.facts
    if report is not None:
        built = zip(facts.files, facts.built)
        return tuple(OutputFile(path, report.lengths[made], report.checksums.get(made)) for path, made in built)
    if not plan.is_empty:
        return tuple(OutputFile(path, size, None) for path, size in zip(facts.files, facts.lengths))
    return tuple(_present_file(port, path, request.checksum) for path in _present_paths(port, request))


def _present_file(port: Port, path: str, algorithm: Optional[str]) -> OutputFile:
    from ..._guest.checksums import file_checksum

    stat = port.stat(path)
    checksum = None if algorithm is None else file_checksum(port, port.real_path(path), algorithm)
    return OutputFile(path, stat.size if stat is not None else 0, checksum)


def _present_paths(port: Port, request: ConvertRequest) -> List[str]:
    path = request.path
    stat = port.stat(path)
    if request.format not in (HDD, RAW):
        from ..._guest.backing import find_chain

        try:
            return [file for file, _seen in find_chain(port, path, format=request.format, backing=True).fingerprint]
        except DiskError:
            # It was kept because it exists, whatever it is.
            return [path]
    if stat is None or stat.kind != DIRECTORY:
        return [path]
    state = observe(port, locate(port, path), allow_outside=True)
    return [image.path for image in state.layer(state.tree.top)]
