# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Small disks for tests: made and changed by the engine, written to and read again by code that shares nothing with it.

Everything takes a port, so the same test runs on the host's files and in memory::

    new_disk(port, "/vm/a.hdd", size=200 << 10)
    write(port, "/vm/a.hdd", 1000, b"guest data")            what a virtual machine would do
    apply(port, plan_merge(port, state_of(port, "/vm/a.hdd"), [...]))
    assert read(port, "/vm/a.hdd") == read_naively(port, "/vm/a.hdd") == ...
"""

from __future__ import annotations

import itertools
import posixpath
import struct
from typing import Any, Dict, List, NamedTuple, Optional, Tuple
from xml.etree import ElementTree

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState, observe
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.paths import locate
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape, wanted_parts
from ansible_collections.vdisk.parallels.plugins.module_utils._change.bundle_plan import ChangeFacts
from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import Outcome, execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.view import open_view
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Port
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.recovery.recover import take_back
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.facts import disk_facts
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.create import plan_create
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.grow import Growth, plan_grow
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.reshape.request import ReshapeRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.merge import AUTO, plan_merge
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.removals import choose_removals
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.snapshots.take import plan_snapshot_take
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

KIB = 1024
SMALL_CLUSTER = 32 * KIB
TOP = "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
NONE = "{00000000-0000-0000-0000-000000000000}"
UID = "{0f6c1a52-7a1e-4c6b-9a53-3f3c3d6a1b02}"
_HEADER = struct.Struct("<16sIIIIIQIIIQ")


# The engine's way.


def two_layers(path: str, guid: str, **options: Any) -> MemoryPort:
    """A host with a disk with one snapshot, and data in both layers; ``options`` are those of the host."""
    port = MemoryPort(**options)
    port.plant_directory(posixpath.dirname(path))
    new_disk(port, path)
    write(port, path, 100, fill(0, 2 * SMALL_CLUSTER))
    take(port, path, guid)
    write(port, path, 5 * SMALL_CLUSTER + 7, b"top" * 5000)
    return port


def shape(size: int = 8 * SMALL_CLUSTER, *, cluster_bytes: int = SMALL_CLUSTER, **others: Any) -> Shape:
    """A shape as small as tests like it; ``part_size`` is taken as it is."""
    return Shape(size, cluster_bytes=cluster_bytes, **others)


def new_disk(port: Port, path: str, *, uid: str = UID, **options: Any) -> str:
    """Create an empty bundle with the engine; ``options`` are those of ``shape``. Returns ``path``."""
    name = path.rsplit("/", 1)[-1][: -len(".hdd")]
    apply(port, plan_create(path, shape(**options), name=name, uid=uid, token="new"))
    return path


def state_of(port: Port, path: str, *, allow_outside: bool = False) -> BundleState:
    """The disk as the engine sees it."""
    return observe(port, locate(port, path), allow_outside=allow_outside)


def facts_of(port: Port, state: BundleState) -> Dict[str, Any]:
    """Disk facts without what cannot be predicted: how many blocks the host gives a file."""
    return without_blocks(disk_facts(port, state))


def without_blocks(facts: Dict[str, Any]) -> Dict[str, Any]:
    """The same without what only the host decides."""
    facts.pop("allocated_size")
    for layer in facts["layers"]:
        for file in layer["files"]:
            file.pop("allocated")
    return facts


def apply(port: Port, plan: Plan) -> Outcome:
    """Execute a plan as the modules do."""
    return execute(port, plan, recover=lambda path: take_back(port, path))


def take(port: Port, path: str, guid: str, **options: Any) -> Plan:
    """Take a snapshot; returns the plan that was applied."""
    plan = plan_snapshot_take(state_of(port, path), guid, **options)
    apply(port, plan)
    return plan


def plan_of_merge(
    port: Port,
    path: str,
    *,
    max_layers: int = 1,
    snapshots: Optional[List[str]] = None,
    strategy: str = AUTO,
    allow_outside: bool = False,
) -> Plan:
    """What ``hdd_merge`` would do."""
    state = state_of(port, path, allow_outside=allow_outside)
    return plan_merge(
        port, state, choose_removals(state, max_layers=max_layers, snapshots=snapshots), strategy=strategy
    )


def merge(port: Port, path: str, **options: Any) -> Plan:
    """Merge as ``plan_of_merge`` plans it; returns the plan that was applied."""
    plan = plan_of_merge(port, path, **options)
    apply(port, plan)
    return plan


def compact(port: Port, path: str, **options: Any) -> Plan:
    """Compact; returns the plan that was applied."""
    plan = plan_compact(port, state_of(port, path), **options)
    apply(port, plan)
    return plan


def convert(
    port: Port, source: str, dest: str, *, snapshot: Optional[str] = None, format: Optional[str] = None, **wanted: Any
) -> Plan:
    """Convert; the format comes from the name. Returns the plan that was applied."""
    plan = plan_of_convert(port, source, dest, snapshot=snapshot, format=format, **wanted)
    apply(port, plan)
    return plan


def reshape_request(**fields: Any) -> ReshapeRequest:
    """What ``hdd`` would be asked: with no more than the defaults of its options besides ``fields``."""
    defaults: Dict[str, Any] = dict.fromkeys(("size", "exact", "kind", "cluster", "version", "split", "name"))
    defaults.update(reserve=False, shrink=False, snapshots="refuse", partition_table="keep", force=False)
    return ReshapeRequest(**{**defaults, "exact": fields.get("size"), **fields})


def plan_of_grow(state: BundleState, size: int, *, force: bool = False, **options: Any) -> Plan[ChangeFacts]:
    """A grow to ``size`` bytes in the parts that follow from those of now."""
    return plan_grow(state, Growth(size, wanted_parts(state, size), **options), force=force)


def plan_of_convert(
    port: Port,
    source: str,
    dest: str,
    *,
    snapshot: Optional[str] = None,
    format: Optional[str] = None,
    predict: bool = False,
    **wanted: Any,
) -> Plan:
    """What ``hdd_convert`` would do."""
    found = find_source(port, source, backing=True)
    if snapshot is not None:
        found = replace(found, guid=snapshot)
    chosen = format or ("hdd" if dest.endswith(".hdd") else "raw")
    if chosen in ("hdd", "raw"):
        wanted.setdefault("cluster_bytes", SMALL_CLUSTER)
    return plan_convert(port, found, ConvertRequest(chosen, dest, **wanted), token="dest", predict=predict)


def read(port: Port, path: str, guid: Optional[str] = None, *, allow_outside: bool = False) -> bytes:
    """The whole guest disk at one snapshot, through the engine's composed view."""
    state = state_of(port, path, allow_outside=allow_outside)
    view = open_view(port, state, guid or state.tree.top)
    try:
        buffer = bytearray(view.size)
        view.pread_into(0, buffer)
        return bytes(buffer)
    finally:
        view.close()


