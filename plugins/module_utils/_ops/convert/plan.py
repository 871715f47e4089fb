# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Convert: the guest disk of a source, or each of its layers, into a new image of any kind that can be written.

The output is built under a temporary name beside its place, synced (when it is asked to be durable, or replaces
something) and read back. Commit point: the rename of the
bundle or of the image that names the other files. What was there before is replaced in the same step, and removed after
it.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Tuple

from ..._bundle.guards import refuse_encrypted
from ..._bundle.paths import is_inside
from ..._bundle.shape import DEFAULT_CLUSTER, PLAIN, Shape, shape_of
from ..._core.errors import BadRequest, InUse
from ..._core.plan import Plan
from ..._core.records import replace
from ..._core.units import round_up
from ..._formats.catalog import HDD, RAW, ForeignShape
from ..._guest.source import Source
from ..._io.port import Port
from .conversion import Conversion, ConvertFacts
from .destination import find_destination, refuse_needed
from .reason import is_kept, reason_of
from .request import MISSING, AnyShape, ConvertRequest, layer_depths


def plan_convert(
    port: Port, source: Source, request: ConvertRequest, *, token: str, predict: bool = False
) -> Plan[ConvertFacts]:
    """Write ``request`` from ``source``, or an empty plan whose ``reason`` says why the output is good as it is.

    ``predict`` also reads the source to report the exact size of the output, as check mode wants it.
    """
    refuse_source(port, source, request)
    depths = layer_depths(source, request)
    shape = _shape(request, source, len(depths))
    destination = find_destination(port, request)
    refuse_needed(source, destination)
    conversion = Conversion(source, request, shape, destination, depths)
    if request.drops_free and (destination.stat is None or request.update != MISSING):
        from ..copy.free_space import find_dropped

        conversion = replace(conversion, dropped=find_dropped(port, source, depths, swap=request.drops_swap))
    conversion = replace(conversion, reason=reason_of(port, conversion))
    from .warnings import warnings_of

    warnings = warnings_of(port, conversion)
    if is_kept(conversion.reason):
        filesystems = None if conversion.dropped is None else conversion.dropped.filesystems
        facts = ConvertFacts(conversion.reason, shape, filesystems=filesystems)
        return _with_scan(Plan("convert", warnings=warnings + _warnings_of_kept(conversion), facts=facts), conversion)
    from .replacing import refuse_replacing
    from .steps import convert_steps, predicted

    refuse_replacing(port, request, destination)
    plan = convert_steps(port, conversion, token)
    # What an output replaces must not be lost before the output is on the medium.
    is_durable = request.durable or destination.stat is not None
    plan = replace(plan, warnings=warnings, is_durable=is_durable)
    return _with_scan(predicted(port, plan) if predict else plan, conversion)


def _with_scan(plan: Plan[ConvertFacts], conversion: Conversion) -> Plan[ConvertFacts]:
    """The plan with the bytes that finding free space has read."""
    scanned = 0 if conversion.dropped is None else conversion.dropped.bytes_read
    return replace(plan, bytes_read=plan.bytes_read + scanned, bytes_scanned=scanned)


def _warnings_of_kept(conversion: Conversion) -> Tuple[str, ...]:
    if conversion.destination.state is None or len(conversion.depths) < 2 or conversion.request.update == MISSING:
        return ()
    from ..copy.names import other_names

    return other_names(conversion)


def _shape(request: ConvertRequest, source: Source, layers: int) -> AnyShape:
    size = round_up(source.size, request.align)
    if request.format == RAW:
        return Shape(size, PLAIN, preallocate=request.preallocate)
    if request.format == HDD:
        return shape_of(
            size=size,
            kind=request.kind,
            cluster_bytes=DEFAULT_CLUSTER if request.cluster_bytes is None else request.cluster_bytes,
            version=request.version,
            split_size=request.split_size,
            preallocate=request.preallocate,
        )
    from .foreign_shape import settled, with_sectors

    return with_sectors(settled(_foreign_shape(request, size), layers=layers), source.logical_sector)


def _foreign_shape(request: ConvertRequest, size: int) -> ForeignShape:
    return ForeignShape(
        request.format,
        size,
        request.subformat,
        request.cluster_bytes,
        request.version,
        request.compression,
        request.level,
        request.adapter_type,
        request.preallocate,
        request.timestamp,
    )


def refuse_source(port: Port, source: Source, request: ConvertRequest) -> None:
    """Raise for a source that is encrypted, that somebody writes, or that the output would be a part of."""
    if source.state is not None:
        refuse_encrypted(source.state)
    for path, _seen in source.fingerprint:
        writers = port.writers(path)
        if writers:
            found = writers[0].owner
            hint = f"Stop {found} or wait, then run again."
            raise InUse(f"The source is being written by {found}", path=path, found=found, hint=hint)
    real = port.real_path(request.path)
    if any(real == path or is_inside(path, real) for path, _seen in source.fingerprint):
        raise BadRequest(
            "The destination is the source itself or a directory around it",
            path=request.path,
            hint="Choose another dest.",
        )
    if source.state is not None and source.state.is_bundle and is_inside(real, source.state.location.directory):
        raise BadRequest(
            "The destination is inside the source bundle", path=request.path, hint="Choose a dest outside of it."
        )
