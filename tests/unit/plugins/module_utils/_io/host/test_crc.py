# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever computes it, the CRC-32 is that of zlib; a library that is absent, old or wrong is not used."""

from __future__ import annotations

import ctypes
import sys
import zlib
from typing import Any, Callable, Dict

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._io.host import crc

CONTENT = bytes(number * number % 251 for number in range(70_000))


def of_library(name: str) -> Any:
    try:
        return getattr(crc, f"_of_{name}")(ctypes)
    except (OSError, AttributeError):
        return None


@pytest.fixture(name="fresh", autouse=True)
def fresh_fixture(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(crc, "_best", None)


def makers() -> Dict[str, Callable[[], Any]]:
    return {
        "what is chosen": crc.fast_crc32,
        "libdeflate": lambda: of_library("libdeflate"),
        "liblzma": lambda: of_library("liblzma"),
    }


@pytest.mark.parametrize("name", makers())
@given(st.integers(0, 70_000), st.integers(0, 70_000), st.integers(0, (1 << 32) - 1))
def test_the_number_is_that_of_zlib(name: str, start: int, end: int, value: int) -> None:
    crc32 = makers()[name]()
    if crc32 is None:
        pytest.skip(f"{name} is not here, or too old")
    part = memoryview(bytearray(CONTENT))[start:end]
    assert crc32(part, value) == zlib.crc32(part, value)


@pytest.mark.parametrize("name", makers())
def test_buffers_of_every_kind_are_taken(name: str) -> None:
    crc32 = makers()[name]()
    if crc32 is None:
        pytest.skip(f"{name} is not here, or too old")
    assert crc32(memoryview(CONTENT), 0) == zlib.crc32(CONTENT)
    words = memoryview(bytearray(CONTENT)).cast("I")
    assert crc32(words, 0) == zlib.crc32(CONTENT)
    with pytest.raises(BufferError):
        crc32(memoryview(bytearray(CONTENT))[::2], 0)


class Library:
    """A library that says of itself what it is told to."""

    def __init__(self, version: int, answer: Callable[[int, int, int], int]) -> None:
        self.lzma_version_number = lambda: version
        self.lzma_crc32 = _Function(answer)
        self.libdeflate_crc32 = _Function(lambda value, address, length: answer(address, length, value))


class _Function:
    def __init__(self, answer: Callable[[int, int, int], int]) -> None:
        self._answer = answer

    def __call__(self, *arguments: int) -> int:
        return self._answer(*arguments)


def right(address: int, length: int, value: int) -> int:
    return zlib.crc32(ctypes.string_at(address, length), value)


def wrong_when(condition: Callable[[int, int, int], bool]) -> Callable[[int, int, int], int]:
    return lambda address, length, value: right(address, length, value) ^ condition(address, length, value)


WRONG = [
    wrong_when(lambda _address, length, _value: length == 1),
    wrong_when(lambda _address, length, _value: length > 1000),
    wrong_when(lambda _address, length, _value: length > 1000 and length % 16 != 0),
    wrong_when(lambda address, _length, _value: address % 8 != 0),
    wrong_when(lambda _address, _length, value: value != 0),
    wrong_when(lambda _address, _length, value: value == 0),
]


def _loading(monkeypatch: pytest.MonkeyPatch, libraries: Dict[str, Library], machine: str = "x86_64") -> None:
    def load(name: str) -> Library:
        if name not in libraries:
            raise OSError(f"{name}: cannot open shared object file")
        return libraries[name]

    monkeypatch.setattr(ctypes, "CDLL", load)
    monkeypatch.setattr(crc.sys, "platform", "linux")
    monkeypatch.setattr(crc.os, "uname", lambda: type("Names", (), {"machine": machine}))


LZMA, DEFLATE = "liblzma.so.5", "libdeflate.so.0"
NEW = 50060022


@pytest.mark.parametrize(
    ("libraries", "machine", "is_used"),
    [
        ({LZMA: Library(NEW, right)}, "x86_64", True),
        ({LZMA: Library(NEW - 1, right)}, "x86_64", False),
        ({LZMA: Library(NEW, WRONG[0])}, "x86_64", False),
        ({LZMA: Library(NEW, right)}, "riscv64", False),
        ({DEFLATE: Library(0, right)}, "aarch64", True),
        ({DEFLATE: Library(0, WRONG[0])}, "aarch64", False),
        ({DEFLATE: Library(0, WRONG[0]), LZMA: Library(NEW, right)}, "aarch64", True),
        ({}, "x86_64", False),
    ],
)
def test_a_library_is_used_when_it_is_new_and_right(
    monkeypatch: pytest.MonkeyPatch, libraries: Dict[str, Library], machine: str, is_used: bool
) -> None:
    _loading(monkeypatch, libraries, machine)
    crc32 = crc.fast_crc32()
    assert (crc32 is not zlib.crc32) == is_used
    assert crc32(memoryview(bytearray(CONTENT)), 7) == zlib.crc32(CONTENT, 7)
    assert crc.fast_crc32() is crc32


@pytest.mark.parametrize("answer", WRONG)
def test_a_library_that_is_wrong_now_and_then_is_not_used(
    monkeypatch: pytest.MonkeyPatch, answer: Callable[[int, int, int], int]
) -> None:
    _loading(monkeypatch, {LZMA: Library(NEW, answer), DEFLATE: Library(0, answer)})
    assert crc.fast_crc32() is zlib.crc32


def test_a_library_without_the_function_is_passed_over(monkeypatch: pytest.MonkeyPatch) -> None:
    _loading(monkeypatch, {DEFLATE: object(), LZMA: object()})  # type: ignore[dict-item]
    assert crc.fast_crc32() is zlib.crc32


def test_a_python_without_ctypes_has_zlib(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ctypes", None)
    assert crc.fast_crc32() is zlib.crc32


def test_macos_has_a_zlib_that_is_fast(monkeypatch: pytest.MonkeyPatch) -> None:
    _loading(monkeypatch, {DEFLATE: Library(0, right)})
    monkeypatch.setattr(crc.sys, "platform", "darwin")
    assert crc.fast_crc32() is zlib.crc32