# Another way, with struct and ElementTree.


class Part(NamedTuple):
    """One storage: its range of the guest disk in bytes and, topmost first, the (path, is plain) of the layers below
    a snapshot.
    """

    start: int
    end: int
    chain: Tuple[Tuple[str, bool], ...]


class _Image:
    """One open expanding image, as the format reference describes it."""

    def __init__(self, port: Port, path: str, *, writable: bool = False) -> None:
        self.file = port.open_write(path) if writable else port.open_read(path)
        magic, _type, _heads, _cylinders, tracks, count, size, _in_use, data_off, _flags, _ext = _HEADER.unpack(
            self.get(0, 64)
        )
        self.cluster = tracks * 512
        self.unit = 512 if magic == b"WithoutFreeSpace" else self.cluster
        self.size = (size & 0xFFFFFFFF if magic == b"WithoutFreeSpace" else size) * 512
        self.data_start = data_off * 512 or -(-(64 + 4 * count) // 512) * 512

    def get(self, offset: int, length: int) -> bytes:
        buffer = bytearray(length)
        self.file.pread_into(offset, buffer)
        return bytes(buffer)

    def place(self, index: int) -> int:
        """File offset of a guest cluster, 0 when it is not allocated."""
        return struct.unpack("<I", self.get(64 + 4 * index, 4))[0] * self.unit

    def allocate(self, index: int, content: bytes) -> None:
        """Put a cluster at the end of the file and name it in the table; what ``content`` lacks stays a hole."""
        end = self.data_start + -(-max(0, self.file.size() - self.data_start) // self.cluster) * self.cluster
        self.file.pwrite(end, content)
        self.file.truncate(end + self.cluster)
        self.file.pwrite(64 + 4 * index, struct.pack("<I", end // self.unit))


def parts_of(port: Port, path: str, guid: Optional[str] = None) -> List[Part]:
    """What the descriptor says, read by ElementTree."""
    root = _descriptor(port, path)
    parents = {shot.findtext("GUID"): shot.findtext("ParentGUID") for shot in root.iter("Shot")}
    layers = [guid or root.findtext("Snapshots/TopGUID") or TOP]
    while parents[layers[-1]] != NONE:
        layers.append(parents[layers[-1]] or NONE)
    parts = []
    for storage in root.iter("Storage"):
        files = {
            image.findtext("GUID"): (_joined(path, image.findtext("File") or ""), image.findtext("Type"))
            for image in storage.iter("Image")
        }
        chain = tuple((files[layer][0], files[layer][1] == "Plain" and parents[layer] == NONE) for layer in layers)
        parts.append(Part(int(storage.findtext("Start") or 0) * 512, int(storage.findtext("End") or 0) * 512, chain))
    return parts


def _descriptor(port: Port, path: str) -> ElementTree.Element:
    file = port.open_read(f"{path}/DiskDescriptor.xml")
    try:
        content = bytearray(file.size())
        file.pread_into(0, content)
        return ElementTree.fromstring(bytes(content))
    finally:
        file.close()


def _joined(path: str, file: str) -> str:
    return file if file.startswith("/") else f"{path}/{file}"


def guids_of(port: Port, path: str) -> List[str]:
    """All snapshots and the current state, as the descriptor lists them."""
    return [shot.findtext("GUID") or "" for shot in _descriptor(port, path).iter("Shot")]


def read_naively(port: Port, path: str, guid: Optional[str] = None) -> bytes:
    """The whole guest disk at one snapshot, layer by layer from the root up; a layer that ends early hides what lies
    below with zeros.
    """
    disk = bytearray()
    for part in parts_of(port, path, guid):
        content = bytearray(part.end - part.start)
        for file, is_plain in reversed(part.chain):
            _lay_over(port, file, is_plain, content)
        disk += content
    return bytes(disk)


def _lay_over(port: Port, path: str, is_plain: bool, content: bytearray) -> None:
    if is_plain:
        file = port.open_read(path)
        length = file.pread_into(0, content)
        content[length:] = bytes(len(content) - length)
        file.close()
        return
    image = _Image(port, path)
    content[image.size :] = bytes(max(0, len(content) - image.size))
    size = min(image.size, len(content))
    for index in range(-(-size // image.cluster)):
        place, start = image.place(index), index * image.cluster
        if place:
            length = min(image.cluster, size - start)
            content[start : start + length] = image.get(place, length)
    image.file.close()


def write(port: Port, path: str, offset: int, content: bytes) -> None:
    """Write guest bytes into the top layer as a virtual machine would: whole clusters are copied up on the first
    write.
    """
    for part in parts_of(port, path):
        low, high = max(offset, part.start), min(offset + len(content), part.end)
        if low < high:
            _write_part(port, part, low - part.start, content[low - offset : high - offset])


def _write_part(port: Port, part: Part, offset: int, content: bytes) -> None:
    path, is_plain = part.chain[0]
    if is_plain:
        file = port.open_write(path)
        file.pwrite(offset, content)
        file.close()
        return
    # A disk of one layer may be huge.
    below = bytearray(part.end - part.start if len(part.chain) > 1 else 0)
    for lower, lower_is_plain in reversed(part.chain[1:]):
        _lay_over(port, lower, lower_is_plain, below)
    image = _Image(port, path, writable=True)
    position = offset
    while position < offset + len(content):
        index, within = divmod(position, image.cluster)
        piece = content[position - offset : position - offset + image.cluster - within]
        if not image.place(index):
            image.allocate(index, bytes(below[index * image.cluster : (index + 1) * image.cluster]))
        image.file.pwrite(image.place(index) + within, piece)
        position += len(piece)
    image.file.close()


def leak(port: Port, path: str, *, guid: Optional[str] = None, index: int) -> None:
    """Let the table of the first part forget a cluster; its place in the file stays."""
    image = _Image(port, parts_of(port, path, guid)[0].chain[0][0], writable=True)
    image.file.pwrite(64 + 4 * index, bytes(4))
    image.file.close()


def patch(port: Port, path: str, offset: int, content: bytes) -> None:
    """Change bytes of a file."""
    file = port.open_write(path)
    file.pwrite(offset, content)
    file.close()


def file_of(port: Port, path: str, guid: Optional[str] = None, storage: int = 0) -> str:
    """Where the image of a layer lies."""
    return parts_of(port, path, guid)[storage].chain[0][0]


def marked_in_use(port: Port, path: str, guid: Optional[str] = None) -> str:
    """Give the image of a layer the in-use mark; returns its path."""
    file = file_of(port, path, guid)
    patch(port, file, 44, b"Ynot")
    return file


def _unused(port: Port, stem: str) -> str:
    """The name of an image file that does not exist: a GUID may be given again when its snapshot is gone, while the
    file lives on.
    """
    return next(name for number in itertools.count() for name in [f"{stem}.{number}.hds"] if port.lstat(name) is None)


def switch(port: Port, path: str, target: str, *, kept_as: str) -> None:
    """Let the disk go on from ``target`` in a new empty layer and keep the present state as the leaf ``kept_as``, as
    ploop's switch does.
    """
    root = _descriptor(port, path)
    top = root.findtext("Snapshots/TopGUID") or TOP
    names = [
        _empty_like(port, part.chain[0][0], _unused(port, f"{path}/switched.{number}.{kept_as}"))
        for number, part in enumerate(parts_of(port, path))
    ]
    for storage, name in zip(root.iter("Storage"), names):
        for guid in [image.find("GUID") for image in storage.iter("Image")]:
            if guid is not None and guid.text == top:
                guid.text = kept_as
        storage.append(_element("Image", GUID=top, Type="Compressed", File=name.rsplit("/", 1)[-1]))
    snapshots = root.find("Snapshots")
    assert snapshots is not None
    for guid in [shot.find("GUID") for shot in snapshots.iter("Shot")]:
        if guid is not None and guid.text == top:
            guid.text = kept_as
    snapshots.append(_element("Shot", GUID=top, ParentGUID=target))
    port.remove(f"{path}/DiskDescriptor.xml")
    _put(port, f"{path}/DiskDescriptor.xml", ElementTree.tostring(root, encoding="utf-8"))


def _element(tag: str, **children: str) -> ElementTree.Element:
    element = ElementTree.Element(tag)
    for name, text in children.items():
        ElementTree.SubElement(element, name).text = text
    return element


def _empty_like(port: Port, model_path: str, path: str) -> str:
    """A new image with no clusters, otherwise like the one at ``model_path``."""
    model = _Image(port, model_path)
    header = _HEADER.unpack(model.get(0, 64))
    _put(port, path, _HEADER.pack(*header[:7], 0, *header[8:9], 0, 0).ljust(model.data_start, b"\0"))
    model.file.close()
    return path


def _put(port: Port, path: str, content: bytes) -> None:
    file = port.create(path)
    file.pwrite(0, content)
    file.close()
