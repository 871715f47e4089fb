# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The files that make a directory a virtual machine. Shares no code with the engine."""

from __future__ import annotations

import os
from typing import Mapping, Optional
from xml.sax.saxutils import escape

UUID = "{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}"

_CONFIG = """<?xml version="1.0" encoding="UTF-8"?>
<ParallelsVirtualMachine schemaVersion="1.0">
   <Identification>
      <VmUuid>{uuid}</VmUuid>
      <VmName>{name}</VmName>
   </Identification>
   <Hardware>
      <Hdd id="0">
         <Index>0</Index>
         <SystemName>{disk}</SystemName>
         <InterfaceType>2</InterfaceType>
         <Size>{size_mib}</Size>{kind}
      </Hdd>
   </Hardware>
</ParallelsVirtualMachine>
"""
_SNAPSHOTS = """<?xml version="1.0" encoding="UTF-8"?>
<ParallelsSavedStates>
  <SavedStateItem guid="">
{items}  </SavedStateItem>
</ParallelsSavedStates>
"""
_SNAPSHOT = """    <SavedStateItem guid="{guid}" state="poweroff"><Name>{name}</Name>
      <DateTime>2024-11-15 10:30:00</DateTime></SavedStateItem>
"""


def make_machine(
    directory: str,
    *,
    name: str = "Mac",
    disk: str = "mac.hdd",
    size_mib: int = 1,
    snapshots: Optional[Mapping[str, str]] = None,
    kind: Optional[int] = None,
) -> None:
    """Create ``directory`` if need be, with ``config.pvs`` and, when there are ``snapshots`` (name by GUID),
    ``Snapshots.xml``. ``kind`` is its DiskType.
    """
    os.makedirs(directory, exist_ok=True)
    values = {"uuid": UUID, "name": escape(name), "disk": escape(disk), "size_mib": size_mib}
    type_of_disk = "" if kind is None else f"<DiskType>{kind}</DiskType>"
    _put(directory, "config.pvs", _CONFIG.format(**values, kind=type_of_disk))
    if snapshots:
        items = "".join(_SNAPSHOT.format(guid=guid, name=escape(text)) for guid, text in snapshots.items())
        _put(directory, "Snapshots.xml", _SNAPSHOTS.format(items=items))


def _put(directory: str, name: str, text: str) -> None:
    with open(os.path.join(directory, name), "w", encoding="utf-8") as stream:
        stream.write(text)
