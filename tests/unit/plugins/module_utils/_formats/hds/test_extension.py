# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import hashlib
import struct
from pathlib import Path
from typing import Dict, List, Sequence, Tuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Damaged, DiskError, Unsupported
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds import extension as hds_extension
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import CLOSED_WITH_EXTENSION, IN_USE
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.reader import open_hds
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import images

CLUSTER_SECTORS = 64
CLUSTER = CLUSTER_SECTORS * 512
SIZE_SECTORS = 640
PD17 = struct.unpack("<I", b"pd17")[0]
BITMAP = hds_extension.DIRTY_BITMAP
Features = Sequence[Tuple[int, int, bytes]]


def bitmap(*clusters: int, size_sectors: int = SIZE_SECTORS, granularity: int = 128) -> bytes:
    return images.pack_bitmap(size_sectors=size_sectors, granularity=granularity, clusters=clusters)


def read_back(
    folder: Path, cluster: bytes, *, in_use: int = CLOSED_WITH_EXTENSION, **fields: int
) -> hds_extension.Extension | None:
    """The extension of an image with one guest cluster in slot 0, bitmap bits in slot 1 and ``cluster`` in slot 2."""
    path = folder / "disk.hds"
    given_fields: Dict[str, int] = {"ext_off": 3 * CLUSTER_SECTORS, **fields}
    images.build_hds(
        path,
        size_sectors=SIZE_SECTORS,
        clusters={3: images.fill(3, CLUSTER)},
        cluster_sectors=CLUSTER_SECTORS,
        version=2,
        in_use=in_use,
        gaps=[1],
        tail=cluster,
        **given_fields,  # type: ignore[arg-type]
    )
    image = open_hds(OsPort(), str(path))
    image.close()
    return image.extension


def extension(features: Features, **changes: int | bytes) -> bytes:
    return images.pack_extension(features, cluster_bytes=CLUSTER, **changes)  # type: ignore[arg-type]


BITS_SECTOR = 2 * CLUSTER_SECTORS


def test_a_dirty_bitmap_pins_its_clusters_and_that_of_the_extension(tmp_path: Path) -> None:
    data = bitmap(BITS_SECTOR)
    found = read_back(tmp_path, extension([(BITMAP, 0, data)]))
    assert found is not None
    assert found.offset == 3 * CLUSTER
    assert found.features == (hds_extension.Feature(BITMAP, 0, data),)
    assert found.pinned == ((2 * CLUSTER, 3 * CLUSTER), (3 * CLUSTER, 4 * CLUSTER))
    assert hds_extension.may_keep(found)


@pytest.mark.parametrize("level_1", [0, 1])
def test_a_uniform_bitmap_pins_no_cluster_of_bits(tmp_path: Path, level_1: int) -> None:
    found = read_back(tmp_path, extension([(BITMAP, 0, bitmap(level_1))]))
    assert found is not None
    assert found.pinned == ((3 * CLUSTER, 4 * CLUSTER),)


def test_several_bitmaps_are_all_found(tmp_path: Path) -> None:
    found = read_back(tmp_path, extension([(BITMAP, 0, bitmap(0)), (BITMAP, 0, bitmap(BITS_SECTOR))]))
    assert found is not None
    assert len(found.features) == 2
    assert len(found.pinned) == 2


def test_an_empty_list_is_an_extension_that_may_be_kept(tmp_path: Path) -> None:
    found = read_back(tmp_path, extension([]))
    assert found is not None
    assert (found.features, hds_extension.may_keep(found)) == ((), True)


@pytest.mark.parametrize("in_use", [0, IN_USE])
def test_an_image_closed_without_it_or_not_closed_has_no_extension(tmp_path: Path, in_use: int) -> None:
    assert read_back(tmp_path, extension([(BITMAP, 0, bitmap(0))]), in_use=in_use) is None


def test_an_image_without_offset_has_no_extension(tmp_path: Path) -> None:
    assert read_back(tmp_path, b"", ext_off=0) is None


def test_another_signature_counts_only_with_a_valid_cluster(tmp_path: Path) -> None:
    assert read_back(tmp_path, extension([(BITMAP, 0, bitmap(0))]), in_use=PD17) is not None
    assert read_back(tmp_path, extension([], magic=1), in_use=PD17) is None
    assert read_back(tmp_path, extension([], digest=bytes(16)), in_use=PD17) is None
    assert read_back(tmp_path, b"", in_use=PD17, ext_off=(1 << 64) - 1) is None


