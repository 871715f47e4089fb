# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import importlib.util
import random
import sys
import zlib
from types import ModuleType

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.qcow2.codec import packer, unpacker

HAS_ZSTD = importlib.util.find_spec("zstandard") is not None or sys.version_info >= (3, 14)
KINDS = [
    "zlib",
    pytest.param("zstd", marks=pytest.mark.skipif(not HAS_ZSTD, reason="zstd is not installed (package zstandard)")),
]
TEXT = b"".join(b"line %d of a text\n" % number for number in range(5000))[:65536]
NOISE = random.Random(1).getrandbits(8 * 65536).to_bytes(65536, "big")


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(
    "content", [TEXT, bytes(65536), TEXT[:512], NOISE[:30000] + bytes(35536)], ids=["text", "zeros", "small", "half"]
)
def test_what_is_packed_is_unpacked_whatever_follows_it(kind: str, content: bytes) -> None:
    pack, unpack = packer(kind, None, path="x"), unpacker(kind, path="x")
    packed = pack(content)
    assert packed is not None and len(packed) < len(content)
    assert pack(content) == packed
    for rest in (b"", bytes(511), b"\xff" * 300, packed):
        assert unpack(packed + rest, len(content)) == content


@pytest.mark.parametrize("kind", KINDS)
def test_another_length_or_damage_is_noticed(kind: str) -> None:
    pack, unpack = packer(kind, None, path="x"), unpacker(kind, path="x")
    packed = pack(TEXT)
    assert packed is not None
    assert unpack(packed, len(TEXT) - 1) is None
    assert unpack(packed, len(TEXT) + 1) is None
    assert unpack(packed[: len(packed) // 2], len(TEXT)) is None
    assert unpack(b"", 512) is None
    assert unpack(b"\xff" * 600, 512) is None
    # A bomb: far more comes out than there is room for.
    bomb = pack(bytes(1 << 24))
    assert bomb is not None and unpack(bomb, 65536) is None


@pytest.mark.parametrize("kind", KINDS)
def test_noise_is_not_packed(kind: str) -> None:
    pack = packer(kind, None, path="x")
    assert pack(NOISE) is None
    assert pack(NOISE[:512]) is None


def test_deflate_looks_back_no_farther_than_qemu_does() -> None:
    block = NOISE[:5000]
    packed = packer("zlib", 9, path="x")(block * 2 + bytes(20000))
    assert packed is not None
    # The second copy lies beyond 4 KiB, so it is stored again.
    assert len(packed) > 2 * len(block)
    stream = zlib.decompressobj(-12)
    assert stream.decompress(packed) == block * 2 + bytes(20000)


def test_a_wider_window_is_read() -> None:
    content = NOISE[:20000] * 2
    stream = zlib.compressobj(6, zlib.DEFLATED, -15)
    packed = stream.compress(content) + stream.flush()
    assert len(packed) < 25000
    assert unpacker("zlib", path="x")(packed, len(content)) == content


@given(st.binary(max_size=600), st.sampled_from([512, 4096]))
def test_any_bytes_give_all_or_nothing(packed: bytes, length: int) -> None:
    content = unpacker("zlib", path="x")(packed, length)
    assert content is None or len(content) == length


@pytest.mark.parametrize("kind, level", [("zlib", 0), ("zlib", 10), ("zlib", -1), ("zstd", 0), ("zstd", 20)])
def test_a_level_that_does_not_exist_is_a_bad_request(kind: str, level: int) -> None:
    with pytest.raises(BadRequest) as caught:
        packer(kind, level, path="x")
    assert caught.value.message.startswith("compression_level")


def test_without_zstd_the_package_to_install_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "compression.zstd", None)
    monkeypatch.setitem(sys.modules, "zstandard", None)
    for attempt in (lambda: packer("zstd", None, path="x"), lambda: unpacker("zstd", path="x")):
        with pytest.raises(Unsupported) as caught:
            attempt()
        assert "zstandard" in (caught.value.hint or "")


def test_the_module_of_the_standard_library_comes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    class Failure(Exception):
        pass

    class Decompressor:
        def __init__(self, options: dict) -> None:
            assert options == {"window": 23}

        def decompress(self, packed: bytes, length: int) -> bytes:
            if packed == b"bad":
                raise Failure
            return (packed * 1000)[:length]

    module = ModuleType("compression.zstd")
    module.ZstdError = Failure  # type: ignore[attr-defined]
    module.ZstdDecompressor = Decompressor  # type: ignore[attr-defined]
    module.DecompressionParameter = type("Parameter", (), {"window_log_max": "window"})  # type: ignore[attr-defined]
    module.compress = lambda content, level: b"%d:%d" % (level, len(content))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "compression.zstd", module)
    assert packer("zstd", 5, path="x")(bytes(512)) == b"5:512"
    unpack = unpacker("zstd", path="x")
    assert unpack(b"abcd", 4000) == b"abcd" * 1000
    assert unpack(b"abcd", 3999) is None
    assert unpack(b"bad", 3) is None
