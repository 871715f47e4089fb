# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import inspect
from pathlib import Path
from typing import Any, List, Tuple

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import IoFailure, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.writer import HdsWriter
from ansible_collections.vdisk.parallels.plugins.module_utils._io.digesting import DigestingFile
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort

PORT = OsPort()
KIB = 1 << 10
NAMES = ["pwrite", "pwrite", "pwrite", "truncate", "allocate", "punch_hole", "copy_from", "hexdigest"]
CALLS = st.tuples(st.sampled_from(NAMES), st.integers(0, 3000), st.integers(0, 900))


class Model:
    """A file as a bytearray, which may refuse to copy or copy only some."""

    path = "/file"

    def __init__(self, content: bytes = b"", *, copies: int = 1 << 20) -> None:
        self.content = bytearray(content)
        self.copies = copies
        self.called: List[str] = []

    def size(self) -> int:
        return len(self.content)

    def pread_into(self, offset: int, buffer: Any) -> int:
        part = self.content[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    def pwrite(self, offset: int, buffer: Any) -> None:
        data = bytes(buffer)
        if data:
            self.content.extend(bytes(max(0, offset + len(data) - len(self.content))))
            self.content[offset : offset + len(data)] = data

    def truncate(self, size: int) -> None:
        del self.content[size:]
        self.content.extend(bytes(size - len(self.content)))

    def allocate(self, offset: int, length: int) -> None:
        if length:
            self.content.extend(bytes(max(0, offset + length - len(self.content))))

    def punch_hole(self, offset: int, length: int) -> bool:
        stop = max(offset, min(offset + length, len(self.content)))
        if self.copies:
            self.content[offset:stop] = bytes(stop - offset)
        return self.copies > 0

    def copy_from(self, source: Any, source_offset: int, offset: int, length: int) -> int:
        done = min(length, self.copies)
        self.pwrite(offset, source.content[source_offset : source_offset + done])
        return done

    def __getattr__(self, name: str) -> Any:
        return lambda *arguments: self.called.append(name)


def digest_of(content: Any, algorithm: str = "sha256") -> str:
    return hashlib.new(algorithm, bytes(content)).hexdigest()


def call(file: DigestingFile, source: Model, name: str, offset: int, length: int) -> None:
    arguments = {
        "pwrite": (offset, bytes(index % 251 for index in range(length))),
        "truncate": (offset,),
        "allocate": (offset, length),
        "punch_hole": (offset, length),
        "copy_from": (source, 100, offset, length),
        "hexdigest": (),
    }
    getattr(file, name)(*arguments[name])


@given(st.lists(CALLS, max_size=10), st.booleans(), st.sampled_from([0, 100, 1 << 20]))
@example([("truncate", 2000, 0), ("pwrite", 5, 20), ("pwrite", 1000, 10), ("truncate", 1010, 0)], False, 0)
@example([("pwrite", 5, 20), ("truncate", 10, 0), ("pwrite", 25, 20)], False, 0)
def test_the_digest_is_that_of_the_file_or_none(
    calls: List[Tuple[str, int, int]], ascending: bool, copies: int
) -> None:
    model, source = Model(copies=copies), Model(bytes(range(256)) * 5)
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    behind = 0
    for name, offset, length in calls:
        if ascending:
            offset += behind
            behind = max(behind, offset + (length if name != "truncate" else 0), len(model.content))
        call(file, source, name, offset, length)
        behind = max(behind, len(model.content))
    found = file.hexdigest()
    assert found in (digest_of(model.content), None)
    if ascending:
        assert found is not None


@given(st.lists(CALLS, max_size=10), st.lists(CALLS, min_size=1, max_size=3))
def test_once_given_up_the_digest_never_comes_back(
    first: List[Tuple[str, int, int]], then: List[Tuple[str, int, int]]
) -> None:
    model, source = Model(), Model(bytes(2000))
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    for one in first:
        call(file, source, *one)
    file.pwrite(5000, b"12")
    file.pwrite(5001, b"3")
    assert file.hexdigest() is None
    for one in then:
        call(file, source, *one)
    assert file.hexdigest() is None


@pytest.mark.parametrize(
    "calls, is_known",
    [
        pytest.param([], True, id="nothing"),
        pytest.param([("pwrite", 0, 10), ("pwrite", 10, 5)], True, id="one behind the other"),
        pytest.param([("pwrite", 0, 10), ("pwrite", 9, 1)], False, id="over the end"),
        pytest.param([("pwrite", 0, 10), ("pwrite", 9, 0)], True, id="nothing written over the end"),
        pytest.param([("pwrite", 70, 10), ("pwrite", 600, 5), ("truncate", 3000, 0)], True, id="gaps"),
        pytest.param([("pwrite", 70, 10), ("pwrite", 0, 5)], False, id="back into a gap"),
        pytest.param([("truncate", 3000, 0), ("pwrite", 0, 10), ("pwrite", 50, 10)], True, id="grown before"),
        pytest.param([("allocate", 0, 900), ("pwrite", 0, 10), ("pwrite", 50, 10)], True, id="reserved before"),
        pytest.param([("pwrite", 0, 10), ("truncate", 9, 0)], False, id="cut"),
        pytest.param([("pwrite", 0, 10), ("truncate", 10, 0)], True, id="cut at the end"),
        pytest.param([("pwrite", 0, 10), ("truncate", 3000, 0), ("truncate", 20, 0)], True, id="zeros cut off again"),
        pytest.param([("pwrite", 0, 10), ("allocate", 0, 5)], True, id="reserved again"),
        pytest.param([("pwrite", 0, 10), ("punch_hole", 9, 5)], False, id="a hole over the end"),
        pytest.param(
            [("pwrite", 0, 10), ("truncate", 900, 0), ("punch_hole", 10, 50), ("pwrite", 70, 5)],
            True,
            id="a hole among zeros",
        ),
        pytest.param([("pwrite", 0, 10), ("punch_hole", 5, 0)], True, id="no hole"),
        pytest.param([("pwrite", 0, 10), ("copy_from", 20, 300), ("pwrite", 320, 5)], True, id="copied by the kernel"),
        pytest.param([("pwrite", 0, 10), ("copy_from", 9, 300)], False, id="copied over the end"),
    ],
)
def test_when_the_digest_is_known(calls: List[Tuple[str, int, int]], is_known: bool) -> None:
    model, source = Model(), Model(bytes(range(256)) * 5)
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    for one in calls:
        call(file, source, *one)
    assert file.hexdigest() == (digest_of(model.content) if is_known else None)
    assert file.hexdigest() == (digest_of(model.content) if is_known else None)


def test_a_copy_that_did_nothing_changes_nothing() -> None:
    model, source = Model(copies=0), Model(bytes(100))
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    file.pwrite(0, b"abc")
    assert file.copy_from(source, 0, 0, 50) == 0
    assert file.hexdigest() == digest_of(b"abc")


def test_what_a_server_would_copy_is_written_to_be_seen() -> None:
    class Served(Model):
        def copy_on_server(self, *_where: Any) -> bool:
            raise AssertionError("it would have to be read back")

    assert not DigestingFile(Served(), "sha256").copy_on_server(Model(bytes(100)), 0, 0, 50)  # type: ignore[arg-type]


def test_long_gaps_and_long_copies(tmp_path: Path) -> None:
    source = PORT.create(str(tmp_path / "source"))
    source.pwrite(0, bytes(range(256)) * 4000)
    file = DigestingFile(PORT.create(str(tmp_path / "file")), "sha512")
    file.pwrite(700 * KIB + 3, b"abc")
    if not file.copy_from(source, 5, 1500 * KIB, 600 * KIB):
        file.pwrite(1500 * KIB, (bytes(range(256)) * 4000)[5 : 5 + 600 * KIB])
    file.truncate(3000 * KIB + 1)
    assert file.hexdigest() == digest_of((tmp_path / "file").read_bytes(), "sha512")
    assert file.size() == 3000 * KIB + 1
    file.close()
    assert file.hexdigest() == digest_of((tmp_path / "file").read_bytes(), "sha512")
    source.close()


@pytest.mark.parametrize("algorithm", ["sha256", "sha1", "md5", "sha512", "blake2b"])
def test_the_algorithm_is_the_one_asked_for(algorithm: str) -> None:
    model = Model()
    try:
        file = DigestingFile(model, algorithm)  # type: ignore[arg-type]
    except Unsupported:
        pytest.skip(f"this Python has no {algorithm}")
    file.pwrite(3, memoryview(b"12345678").cast("Q"))
    assert file.hexdigest() == digest_of(b"\0\0\x0012345678", algorithm)


@pytest.mark.parametrize("algorithm", ["sha257", "", "shake_128"])
def test_an_algorithm_that_there_is_not_is_refused(algorithm: str) -> None:
    with pytest.raises(Unsupported):
        DigestingFile(Model(), algorithm)  # type: ignore[arg-type]


def test_a_file_that_is_not_empty_cannot_be_followed() -> None:
    file = DigestingFile(Model(b"old"), "sha256")  # type: ignore[arg-type]
    file.pwrite(3, b"new")
    assert file.hexdigest() is None


@pytest.mark.parametrize("name", ["pwrite", "truncate", "allocate", "copy_from"])
def test_after_a_failure_nothing_is_known(name: str) -> None:
    model = Model()
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    file.pwrite(0, b"abc")

    def fail(*_arguments: Any) -> None:
        raise IoFailure("full")

    setattr(model, name, fail)
    with pytest.raises(IoFailure):
        call(file, Model(bytes(2000)), name, 10, 10)
    assert file.hexdigest() is None


def test_everything_else_goes_to_the_file() -> None:
    wanted = {
        name: list(inspect.signature(method).parameters)
        for name, method in inspect.getmembers(File, inspect.isfunction)
        if name[0] != "_"
    }
    assert {name: list(inspect.signature(getattr(DigestingFile, name)).parameters) for name in wanted} == wanted
    model = Model()
    file = DigestingFile(model, "sha256")  # type: ignore[arg-type]
    file.pwrite(0, b"abc")
    buffer = bytearray(2)
    assert (file.path, file.size(), file.pread_into(1, buffer), buffer) == ("/file", 3, 2, b"bc")
    file.data_ranges(0, 3)
    file.sync()
    file.start_writeback(0, 3)
    file.will_need(0, 3)
    file.close()
    assert model.called == ["data_ranges", "sync", "start_writeback", "will_need", "close"]


def test_an_image_whose_header_comes_last_must_be_read(tmp_path: Path) -> None:
    file = DigestingFile(PORT.create(str(tmp_path / "disk.hds")), "sha256")
    writer = HdsWriter(file, size_bytes=64 << 20, cluster_bytes=1 << 20, version=2)
    writer.write(0, b"abc")
    assert file.hexdigest() is not None
    writer.finish()
    assert file.hexdigest() is None
    file.close()
