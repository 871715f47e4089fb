# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images of other products that were tampered with end in bytes or in an error of ours, in bounded time and memory, and
open nothing elsewhere.

By default a few hundred mutants of each kind of image are tried, with VDISK_LONG tens of thousands.
"""

from __future__ import annotations

import os
import shutil
import struct
import sys
import zlib
from pathlib import Path
from typing import Any, Callable, Dict, Optional, Set, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.image import ParentImage
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.writer import Qcow2Writer
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import conversions, foreign, hostile, vmdk_files
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.conversions import Source
from ansible_collections.vdisk.parallels.tests.support.foreign import KIB, MIB, noise, text
from ansible_collections.vdisk.parallels.tests.support.hostile import (
    Mutant,
    Victim,
    absurd_fields,
    assert_all_named,
    cuts_of,
    mutants_of,
    outcomes,
)
from ansible_collections.vdisk.parallels.tests.support.oracles import qemu_img, require, require_library, run

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="limits of processes and /proc are those of Linux"
)
LONG = bool(os.environ.get("VDISK_LONG"))
MUTANTS = int(os.environ.get("VDISK_MUTANTS") or (10_000 if LONG else 60))
CUTS = 100_000 if LONG else 60
SIZE = MIB + 512
CLUSTER = 64 * KIB


def guest() -> bytes:
    """A small disk with data that packs well and data that does not, and gaps."""
    content = bytearray(SIZE)
    content[: 70 * KIB] = noise(1, 70 * KIB)
    content[300 * KIB : 420 * KIB] = text(2, 120 * KIB)
    content[SIZE - 5 * KIB :] = noise(3, 5 * KIB)
    return bytes(content)


# All that any layer of the images below holds.
DATA = guest() + noise(4, CLUSTER) + noise(5, CLUSTER) + bytes([7]) * 512 + bytes([8]) * 512


def ours(format: str, *, layers: bool = False, changed: str = "", **options: Any) -> Callable[[str], Victim]:
    """An image that we make; with ``layers`` of a disk with a snapshot."""

    def build(folder: str) -> Victim:
        scratch = os.path.join(os.path.dirname(folder), "scratch")
        os.makedirs(scratch)
        raw = os.path.join(scratch, "disk.raw")
        Path(raw).write_bytes(guest())
        source = raw
        if layers:
            source = os.path.join(scratch, "disk.hdd")
            held = {
                index: guest()[index * CLUSTER : (index + 1) * CLUSTER].ljust(CLUSTER, b"\0") for index in (0, 1, 5, 16)
            }
            chain = line_of_layers(held, {1: noise(4, CLUSTER), 5: bytes(CLUSTER), 9: noise(5, CLUSTER)})
            build_bundle(source, size_sectors=SIZE // 512, layers=chain, cluster_sectors=CLUSTER // 512)
        name = f"disk.{format}"
        conversions.convert(Source(source), os.path.join(folder, name), format, keeps_layers=layers, **options)
        shutil.rmtree(scratch)
        return Victim(folder, name, format, changed or name)

    return build


def qemus(kind: str) -> Callable[[str], Victim]:
    """An image that QEMU makes."""

    def build(folder: str) -> Victim:
        scratch = os.path.join(os.path.dirname(folder), "disk.raw")
        Path(scratch).write_bytes(guest())
        format = foreign.KINDS[kind].format
        name = f"disk.{format}"
        foreign.make_foreign(Path(folder, name), kind, scratch)
        return Victim(folder, name, format, name)

    return build


def dirty_vhdx(folder: str) -> Victim:
    """An image whose writer died before it had put what is in its log into place."""
    require("qemu-img", "qemu-io")
    path = os.path.join(folder, "disk.vhdx")
    qemu_img("create", "-q", "-f", "vhdx", path, "4M")
    # The process ends without closing the image, as the command says.
    run("qemu-io", "-f", "vhdx", "-c", "write -P 7 0 64k", "-c", "write -P 8 1M 64k", "-c", "abort", path)
    content = Path(path).read_bytes()
    assert content[:8] == b"vhdxfile" and b"loge" in content
    return Victim(folder, "disk.vhdx", "vhdx", "disk.vhdx")


VICTIMS: Dict[str, Callable[[str], Victim]] = {
    "qcow2 v3": ours("qcow2", cluster_bytes=4 * KIB),
    "qcow2 v2": ours("qcow2", version=2, cluster_bytes=512),
    "qcow2 zlib": ours("qcow2", compression="zlib"),
    "qcow2 zstd": ours("qcow2", compression="zstd"),
    "qcow2 of qemu": qemus("qcow2 v3"),
    "qcow2 overlay": ours("qcow2", layers=True),
    "qcow2 base of an overlay": ours("qcow2", layers=True, changed="disk.layer0.qcow2"),
    "vmdk": ours("vmdk", cluster_bytes=8 * KIB),
    "vmdk of qemu": qemus("vmdk monolithicSparse"),
    "vmdk delta": ours("vmdk", layers=True),
    "vmdk streamOptimized": ours("vmdk", subformat="streamOptimized"),
    "vmdk streamOptimized of qemu": qemus("vmdk streamOptimized"),
    "vmdk monolithicFlat": ours("vmdk", subformat="monolithicFlat"),
    "vmdk twoGbMaxExtentSparse": ours("vmdk", subformat="twoGbMaxExtentSparse"),
    "vmdk piece": ours("vmdk", subformat="twoGbMaxExtentSparse", changed="disk-s001.vmdk"),
    "vhd dynamic": ours("vhd", cluster_bytes=512 * KIB),
    "vhd of qemu": qemus("vhd dynamic"),
    "vhd fixed": ours("vhd", subformat="fixed"),
    "vhd differencing": ours("vhd", layers=True, cluster_bytes=512 * KIB),
    "vhdx dynamic": ours("vhdx", cluster_bytes=MIB),
    "vhdx of qemu": qemus("vhdx dynamic"),
    "vhdx differencing": ours("vhdx", layers=True, cluster_bytes=MIB),
    "vhdx with a log": dirty_vhdx,
    "vdi dynamic": ours("vdi"),
    "vdi fixed": ours("vdi", subformat="fixed"),
    "vdi of qemu": qemus("vdi dynamic"),
}
SEALS = {"vhd": hostile.seal_vhd, "vhdx": hostile.seal_vhdx}


def victim_of(name: str, tmp_path: Path) -> Tuple[Victim, bytes]:
    if "zstd" in name:
        require_library("zstandard")
    folder = tmp_path / "vm"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(b"nobody may read this")
    victim = VICTIMS[name](str(folder))
    return victim, Path(victim.folder, victim.changed).read_bytes()


@pytest.mark.parametrize("name", list(VICTIMS))
def test_changed_bytes_end_in_bytes_or_in_a_named_error(tmp_path: Path, name: str, record_property: Any) -> None:
    victim, content = victim_of(name, tmp_path)
    mutants = mutants_of(content, DATA, seed=name, count=MUTANTS, seal=SEALS.get(victim.format))
    found = assert_all_named(outcomes(victim, mutants, str(tmp_path)))
    assert found.get("bytes", 0) and len(found) > 1, f"the mutants are all alike: {found}"
    record_property("outcomes", found)


@pytest.mark.parametrize("name", list(VICTIMS))
def test_an_image_cut_at_any_sector_ends_in_bytes_or_in_a_named_error(tmp_path: Path, name: str) -> None:
    victim, content = victim_of(name, tmp_path)
    found = assert_all_named(outcomes(victim, cuts_of(content, seed=name, most=CUTS), str(tmp_path)))
    assert sum(found.values()) > found.get("bytes", 0)


# Where the headers of each kind of image lie: start and end in bytes.
HEADERS = {
    "qcow2 v3": [(0, 128)],
    "qcow2 zlib": [(0, 128)],
    "vmdk": [(0, 80)],
    "vmdk streamOptimized": [(0, 80), (-1024, -944)],
    "vhd dynamic": [(512, 608), (-512, -416)],
    "vhd fixed": [(-512, -416)],
    "vhd differencing": [(512, 608), (1088, 1184), (-512, -416)],
    "vhdx dynamic": [(64 * KIB, 64 * KIB + 96), (192 * KIB, 192 * KIB + 96)],
    "vhdx with a log": [(64 * KIB, 64 * KIB + 96), (128 * KIB, 128 * KIB + 96), (MIB, MIB + 128)],
    "vdi dynamic": [(64, 512)],
}


@pytest.mark.parametrize("name", list(HEADERS))
def test_absurd_numbers_in_any_field_end_in_bytes_or_in_a_named_error(tmp_path: Path, name: str) -> None:
    victim, content = victim_of(name, tmp_path)
    areas = [(start % len(content), end % len(content) or len(content)) for start, end in HEADERS[name]]
    mutants = absurd_fields(content, areas, seal=SEALS.get(victim.format), all_numbers=LONG)
    found = assert_all_named(outcomes(victim, mutants, str(tmp_path)))
    assert sum(found.values()) > found.get("bytes", 0)


# Images that were made to do harm. Each builder fills a folder, beside which lies a file that nobody may open, and
# returns what to open.


def overlay(
    folder: str, name: str, parent: Optional[str], *, size: int = 64 * KIB, planted: Optional[str] = None
) -> str:
    """A small qcow2 image; ``planted`` takes the place of the name of the parent, as no careful writer would write
    it.
    """
    path = os.path.join(folder, name)
    file = OsPort().create(path)
    written = "n" * len(planted) if planted is not None else parent
    writer = Qcow2Writer(
        file, size_bytes=size, cluster_bytes=512, parent=ParentImage(written, IDENTITY) if written is not None else None
    )
    writer.write(0, noise(1, 4 * KIB))
    writer.finish(IDENTITY)
    file.close()
    if planted is not None:
        content = Path(path).read_bytes()
        assert content.count(written.encode()) == 1  # type: ignore[union-attr]
        Path(path).write_bytes(content.replace(written.encode(), planted.encode()))  # type: ignore[union-attr]
    return name


IDENTITY = "{11111111-2222-3333-4444-555555555555}"
Build = Callable[[str], str]


def names(planted: str) -> Build:
    """A qcow2 overlay on a file of that name."""
    return lambda folder: overlay(folder, "disk.qcow2", None, planted=planted)


def qcow2_circle(folder: str) -> str:
    overlay(folder, "b.qcow2", "disk.qcow2")
    return overlay(folder, "disk.qcow2", "b.qcow2")


def qcow2_circle_by_link(folder: str) -> str:
    os.symlink("disk.qcow2", os.path.join(folder, "b.qcow2"))
    return overlay(folder, "disk.qcow2", "b.qcow2")


def qcow2_tower(folder: str) -> str:
    for number in range(300):
        overlay(folder, f"{number}.qcow2", f"{number - 1}.qcow2" if number else None)
    return "299.qcow2"


def on_a_pipe(folder: str) -> str:
    os.mkfifo(os.path.join(folder, "pipe"))
    return overlay(folder, "disk.qcow2", "pipe")


def through_a_link(folder: str) -> str:
    os.symlink("../secret", os.path.join(folder, "inside"))
    return overlay(folder, "disk.qcow2", "inside")


def on_itself_as_raw(folder: str) -> str:
    """A raw parent could be any file; one that is the image itself is a circle."""
    name = overlay(folder, "disk.qcow2", "disk.qcow2")
    path = Path(folder, name)
    path.write_bytes(
        path.read_bytes().replace(
            struct.pack(">II", 0xE2792ACA, 5) + b"qcow2", struct.pack(">II", 0xE2792ACA, 3) + b"raw\0\0"
        )
    )
    return name


def qcow2_bomb(packed: bytes, **options: Any) -> Build:
    """The first packed cluster of a good image becomes ``packed``."""

    def build(folder: str) -> str:
        victim = ours("qcow2", **options)(folder)
        path = Path(folder, victim.entry)
        raw = bytearray(path.read_bytes())
        bits, table = struct.unpack_from(">I", raw, 20)[0], struct.unpack_from(">Q", raw, 40)[0]
        first = struct.unpack_from(">Q", raw, table)[0] & 0x00FFFFFFFFFFFE00
        place = next(first + 8 * index for index in range(1 << bits >> 3) if raw[first + 8 * index] & 0x40)
        start = -(-len(raw) // 512) * 512
        sectors = min(-(-len(packed) // 512), (1 << bits - 8) - 1)
        struct.pack_into(">Q", raw, place, 1 << 62 | sectors << 62 - (bits - 8) | start)
        path.write_bytes(bytes(raw).ljust(start, b"\0") + packed.ljust(512 * (sectors + 1), b"\0"))
        return victim.entry

    return build


def deflated(size: int) -> bytes:
    stream = zlib.compressobj(9, zlib.DEFLATED, -12)
    return stream.compress(bytes(size)) + stream.flush()


def zstd_bomb(folder: str) -> str:
    packed = require_library("zstandard").ZstdCompressor(level=19).compress(bytes(1 << 30))
    return qcow2_bomb(packed, compression="zstd")(folder)


def vmdk(*lines: str, kind: str = "monolithicFlat", **options: Any) -> Build:
    """A descriptor with these extents."""

    def build(folder: str) -> str:
        Path(folder, "disk-flat.vmdk").write_bytes(noise(1, MIB))
        os.symlink("../secret", os.path.join(folder, "inside"))
        os.mkfifo(os.path.join(folder, "pipe"))
        Path(folder, "disk.vmdk").write_bytes(vmdk_files.text(kind, lines, **options))
        return "disk.vmdk"

    return build


def stream_bomb(folder: str) -> str:
    grains = {0: bytes(128 << 20), 1: noise(1, 4 * KIB)}
    built = vmdk_files.stream(
        capacity=64, grains=grains, descriptor=vmdk_files.text("streamOptimized", ['RW 64 SPARSE "disk.vmdk"'])
    )
    Path(folder, "disk.vmdk").write_bytes(built.raw)
    return "disk.vmdk"


def endless_descriptor(folder: str) -> str:
    with open(os.path.join(folder, "disk.vmdk"), "wb") as stream:
        stream.write(vmdk_files.text("monolithicFlat", []))
        stream.truncate(1 << 40)
    return "disk.vmdk"


def vmdk_circle(folder: str) -> str:
    vmdk('RW 2048 FLAT "disk-flat.vmdk" 0', parent="1a2b3c4d", hint="disk.vmdk")(folder)
    return "disk.vmdk"


def parent_outside(format: str, **options: Any) -> Build:
    """The name of the parent of a differencing disk leads to the file beside the folder, in every way in which it is
    written.
    """

    def build(folder: str) -> str:
        victim = ours(format, layers=True, **options)(folder)
        name = f"disk.layer0.{format}"
        planted = "../secret".rjust(len(name), "/") if format == "vhd" else ("..\\" * 9 + "secret")[-len(name) :]
        os.unlink(os.path.join(folder, name))
        path = Path(folder, victim.entry)
        raw = path.read_bytes()
        for coding in ("utf-16-le", "utf-16-be", "ascii"):
            raw = raw.replace(name.encode(coding), planted.encode(coding))
        if format == "vhd":
            raw = patched(raw, hostile.seal_vhd(raw, ()))
        path.write_bytes(raw)
        return victim.entry

    return build


def patched(raw: bytes, patches: Tuple[Tuple[int, bytes], ...]) -> bytes:
    changed = bytearray(raw)
    for offset, patch in patches:
        changed[offset : offset + len(patch)] = patch
    return bytes(changed)


def own_parent(format: str, **options: Any) -> Build:
    """A differencing disk whose parent is a copy of itself under the name of the parent."""

    def build(folder: str) -> str:
        victim = ours(format, layers=True, **options)(folder)
        name = os.path.join(folder, f"disk.layer0.{format}")
        os.unlink(name)
        os.link(os.path.join(folder, victim.entry), name)
        return victim.entry

    return build


def piece_outside(folder: str) -> str:
    """A split VHD whose second piece is a link out of the folder."""
    victim = ours("vhd", subformat="fixed")(folder)
    raw = Path(folder, victim.entry).read_bytes()
    Path(folder, victim.entry).write_bytes(raw[: 512 * KIB])
    os.symlink("../secret", os.path.join(folder, "disk.v01"))
    Path(folder, "disk.v02").write_bytes(raw[512 * KIB :])
    return victim.entry


HARM: Dict[str, Tuple[str, Build, Set[str]]] = {
    "a circle of two": ("qcow2", qcow2_circle, {"damaged"}),
    "a circle by a link": ("qcow2", qcow2_circle_by_link, {"damaged"}),
    "a tower of overlays": ("qcow2", qcow2_tower, {"unsupported"}),
    "its own raw parent": ("qcow2", on_itself_as_raw, {"damaged"}),
    "json": ("qcow2", names('json:{"driver":"raw","file":{"driver":"file","filename":"/etc/hostname"}}'), {"escape"}),
    "json of a file inside": ("qcow2", names('json:{"file.filename":"disk.qcow2"}'), {"escape"}),
    "nbd": ("qcow2", names("nbd://127.0.0.1:10809/disk"), {"escape"}),
    "http": ("qcow2", names("http://127.0.0.1/disk"), {"escape"}),
    "a file descriptor": ("qcow2", names("fd:0"), {"escape"}),
    "the folder above": ("qcow2", names("../secret"), {"escape"}),
    "the folder above by a detour": ("qcow2", names("./../vm/../secret"), {"escape"}),
    "an absolute name": ("qcow2", names("/etc/hostname"), {"escape"}),
    "a device": ("qcow2", names("/dev/zero"), {"escape"}),
    "a link out of the folder": ("qcow2", through_a_link, {"escape"}),
    "a pipe": ("qcow2", on_a_pipe, {"unsupported"}),
    "the folder itself": ("qcow2", names("././././."), {"escape", "unsupported"}),
    "a zero in the name": ("qcow2", names("a\0b"), {"escape", "damaged"}),
    "a deflated bomb": ("qcow2", qcow2_bomb(deflated(1 << 30)[:65024], compression="zlib"), {"damaged"}),
    "a deflated bomb of one cluster too many": (
        "qcow2",
        qcow2_bomb(deflated((64 << 10) + 1), compression="zlib"),
        {"damaged"},
    ),
    "a zstd bomb": ("qcow2", zstd_bomb, {"damaged"}),
    "an extent above the folder": ("vmdk", vmdk('RW 2048 FLAT "../secret" 0'), {"escape"}),
    "an absolute extent": ("vmdk", vmdk('RW 2048 FLAT "/etc/hostname" 0'), {"escape"}),
    "an extent of a drive": ("vmdk", vmdk('RW 2048 FLAT "C:\\secret" 0'), {"escape", "missing_image"}),
    "an extent by a link": ("vmdk", vmdk('RW 1 FLAT "inside" 0'), {"escape"}),
    "an extent that is a pipe": ("vmdk", vmdk('RW 2048 FLAT "pipe" 0'), {"unsupported"}),
    "an extent that is a device": (
        "vmdk",
        vmdk('RW 2048 FLAT "/dev/zero" 0', kind="fullDevice"),
        {"escape", "unsupported"},
    ),
    "an extent behind its file": ("vmdk", vmdk('RW 2048 FLAT "disk-flat.vmdk" 4503599627370496'), {"damaged"}),
    "an endless extent": ("vmdk", vmdk('RW 18446744073709551615 FLAT "disk-flat.vmdk" 0'), {"damaged", "unsupported"}),
    "endless zeros": ("vmdk", vmdk("RW 18446744073709551615 ZERO"), {"damaged", "unsupported"}),
    "a hundred thousand extents": (
        "vmdk",
        vmdk(*['RW 2048 FLAT "disk-flat.vmdk" 0'] * 100_000),
        {"damaged", "unsupported"},
    ),
    "itself as an extent": (
        "vmdk",
        vmdk('RW 2048 SPARSE "disk.vmdk"', kind="twoGbMaxExtentSparse"),
        {"damaged", "unsupported"},
    ),
    "an endless descriptor": ("vmdk", endless_descriptor, {"damaged", "unsupported"}),
    "its own parent in vmdk": ("vmdk", vmdk_circle, {"damaged", "unsupported"}),
    "a bomb in a stream": ("vmdk", stream_bomb, {"damaged"}),
    "a vhd parent outside": ("vhd", parent_outside("vhd"), {"escape"}),
    "a vhdx parent outside": ("vhdx", parent_outside("vhdx"), {"escape"}),
    "its own parent in vhd": ("vhd", own_parent("vhd"), {"damaged"}),
    "its own parent in vhdx": ("vhdx", own_parent("vhdx"), {"damaged"}),
    "a vhd piece outside": ("vhd", piece_outside, {"escape"}),
}


@pytest.mark.parametrize("name", list(HARM))
def test_what_was_made_to_do_harm_is_refused(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "vm"
    folder.mkdir()
    (tmp_path / "secret").write_bytes(noise(1, MIB))
    format, build, expected = HARM[name]
    victim = Victim(str(folder), build(str(folder)), format, "unused")
    # Nothing is changed, so any file will do.
    (folder / "unused").write_bytes(b"")
    # As it is, for each of the ways in which it may be read.
    found = outcomes(victim, [Mutant(f"as it is, {number}") for number in range(5)], str(tmp_path))
    assert set(assert_all_named(found)) <= expected
