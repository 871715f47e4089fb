# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The members of tar archives that Python and GNU tar make."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from pathlib import Path
from typing import Dict

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers import tar
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.segments import SegmentedFile
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.containers.tar import read_entries
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort
from ansible_collections.vdisk.parallels.tests.support.oracles import require

LONG = "a" * 90 + "/" + "b" * 160 + "/ü.vmdk"
FILES = {"./box.ovf": b"<x/>", "dir/disk.vmdk": fill(1, 1000), "empty": b"", LONG: fill(2, 512)}


def archive(files: Dict[str, bytes], format: int = tarfile.GNU_FORMAT) -> bytes:
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=format) as writing:
        for kind, name in ((tarfile.DIRTYPE, "dir"), (tarfile.SYMTYPE, "link"), (tarfile.LNKTYPE, "hard")):
            special = tarfile.TarInfo(name)
            special.type, special.linkname = kind, "/etc/hostname"
            writing.addfile(special)
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            writing.addfile(info, io.BytesIO(content))
    return stream.getvalue()


def entries(raw: bytes) -> Dict[str, bytes]:
    port = MemoryPort()
    port.plant_file("/a.tar", raw)
    file = port.open_read("/a.tar")
    found = {}
    for entry in read_entries(file):
        content = bytearray(entry.size)
        assert SegmentedFile("/x", file, entry.stretches, entry.size).pread_into(0, content) == entry.size
        found[entry.name] = bytes(content)
    return found


@pytest.mark.parametrize("format", [tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
def test_the_files_are_found_whatever_their_names(format: int) -> None:
    assert entries(archive(FILES, format)) == {name.replace("./", ""): content for name, content in FILES.items()}


def test_an_archive_of_posix_has_long_names_in_two_parts() -> None:
    name = "p" * 120 + "/" + "n" * 80
    assert list(entries(archive({name: b"x"}, tarfile.USTAR_FORMAT))) == [name]


def test_the_last_of_two_files_of_one_name_counts() -> None:
    whole = archive({"a": b"old"})
    end = whole.index(b"old") + 512
    assert entries(whole[: end // 512 * 512] + archive({"a": b"new"})) == {"a": b"new"}


def test_names_that_lead_out_are_left_out() -> None:
    assert entries(archive({"../a": b"x", "/etc/b": b"y", "c/../../d": b"z", "c/../e": b"w"})) == {
        "etc/b": b"y",
        "e": b"w",
    }


def test_sparse_files_of_gnu_tar_have_their_holes(tmp_path: Path) -> None:
    require("tar")
    with open(tmp_path / "disk.img", "wb") as stream:
        # More stretches than a header and one more block hold.
        for number in range(40):
            stream.seek(number * 1 << 20)
            stream.write(fill(number, 4096))
        stream.truncate(41 << 20)
    subprocess.run(["tar", "-C", str(tmp_path), "-cSf", str(tmp_path / "a.tar"), "disk.img"], check=True)
    raw = (tmp_path / "a.tar").read_bytes()
    if len(raw) > 20 << 20:
        pytest.skip("the file system of the test keeps no holes")
    assert entries(raw) == {"disk.img": (tmp_path / "disk.img").read_bytes()}
    assert os.path.getsize(tmp_path / "a.tar") < 1 << 20


@pytest.mark.parametrize(
    "change, error",
    [
        pytest.param(lambda raw: raw[:700], Damaged, id="cut in a header"),
        pytest.param(lambda raw: raw[: raw.index(fill(1, 1000)) + 100], Damaged, id="cut in a member"),
        pytest.param(lambda raw: b"x" + raw[1:], Damaged, id="wrong checksum"),
        pytest.param(lambda raw: raw[:124] + b"zzzzzzzzzzz\0" + raw[136:], Damaged, id="no number"),
        pytest.param(lambda raw: raw[:124] + b"\xff" * 12 + raw[136:], Damaged, id="absurd number"),
    ],
)
def test_what_is_wrong_is_damaged(change: object, error: type) -> None:
    with pytest.raises(error) as caught:
        entries(change(archive(FILES)))  # type: ignore[operator]
    assert caught.value.path == "/a.tar"


def test_the_end_may_be_missing() -> None:
    raw = archive({"a": b"x" * 512})
    assert entries(raw[: raw.index(b"x" * 512) + 512]) == {"a": b"x" * 512}


def test_too_many_members_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tar, "MOST_MEMBERS", 6)
    assert len(entries(archive({"a": b"", "b": b"", "c": b""}))) == 3
    with pytest.raises(Unsupported):
        entries(archive({"a": b"", "b": b"", "c": b"", "d": b""}))


def test_numbers_end_at_a_zero_byte_and_old_checksums_are_signed() -> None:
    raw = bytearray(archive({"ä": b"x"}, tarfile.USTAR_FORMAT))
    at = raw.rindex(b"\xc3\xa4") // 512 * 512
    raw[at + 124 : at + 136] = b"00000000001\0"
    raw[at + 130 : at + 136] = b"\0junk!"
    raw[at + 124 : at + 130] = b"000001"
    raw[at + 148 : at + 156] = b" " * 8
    signed = sum(byte - 256 * (byte > 127) for byte in raw[at : at + 512])
    raw[at + 148 : at + 156] = f"{signed:06o}\0 ".encode()
    assert entries(bytes(raw)) == {"ä": b"x"}
