# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outputs of several files: built in a directory of their own beside their final place, then published by one commit.

::

    .disk.vmdk.vdisk-1a2b.tmp/   all files under their final names, synced
                                 a journal that says which names are new and which old files will go
    rename disk-flat.vmdk        a name that nobody used before
    rename disk.vmdk             the commit: the image that names the others
    remove what was replaced, and the directory

Until the image itself has left the directory nothing is committed, and the new names go; from then on the old ones go.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import Iterator, Optional, Sequence

from .._bundle.naming import JOURNAL, is_temporary_of
from .._core.errors import Damaged
from .._core.plan import CreateFile, Remove, Rename, Step, Sync, WriteBytes
from .._io.journal import PREPARE, Journal, pack_journal, read_journal
from .._io.port import Port
from .._io.remove import remove_tree

_PUBLISH = "publish"


def publish_steps(staging: str, names: Sequence[str], replaced: Sequence[str], *, is_new: bool) -> Iterator[Step]:
    """Move the finished files in ``staging`` to the directory around it; ``replaced`` go.

    The first of ``names`` is the image itself; ``is_new`` says that nothing has its name.
    """
    directory, journal = staging.rsplit("/", 1)[0], f"{staging}/{JOURNAL}"
    entry, *others = names
    yield CreateFile(journal, 0)
    record = Journal(_PUBLISH, PREPARE, tuple(others), tuple(replaced), (), {"entry": entry})
    yield WriteBytes(journal, 0, pack_journal(record))
    yield Sync((journal,), (staging,))
    for name in (*others, entry):
        yield Rename(f"{staging}/{name}", f"{directory}/{name}", is_new=is_new or name != entry)
    # The journal goes only when the removal of what was replaced is durable.
    if replaced:
        yield Remove(tuple(f"{directory}/{name}" for name in replaced), directory)
    yield Remove((staging,), directory)


def settle(port: Port, staging: str) -> None:
    """End the publishing from ``staging``, forward when the image has its name, else back; then ``staging`` goes."""
    record = _record(port, staging)
    if record is not None:
        _end_publishing(port, staging, record)
    remove_tree(port, staging)


def _end_publishing(port: Port, staging: str, record: Journal) -> None:
    directory, entry = posixpath.dirname(staging), _entry(record)
    # What a killed run has renamed may be known to the cache alone.
    port.sync_directory(staging)
    port.sync_directory(directory)
    is_committed = port.lstat(f"{staging}/{entry}") is None
    for name in record.discarded if is_committed else record.created:
        # What is still in here was not published, so somebody else's file has its name.
        if _belongs(name, entry) and port.lstat(f"{staging}/{name}") is None:
            port.remove(f"{directory}/{name}")
    port.sync_directory(directory)
    # The journal goes before the image, whose absence means that it was published.
    port.remove(f"{staging}/{JOURNAL}")
    port.sync_directory(staging)


def _record(port: Port, staging: str) -> Optional[Journal]:
    try:
        record = read_journal(port, f"{staging}/{JOURNAL}")
    except Damaged:
        # It was being written, so nothing was published yet.
        return None
    if record is None or record.operation != _PUBLISH:
        return None
    return record if is_temporary_of(posixpath.basename(staging), _entry(record)) else None


def _entry(record: Journal) -> str:
    return str((record.request or {}).get("entry", ""))


def _belongs(name: str, entry: str) -> bool:
    """Whether ``name`` can be a file of the output ``entry``; nothing else is removed for a journal."""
    stem = posixpath.splitext(entry)[0]
    return name != entry and name.startswith((f"{stem}-", f"{stem}."))
