# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Outputs of several files: built in a directory of their own beside the place, then published with one commit.

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
from typing import Sequence, Tuple

from .._bundle.naming import JOURNAL, is_temporary_of
from .._core.errors import Damaged
from .._core.plan import CreateFile, Remove, Rename, Step, Sync, WriteBytes
from .._io.journal import PREPARE, Journal, pack_journal, read_journal
from .._io.port import Port
from .._io.remove import remove_tree

_PUBLISH = "publish"


def publish_steps(
    directory: str, staging: str, names: Sequence[str], replaced: Sequence[str], *, is_new: bool
) -> Tuple[Step, ...]:
    """Give the finished files in ``staging`` their names in ``directory``; the first of ``names`` is the image itself,
    ``replaced`` go.

    ``is_new`` says that nothing has the name of the image itself.
    """
    journal = f"{staging}/{JOURNAL}"
    record = Journal(_PUBLISH, PREPARE, tuple(names[1:]), tuple(replaced), (), {"entry": names[0]})
    renames = [
        Rename(f"{staging}/{name}", f"{directory}/{name}", is_new=is_new or name != names[0])
        for name in tuple(names[1:]) + (names[0],)
    ]
    # The journal goes only when the removal of what was replaced is durable.
    removes = [Remove(tuple(f"{directory}/{name}" for name in replaced), directory)] if replaced else []
    begin: Tuple[Step, ...] = (
        CreateFile(journal, 0),
        WriteBytes(journal, 0, pack_journal(record)),
        Sync((journal,), (staging,)),
    )
    return begin + tuple(renames) + tuple(removes) + (Remove((staging,), directory),)


def settle(port: Port, staging: str) -> None:
    """End the publishing that was going on from ``staging``: forward when the image has its name, else back.

    Then ``staging`` goes.
    """
    record = _record(port, staging)
    if record is not None:
        directory = posixpath.dirname(staging)
        entry = str((record.request or {}).get("entry", ""))
        # What a killed run has renamed may be known to the cache alone.
        port.sync_directory(staging)
        port.sync_directory(directory)
        is_committed = port.lstat(f"{staging}/{entry}") is None
        for name in record.discarded if is_committed else record.created:
            # What is still in here was not published, so somebody else's file has its name.
            if _belongs(name, entry) and port.lstat(f"{staging}/{name}") is None:
                port.remove(f"{directory}/{name}")
        port.sync_directory(directory)
        # It goes before the image does, whose absence would tell another tale.
        port.remove(f"{staging}/{JOURNAL}")
        port.sync_directory(staging)
    remove_tree(port, staging)


def _record(port: Port, staging: str) -> Journal | None:
    try:
        record = read_journal(port, f"{staging}/{JOURNAL}")
    except Damaged:
        # It was being written, so nothing was published yet.
        return None
    if record is None or record.operation != _PUBLISH:
        return None
    entry = str((record.request or {}).get("entry", ""))
    return record if is_temporary_of(posixpath.basename(staging), entry) else None


def _belongs(name: str, entry: str) -> bool:
    """Whether ``name`` can be a file of the output ``entry``; a journal may make us remove nothing else."""
    stem = posixpath.splitext(entry)[0]
    return name != entry and name.startswith((f"{stem}-", f"{stem}."))