@pytest.mark.parametrize(
    "cluster, fields",
    [
        pytest.param(extension([], magic=1), {}, id="magic"),
        pytest.param(extension([], digest=b"\x01" * 16), {}, id="checksum"),
        pytest.param(b"", {}, id="behind the file"),
        pytest.param(extension([])[:-1], {}, id="partly behind the file"),
        pytest.param(extension([]), {"ext_off": (1 << 64) - 1}, id="largest offset"),
        pytest.param(extension([(BITMAP, 0, bitmap(0)[:31])]), {}, id="bitmap cut off"),
        pytest.param(
            extension([(BITMAP, 0, bitmap(0, size_sectors=SIZE_SECTORS + 1))]), {}, id="bitmap of another size"
        ),
        pytest.param(extension([(BITMAP, 0, bitmap(0, granularity=100))]), {}, id="granularity"),
        pytest.param(extension([(BITMAP, 0, bitmap(0, granularity=0))]), {}, id="granularity of nothing"),
        pytest.param(extension([(BITMAP, 0, bitmap())]), {}, id="level 1 too short"),
        pytest.param(extension([(BITMAP, 0, bitmap(0, 0))]), {}, id="level 1 too long"),
        pytest.param(extension([(BITMAP, 0, bitmap(0)[:-8])]), {}, id="level 1 cut off"),
        pytest.param(extension([(BITMAP, 0, bitmap(4 * CLUSTER_SECTORS))]), {}, id="bits behind the file"),
        pytest.param(extension([(BITMAP, 0, bitmap((1 << 64) - 1))]), {}, id="bits far behind the file"),
        pytest.param(extension([(7, 0, bytes(CLUSTER - 48))]), {}, id="list without end"),
    ],
)
def test_what_the_signature_promises_must_hold(tmp_path: Path, cluster: bytes, fields: Dict[str, int]) -> None:
    with pytest.raises(Damaged) as caught:
        read_back(tmp_path, cluster, **fields)
    assert caught.value.path == str(tmp_path / "disk.hds")
    assert caught.value.offset is not None


def test_a_feature_longer_than_the_cluster_is_damage(tmp_path: Path) -> None:
    body = struct.pack("<QQII", 7, 0, CLUSTER, 0).ljust(CLUSTER - 24, b"\0")
    whole = bytearray(extension([]))
    whole[24:] = body
    whole[8:24] = hashlib.md5(body).digest()
    with pytest.raises(Damaged):
        read_back(tmp_path, bytes(whole))


def test_a_necessary_unknown_feature_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        read_back(tmp_path, extension([(7, hds_extension.FLAG_NECESSARY, b"")]))


@pytest.mark.parametrize("flags", [0, hds_extension.FLAG_TRANSIT])
def test_another_unknown_feature_is_shown_but_not_kept(tmp_path: Path, flags: int) -> None:
    found = read_back(tmp_path, extension([(7, flags, b"12345"), (BITMAP, 0, bitmap(0))]))
    assert found is not None
    assert found.features[0] == hds_extension.Feature(7, flags, b"12345")
    assert found.features[1].magic == BITMAP
    assert not hds_extension.may_keep(found)


def test_a_list_of_too_many_features_is_unsupported(tmp_path: Path) -> None:
    with pytest.raises(Unsupported):
        read_back(tmp_path, extension([(7, 0, b"")] * 1025))


@given(
    features=st.lists(
        st.tuples(st.one_of(st.just(BITMAP), st.integers(0, 9)), st.integers(0, 3), st.binary(max_size=60)), max_size=4
    ),
    junk=st.binary(max_size=64),
)
def test_random_lists_end_in_an_extension_or_an_error(
    tmp_path_factory: pytest.TempPathFactory, features: List[Tuple[int, int, bytes]], junk: bytes
) -> None:
    body = (
        b"".join(
            struct.pack("<QQII", number, flags, len(data), 0) + data + bytes(-len(data) % 8)
            for number, flags, data in features
        )
        + junk
    )
    whole = bytearray(extension([]))
    whole[24 : 24 + len(body)] = body
    whole[8:24] = hashlib.md5(whole[24:]).digest()
    try:
        found = read_back(tmp_path_factory.mktemp("image"), bytes(whole))
    except DiskError:
        return
    assert found is not None
    assert all(start < end <= 4 * CLUSTER for start, end in found.pinned)
