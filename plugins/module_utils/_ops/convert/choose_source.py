# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The source of a conversion as a user names it: a path, and perhaps one of its snapshots."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from ..._bundle.guards import refuse_cut_source, refuse_unreliable
from ..._bundle.paths import refuse_layer
from ..._core.errors import BadRequest, DiskError
from ..._core.records import replace
from ..._guest.source import Source, find_source
from ..._io.port import Port
from .request import SourceRequest


def choose_source(port: Port, request: SourceRequest) -> Source:
    """The disk to read, at the snapshot that is asked for.

    Raises BadRequest for a snapshot of what has none, NoSuchSnapshot, and what ``find_source`` and ``refuse_layer``
    raise.
    """
    source = find_source(
        port,
        request.path,
        format=request.format,
        allow_outside=request.allow_outside,
        backing=request.backing,
        reach=request.reach,
        disk=request.disk,
    )
    if source.state is None:
        try:
            found = source if request.snapshot is None else _at_internal_snapshot(port, source, request)
            return _with_inner_layers(port, found) if request.keeps_layers else found
        except DiskError as error:
            from ..._guest.foreign.advice import complete

            complete(error, source.format)
            raise
    shown = source.port(port)
    refuse_layer(shown, source.state.location)
    # Images of other products have no neighbours.
    from ..._bundle.neighbours import with_surroundings

    # The path of the task may be a link in a machine.
    given = request.path if source.container is None else source.path
    state, _around = with_surroundings(shown, source.state, given)
    source = replace(source, state=state)
    chosen = source if request.snapshot is None else _at_snapshot(port, source, request.snapshot)
    guid = chosen.guid or state.tree.top
    refuse_unreliable(state, state.tree.chain(guid) if request.keeps_layers else [guid])
    refuse_cut_source(state, guid, force=request.force)
    return chosen


def _at_internal_snapshot(port: Port, source: Source, request: SourceRequest) -> Source:
    """The source at a snapshot that the image itself holds. Raises NoSuchSnapshot, and BadRequest where none can be."""
    from ..._formats.codecs import SNAPSHOT_OPENERS

    if source.chain is None or source.format not in SNAPSHOT_OPENERS:
        raise BadRequest(
            f"snapshot: a {source.format} source has no snapshots that could be read",
            path=source.path,
            hint="Leave the option out; name the layer as src.",
        )
    from ..._guest.backing import find_chain

    options = {"format": source.format, "reach": request.reach, "snapshot": request.snapshot}
    chain = find_chain(source.port(port), source.path, backing=request.backing, **options)  # type: ignore[arg-type]
    fingerprint = chain.fingerprint if source.container is None else source.fingerprint
    return replace(source, chain=chain, size=chain.size, fingerprint=fingerprint)


def _with_inner_layers(port: Port, source: Source) -> Source:
    if source.chain is None:
        return source
    from ..._guest.backing import with_inner_layers

    return replace(source, chain=with_inner_layers(source.port(port), source.chain))


def _at_snapshot(port: Port, source: Source, name: str) -> Source:
    """``name`` is that of a snapshot of a bundle or its GUID."""
    if source.state is None:
        return source
    from ..._bundle.tree import resolve
    from ..snapshots.names import known_names, wanted_guid

    around = source.state.surroundings
    names = around.machine.snapshot_names if around is not None else {}
    guid = wanted_guid(source.state, name, names)
    if guid not in source.state.tree.shots:
        resolve(source.state.tree, name, names=known_names(source.state, names), path=source.path)
    return replace(source, guid=guid)
