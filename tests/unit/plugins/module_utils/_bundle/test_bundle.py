# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing a disk: every fact that is there, and no trust in any of them."""

from __future__ import annotations

import os
import struct
import threading
import tracemalloc
from pathlib import Path
from typing import Any, Callable, Dict, Iterator, List, Optional, Type

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.leftovers import leftovers, orphans
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    Escape,
    IoFailure,
    MissingImage,
    NotABundle,
    Unsupported,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.fingerprint import identity
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    BuiltBundle,
    Layer,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.disks import NONE, TOP
from ansible_collections.vdisk.parallels.tests.support.images import build_hds, fill, pack_hds_header
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.sockets import make_socket

PORT = OsPort()
CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
ONE, TWO = guid_of(1), guid_of(2)
MOST_SECONDS = 60
MOST_BYTES = 24 << 20


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def line(tmp_path: Path, **options: Any) -> BuiltBundle:
    layers = options.pop("layers", None) or line_of_layers(filled(0, 1, 2), filled(1, seed=1), filled(3, seed=2))
    return build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS, **options
    )


# What is seen


@pytest.mark.parametrize("style", ["desktop", "virtuozzo", "ploop"])
@pytest.mark.parametrize("version", [1, 2])
def test_a_bundle_in_the_habits_of_each_writer_is_understood(tmp_path: Path, style: str, version: int) -> None:
    bundle = line(tmp_path, style=style, version=version)
    state = disks.state_of(PORT, bundle.directory)
    assert state.tree.current_chain == (TOP, TWO, ONE)
    assert {key: image.path for key, image in state.images.items()} == dict(bundle.files)
    assert [image.used_clusters for image in state.chain(TOP, 0)] == [1, 1, 3]
    assert all(disks.read(PORT, bundle.directory, guid) == bundle.guest(guid) for guid in (ONE, TWO, TOP))
    assert (state.journal, state.warnings, orphans(state), leftovers(state)) == (None, (), (), ())


def test_the_fingerprint_changes_with_every_file(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    before = disks.state_of(PORT, bundle.directory).fingerprint
    assert before == disks.state_of(PORT, bundle.directory).fingerprint
    assert {path for path, _seen in before} == {bundle.descriptor, *bundle.files.values()}
    for path in (bundle.descriptor, *bundle.files.values()):
        with open(path, "ab") as stream:
            stream.write(b"\n")
        after = disks.state_of(PORT, bundle.directory).fingerprint
        assert [path for (path, seen), (_path, now) in zip(before, after) if seen != now] == [path]
        before = after


def test_a_descriptor_that_is_replaced_while_it_is_read_makes_the_fingerprint_stale(tmp_path: Path) -> None:
    bundle = line(tmp_path)

    class Slow(OsPort):
        """Somebody replaces the descriptor right after it was read."""

        def list_directory(self, path: str) -> List[str]:
            with open(bundle.descriptor, "ab") as stream:
                stream.write(b"<!-- later -->")
            return super().list_directory(path)

    seen = dict(disks.state_of(Slow(), bundle.directory).fingerprint)
    assert seen[bundle.descriptor] != identity(PORT.stat(bundle.descriptor))


def test_looking_changes_nothing_and_leaves_nothing_open(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    port = _memory(bundle)
    before = len(port.effects)
    disks.state_of(port, bundle.directory)
    assert len(port.effects) == before
    assert not any(port.opened.values()) and not port.held


def _memory(bundle: BuiltBundle) -> MemoryPort:
    port = MemoryPort()
    for name in os.listdir(bundle.directory):
        with open(os.path.join(bundle.directory, name), "rb") as stream:
            port.plant_file(f"{bundle.directory}/{name}", stream.read())
    return port


@pytest.mark.parametrize("cluster_sectors", [63, 504, 2048])
@pytest.mark.parametrize("data_off", [None, 0])
def test_old_single_file_images_are_disks(tmp_path: Path, cluster_sectors: int, data_off: Optional[int]) -> None:
    path, content = str(tmp_path / "old.hdd"), fill(1, 10 * 512)
    build_hds(path, size_sectors=5000, clusters={1: content}, cluster_sectors=cluster_sectors, data_off=data_off)
    state = disks.state_of(PORT, path)
    assert (state.is_bundle, state.tree.current_chain, state.descriptor.size_bytes) == (False, (TOP,), 5000 * 512)
    assert [storage.cluster_sectors for storage in state.descriptor.storages] == [cluster_sectors]
    start = cluster_sectors * 512
    assert disks.read(PORT, path) == bytes(start) + content + bytes(5000 * 512 - start - len(content))


def test_a_raw_file_called_hdd_is_a_plain_disk(tmp_path: Path) -> None:
    (tmp_path / "raw.hdd").write_bytes(fill(1, 5 * 512))
    assert disks.read(PORT, str(tmp_path / "raw.hdd")) == fill(1, 5 * 512)


def test_a_plain_root_that_begins_like_an_image_is_plain_all_the_same(tmp_path: Path) -> None:
    inner = pack_hds_header(size_sectors=64, bat_entries=1, cluster_sectors=64).ljust(CLUSTER, b"\0")
    bundle = line(tmp_path, layers=[Layer(TOP, clusters={0: inner}, type="Plain")])
    assert disks.read(PORT, bundle.directory) == bundle.guest(TOP)


def test_sizes_that_differ_are_told_and_no_damage(tmp_path: Path) -> None:
    bundle = line(tmp_path, layers=[Layer(ONE, clusters=filled(0)), Layer(TOP, ONE, size_sectors=4 * SECTORS)])
    state = disks.state_of(PORT, bundle.directory)
    assert len(state.warnings) == 1 and bundle.files[(0, TOP)] in state.warnings[0]


def test_unused_and_leaked_bytes_leave_the_extension_out(tmp_path: Path) -> None:
    from ansible_collections.vdisk.parallels.tests.support.images import pack_extension

    path = str(tmp_path / "old.hdd")
    built = build_hds(path, size_sectors=8 * SECTORS, clusters=filled(0), cluster_sectors=SECTORS, gaps=[1, 2])
    offset = built.data_start + 2 * CLUSTER
    disks.patch(PORT, path, offset, pack_extension([], cluster_bytes=CLUSTER))
    assert disks.state_of(PORT, path).layer(TOP)[0].leaked == 2 * CLUSTER
    disks.patch(PORT, path, 44, b"v2.1")
    disks.patch(PORT, path, 56, struct.pack("<Q", offset // 512))
    image = disks.state_of(PORT, path).layer(TOP)[0]
    assert (image.leaked, image.unused, image.pinned) == (
        CLUSTER,
        [(built.data_start + CLUSTER, offset)],
        ((offset, offset + CLUSTER),),
    )


def test_a_link_inside_the_bundle_is_followed_and_is_no_orphan(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    file = bundle.files[(0, ONE)]
    os.rename(file, os.path.join(bundle.directory, "moved.hds"))
    os.symlink("moved.hds", file)
    state = disks.state_of(PORT, bundle.directory)
    assert disks.read(PORT, bundle.directory) == bundle.guest(TOP)
    assert orphans(state) == ()


# Hostile bundles


def edit(bundle: BuiltBundle, old: str, new: str, count: int = -1) -> None:
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    assert old in text
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(old, new, count))


@pytest.fixture(name="bounded")
def _bounded() -> Iterator[None]:
    """Neither much memory nor for ever: a stuck test ends the process with a trace."""
    import faulthandler

    faulthandler.dump_traceback_later(MOST_SECONDS, exit=True)
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < MOST_BYTES
    finally:
        tracemalloc.stop()
        faulthandler.cancel_dump_traceback_later()


def refused(
    bundle: BuiltBundle, kind: Type[DiskError], path: Optional[str] = None, *, offset: Optional[int] = None
) -> DiskError:
    """Looking at the bundle ends in ``kind``, which tells where, and changes nothing."""
    before = sorted(
        (name, os.lstat(os.path.join(bundle.directory, name)).st_mtime_ns) for name in os.listdir(bundle.directory)
    )
    with pytest.raises(DiskError) as caught:
        disks.state_of(PORT, bundle.directory)
    assert caught.value.code == kind.code, str(caught.value)
    assert caught.value.path == (path or bundle.descriptor)
    if offset is not None:
        assert caught.value.offset == offset
    assert len(str(caught.value)) < 2000
    assert (
        sorted(
            (name, os.lstat(os.path.join(bundle.directory, name)).st_mtime_ns) for name in os.listdir(bundle.directory)
        )
        == before
    )
    return caught.value


HEADER_ATTACKS: List[Any] = [
    ("a table larger than the file", 32, struct.pack("<I", 1 << 20)),
    ("the largest table", 32, struct.pack("<I", 0xFFFFFFFF)),
    ("a table shorter than the disk", 32, struct.pack("<I", 1)),
    ("no table", 32, struct.pack("<I", 0)),
    ("clusters of no bytes", 28, struct.pack("<I", 0)),
    ("clusters of two tebibytes", 28, struct.pack("<I", 0xFFFFFFFF)),
    ("another kind of disk", 16, struct.pack("<I", 1)),
    ("a data area beyond the file", 48, struct.pack("<I", 0xFFFFFFFF)),
    ("a data area in the table", 48, struct.pack("<I", 0xFFFFFFFF - 3)),
    ("an entry beyond the file", 64, struct.pack("<I", 0xFFFFFFFF)),
    ("an entry in the header", 64, struct.pack("<I", 1)),
    ("an entry off the grid", 64, struct.pack("<I", SECTORS + 1)),
    ("two entries for one cluster", 64, struct.pack("<II", SECTORS, SECTORS)),
    ("two entries that overlap", 64, struct.pack("<II", SECTORS, SECTORS + 1)),
    ("no magic", 0, b"\0"),
    ("half a magic", 8, b"ExtExtEx"),
]


@pytest.mark.parametrize(
    "offset, content", [attack[1:] for attack in HEADER_ATTACKS], ids=[attack[0] for attack in HEADER_ATTACKS]
)
@pytest.mark.parametrize("guid", [ONE, TOP])
def test_a_header_that_lies_is_damage_with_its_place(
    bounded: None, tmp_path: Path, guid: str, offset: int, content: bytes
) -> None:
    bundle = line(tmp_path)
    path = bundle.files[(0, guid)]
    disks.patch(PORT, path, offset, content)
    error = refused(bundle, Damaged, path)
    assert error.offset is not None and error.expected is not None


@pytest.mark.parametrize("size", [1 << 54, (1 << 55) - 1, 1 << 63, (1 << 64) - 1, (1 << 64) - 512])
def test_sizes_near_the_end_of_numbers_are_damage(bounded: None, tmp_path: Path, size: int) -> None:
    bundle = line(tmp_path, version=2)
    disks.patch(PORT, bundle.files[(0, TOP)], 36, struct.pack("<Q", size))
    refused(bundle, Damaged, bundle.files[(0, TOP)])


@pytest.mark.parametrize(
    "sectors", [0, -1, 1 << 54, (1 << 63) - 1, 1 << 63, 1 << 64, "1e9", "0x10", "", "9" * 5000, "nan", "٣"]
)
def test_a_disk_size_that_cannot_be_is_damage(bounded: None, tmp_path: Path, sectors: Any) -> None:
    bundle = line(tmp_path)
    edit(bundle, f"<Disk_size>{8 * SECTORS}<", f"<Disk_size>{sectors}<")
    refused(bundle, Damaged)


@pytest.mark.parametrize(
    "length", [0, 1, 15, 16, 63, 64, 80, 95, 96, CLUSTER - 1, CLUSTER, CLUSTER + 1, 2 * CLUSTER - 1]
)
def test_a_truncated_image_is_damage_or_no_image(bounded: None, tmp_path: Path, length: int) -> None:
    bundle = line(tmp_path, layers=line_of_layers({}, filled(0)))
    os.truncate(bundle.files[(0, TOP)], length)
    refused(bundle, Damaged, bundle.files[(0, TOP)])


@pytest.mark.parametrize("length", [0, 1, 200, 900])
def test_a_truncated_descriptor_is_damage(bounded: None, tmp_path: Path, length: int) -> None:
    bundle = line(tmp_path)
    os.truncate(bundle.descriptor, length)
    refused(bundle, Damaged)


def test_a_huge_descriptor_is_not_read(bounded: None, tmp_path: Path) -> None:
    bundle = line(tmp_path)
    os.truncate(bundle.descriptor, 1 << 40)
    refused(bundle, Damaged)


def test_a_huge_table_of_nothing_costs_nothing(bounded: None, tmp_path: Path) -> None:
    """Half a billion entries that are a hole of the host file."""
    bundle = line(tmp_path, version=2, layers=[Layer(TOP)])
    path, entries = bundle.files[(0, TOP)], (1 << 29) - 1
    os.truncate(path, 64 + 4 * entries + CLUSTER)
    disks.patch(PORT, path, 32, struct.pack("<I", entries))
    disks.patch(PORT, path, 48, struct.pack("<I", -(-(64 + 4 * entries) // CLUSTER) * SECTORS))
    assert disks.state_of(PORT, bundle.directory).layer(TOP)[0].used_clusters == 0


@pytest.mark.parametrize("kind", ["fifo", "directory", "socket", "device"])
@pytest.mark.parametrize("which", ["image", "descriptor"])
def test_what_is_no_regular_file_is_not_opened(bounded: None, tmp_path: Path, kind: str, which: str) -> None:
    bundle = line(tmp_path)
    path = bundle.files[(0, ONE)] if which == "image" else bundle.descriptor
    os.remove(path)
    if kind == "fifo":
        os.mkfifo(path)
    elif kind == "directory":
        os.mkdir(path)
    elif kind == "socket":
        make_socket(path)
    else:
        os.symlink("/dev/zero", path)
    with pytest.raises(DiskError) as caught:
        disks.state_of(PORT, bundle.directory, allow_outside=True)
    assert isinstance(caught.value, (Damaged, NotABundle, Escape))
    assert caught.value.path is not None


def test_a_link_that_leads_out_is_an_escape(bounded: None, tmp_path: Path) -> None:
    bundle = line(tmp_path)
    path = bundle.files[(0, ONE)]
    os.rename(path, tmp_path / "outside.hds")
    os.symlink(tmp_path / "outside.hds", path)
    error = refused(bundle, Escape)
    assert error.found == str(tmp_path / "outside.hds")
    state = disks.state_of(PORT, bundle.directory, allow_outside=True)
    assert [image.outside for image in state.chain(TOP, 0)] == [False, False, True]


@pytest.mark.parametrize(
    "file",
    [
        "../outside.hds",
        "/etc/passwd",
        "/nowhere/x.hds",
        "sub/../../outside.hds",
        "..",
        ".",
        "",
        "/",
        "a\x7f/../../../x",
    ],
)
def test_names_that_lead_out_are_refused(bounded: None, tmp_path: Path, file: str) -> None:
    bundle = line(tmp_path)
    edit(bundle, f"<File>{os.path.basename(bundle.files[(0, ONE)])}<", f"<File>{file}<")
    with pytest.raises(DiskError) as caught:
        disks.state_of(PORT, bundle.directory)
    assert caught.value.code in (Escape.code, Damaged.code)


def test_a_missing_image_is_told_by_name(bounded: None, tmp_path: Path) -> None:
    bundle = line(tmp_path)
    os.remove(bundle.files[(0, TWO)])
    refused(bundle, MissingImage, bundle.files[(0, TWO)])


def test_a_circle_of_links_is_an_error_of_ours(bounded: None, tmp_path: Path) -> None:
    bundle = line(tmp_path)
    path = bundle.files[(0, ONE)]
    os.remove(path)
    os.symlink(os.path.basename(path), path)
    with pytest.raises(DiskError) as caught:
        disks.state_of(PORT, bundle.directory)
    assert isinstance(caught.value, (MissingImage, IoFailure, Damaged, Escape))


TREES: List[Any] = [
    ("a loop", [(TOP, TWO), (TWO, ONE), (ONE, TWO)]),
    ("its own parent", [(TOP, TWO), (TWO, TWO), (ONE, NONE)]),
    ("a loop that holds the top", [(TOP, TWO), (TWO, TOP), (ONE, NONE)]),
    ("a missing parent", [(TOP, TWO), (TWO, guid_of(99)), (ONE, NONE)]),
    ("one snapshot twice", [(TOP, TWO), (TWO, ONE), (TWO, NONE)]),
    ("no top", [(guid_of(5), TWO), (TWO, ONE), (ONE, NONE)]),
    ("the null snapshot", [(TOP, NONE), (NONE, ONE), (ONE, NONE)]),
    ("no snapshot at all", []),
]


@pytest.mark.parametrize("shots", [tree[1] for tree in TREES], ids=[tree[0] for tree in TREES])
def test_a_tree_that_is_none_is_damage(bounded: None, tmp_path: Path, shots: Any) -> None:
    bundle = line(tmp_path)
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    head = text[: text.index("<Snapshots>")]
    tail = "".join(f"<Shot><GUID>{guid}</GUID><ParentGUID>{parent}</ParentGUID></Shot>" for guid, parent in shots)
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(f"{head}<Snapshots>{tail}</Snapshots></Parallels_disk_image>")
    refused(bundle, Damaged)


@pytest.mark.parametrize("how", ["one name", "another spelling", "hard link", "link"])
def test_one_file_for_two_images_is_damage(bounded: None, tmp_path: Path, how: str) -> None:
    bundle = line(tmp_path)
    one, two = (os.path.basename(bundle.files[(0, guid)]) for guid in (ONE, TWO))
    if how == "one name":
        edit(bundle, f"<File>{two}<", f"<File>{one}<")
        refused(bundle, Damaged)
        return
    if how == "another spelling":
        edit(bundle, f"<File>{two}<", f"<File>./{one}<")
    else:
        os.remove(bundle.files[(0, TWO)])
        if how == "link":
            os.symlink(one, bundle.files[(0, TWO)])
        else:
            os.link(bundle.files[(0, ONE)], bundle.files[(0, TWO)])
    with pytest.raises(Damaged, match="One file"):
        disks.state_of(PORT, bundle.directory)


FOREIGN = [b"QFI\xfb\0\0\0\3", b"KDMV", b"vhdxfile", b"conectix", b"# Disk DescriptorFile"]


@pytest.mark.parametrize("prefix", FOREIGN)
def test_a_foreign_image_is_told_by_its_format(bounded: None, tmp_path: Path, prefix: bytes) -> None:
    bundle = line(tmp_path)
    with open(bundle.files[(0, ONE)], "wb") as stream:
        stream.write(prefix.ljust(CLUSTER, b"\0"))
    error = refused(bundle, Unsupported, bundle.files[(0, ONE)], offset=0)
    assert error.found in ("qcow2", "vmdk", "vhdx", "vhd")


@pytest.mark.parametrize("kind", ["Physical", "80", "DMG", "x" * 10_000])
def test_a_type_that_cannot_be_read_is_not_supported(bounded: None, tmp_path: Path, kind: str) -> None:
    bundle = line(tmp_path)
    edit(bundle, "<Type>Compressed<", f"<Type>{kind}<", 1)
    refused(bundle, Unsupported, bundle.files[(0, TOP)])


XML: List[Any] = [
    (
        "entities",
        lambda text: text.replace(
            "<Parallels_disk_image", '<!DOCTYPE a [<!ENTITY b "c">]><Parallels_disk_image'
        ).replace("a.hdd.0", "&b;", 1),
    ),
    (
        "entities of entities",
        lambda text: (
            "<!DOCTYPE a ["
            + "".join(f'<!ENTITY e{n + 1} "{f"&e{n};" * 50}">' for n in range(20))
            + '<!ENTITY e0 "x">]>'
            + text[40:]
        ),
    ),
    (
        "a file of the host",
        lambda text: '<!DOCTYPE a [<!ENTITY b SYSTEM "file:///etc/passwd">]>' + text[40:].replace("a.hdd.0", "&b;", 1),
    ),
    ("depth", lambda text: text.replace("<Padding>", "<x>" * 100_000 + "</x>" * 100_000 + "<Padding>")),
    ("breadth", lambda text: text.replace("<Padding>", "<x/>" * 300_000 + "<Padding>")),
    ("another document", lambda text: "<html/>"),
    ("no document", lambda text: "\0\1\2"),
    ("two sizes", lambda text: text.replace("<Padding>", "<Disk_size>1</Disk_size><Padding>")),
    ("padding", lambda text: text.replace("<Padding>0", "<Padding>1")),
    ("a storage that overlaps", lambda text: text.replace("<Start>0<", "<Start>1<")),
    ("a storage that is too long", lambda text: text.replace("<End>", "<End>9")),
    (
        "no storage",
        lambda text: text[: text.index("<StorageData>")] + "<StorageData/>" + text[text.index("</StorageData>") + 14 :],
    ),
    ("clusters of no sectors", lambda text: text.replace("<Blocksize>128<", "<Blocksize>0<")),
    ("huge clusters", lambda text: text.replace("<Blocksize>128<", "<Blocksize>99999999999<")),
]


@pytest.mark.parametrize("change", [case[1] for case in XML], ids=[case[0] for case in XML])
def test_a_descriptor_that_attacks_ends_in_an_error_of_ours(
    bounded: None, tmp_path: Path, change: Callable[[str], str]
) -> None:
    bundle = line(tmp_path)
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = change(stream.read())
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text)
    with pytest.raises(DiskError) as caught:
        disks.state_of(PORT, bundle.directory)
    assert isinstance(caught.value, (Damaged, Unsupported, NotABundle))
    assert caught.value.path == bundle.descriptor
    assert "root:" not in str(caught.value)


@given(place=st.integers(0, 64 + 4 * 8 - 1), content=st.binary(min_size=1, max_size=12))
def test_any_bytes_in_header_and_table_end_in_an_error_of_ours_or_a_readable_disk(place: int, content: bytes) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, "/vm/a.hdd", version=1 + place % 2)
    disks.write(port, "/vm/a.hdd", 0, b"x" * 100_000)
    disks.patch(port, disks.file_of(port, "/vm/a.hdd"), place, content)
    try:
        state = disks.state_of(port, "/vm/a.hdd")
        assert len(disks.read(port, "/vm/a.hdd")) == state.descriptor.size_bytes
    except DiskError as error:
        assert error.path is not None


@given(place=st.integers(0, 3000), content=st.binary(min_size=1, max_size=8), cut=st.booleans())
def test_any_bytes_in_the_descriptor_end_in_an_error_of_ours_or_a_readable_disk(
    place: int, content: bytes, cut: bool
) -> None:
    port = MemoryPort()
    port.plant_directory("/vm")
    disks.new_disk(port, "/vm/a.hdd")
    file = port.open_write("/vm/a.hdd/DiskDescriptor.xml")
    place %= file.size()
    file.pwrite(place, content)
    if cut:
        file.truncate(place)
    file.close()
    try:
        disks.facts_of(port, disks.state_of(port, "/vm/a.hdd"))
    except DiskError as error:
        assert error.path is not None
    assert not any(port.opened.values())


# Cost


class Counting:
    """A port that counts the bytes that are read and written through it."""

    def __init__(self, port: Any) -> None:
        self._port = port
        self.bytes_read = 0
        self.bytes_written = 0
        self.lock_of_counts = threading.Lock()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._port, name)

    def open_read(self, path: str) -> Any:
        return _CountingFile(self._port.open_read(path), self)

    def open_write(self, path: str) -> Any:
        return _CountingFile(self._port.open_write(path), self)

    def create(self, path: str, mode: int = 0o666) -> Any:
        return _CountingFile(self._port.create(path, mode), self)


class _CountingFile:
    def __init__(self, file: Any, counts: Counting) -> None:
        self._file = file
        self._counts = counts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._file, name)

    def pread_into(self, offset: int, buffer: Any) -> int:
        self._counts.bytes_read += len(buffer)
        return self._file.pread_into(offset, buffer)

    def pwrite(self, offset: int, buffer: Any) -> None:
        self._counts.bytes_written += len(buffer)
        self._file.pwrite(offset, buffer)


def test_a_disk_of_sixteen_tebibytes_costs_what_is_stored_in_it(bounded: None) -> None:
    memory = MemoryPort()
    memory.plant_directory("/vm")
    places = [0, 1 << 30, (1 << 44) - (1 << 20), *(number << 38 for number in range(1, 30))]
    counting: Any = Counting(memory)
    disks.new_disk(counting, "/vm/a.hdd", size=1 << 44, cluster_bytes=1 << 20, version=2)
    assert counting.bytes_written < 8192 and len(memory.calls) < 100
    for place in places:
        disks.write(memory, "/vm/a.hdd", place + 5000, b"guest data")
    calls = len(memory.calls)
    state = disks.state_of(counting, "/vm/a.hdd")
    disks.facts_of(counting, state)
    assert state.layer(TOP)[0].used_clusters == len(places)
    assert counting.bytes_read < len(places) * 8192 and len(memory.calls) - calls < 200
    counting.bytes_read = counting.bytes_written = 0
    calls = len(memory.calls)
    disks.convert(counting, "/vm/a.hdd", "/vm/a.raw")
    stat = memory.stat("/vm/a.raw")
    assert stat is not None and (stat.size, stat.allocated) == (1 << 44, len(places) * 4096)
    # Once for the copy, and on either side for the comparison; in slices of 256 KiB.
    assert counting.bytes_read < len(places) * 3 * (256 << 10) + (1 << 20)
    assert counting.bytes_written < len(places) * 8192
    assert len(memory.calls) - calls < 100 * len(places)
    assert disks.plan_of_convert(counting, "/vm/a.hdd", "/vm/a.raw").is_empty


def test_taking_and_merging_on_a_huge_disk_cost_what_is_stored_too(bounded: None) -> None:
    memory = MemoryPort()
    memory.plant_directory("/vm")
    counting: Any = Counting(memory)
    disks.new_disk(memory, "/vm/a.hdd", size=1 << 44, cluster_bytes=1 << 20, version=2)
    for number in range(10):
        disks.write(memory, "/vm/a.hdd", number << 39, b"root")
    calls = len(memory.calls)
    disks.take(counting, "/vm/a.hdd", ONE)
    assert disks.compact(counting, "/vm/a.hdd", scan="metadata").is_empty
    disks.merge(counting, "/vm/a.hdd")
    assert counting.bytes_read < 1 << 20 and counting.bytes_written < 1 << 16
    assert len(memory.calls) - calls < 2000
