# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes as people write and read them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import (
    GIB,
    KIB,
    MIB,
    TIB,
    ceil_div,
    counted,
    format_size,
    parse_size,
    round_up,
)


@pytest.mark.parametrize(
    "text, size",
    [
        ("0", 0),
        (512, 512),
        ("512", 512),
        ("512B", 512),
        ("64K", 64 * KIB),
        ("64k", 64 * KIB),
        ("64KB", 64 * KIB),
        ("64KiB", 64 * KIB),
        ("64kib", 64 * KIB),
        (" 1 M ", MIB),
        ("1.5G", 3 * GIB // 2),
        ("0.5K", 512),
        ("2T", 2 * TIB),
        ("1P", 1024 * TIB),
        ("18446744073709551615", (1 << 64) - 1),
    ],
)
def test_a_size_is_understood(text: object, size: int) -> None:
    assert parse_size(text) == size  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "M",
        "-1",
        "-1M",
        "+1",
        "1e3",
        "0x10",
        "1.M",
        ".5M",
        "1,5M",
        "1 2",
        "1MM",
        "1X",
        "1Mi",
        "٣x",
        "1_000",
        "nan",
        "inf",
        True,
        None,
        1.5e300,
        "9" * 21,
        "1\n2",
    ],
)
def test_what_is_no_size_is_refused(text: object) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_size(text, option="threshold")  # type: ignore[arg-type]
    assert str(caught.value).startswith("threshold: ")


@pytest.mark.parametrize("number, text", [(0, "0 errors"), (1, "1 error"), (2, "2 errors")])
def test_a_number_of_things_is_said_in_words(number: int, text: str) -> None:
    assert counted(number, "error") == text


def test_a_fraction_must_come_to_whole_bytes() -> None:
    assert parse_size("0.5K") == 512
    with pytest.raises(BadRequest):
        parse_size("0.3K")
    with pytest.raises(BadRequest):
        parse_size("1.5")


def test_a_long_wrong_text_is_not_repeated_in_full() -> None:
    with pytest.raises(BadRequest) as caught:
        parse_size("x" * 100_000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    "size, text",
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (KIB, "1 KiB"),
        (1536, "1.5 KiB"),
        (MIB, "1 MiB"),
        (3 * GIB // 2, "1.5 GiB"),
        (TIB, "1 TiB"),
        (5000 * TIB, "5000 TiB"),
        (-MIB, "-1 MiB"),
    ],
)
def test_a_size_is_written_for_people(size: int, text: str) -> None:
    assert format_size(size) == text


@given(st.integers(0, 1 << 62), st.sampled_from(["", "K", "M", "G", "T", "P"]))
def test_whole_numbers_with_a_unit_are_multiplied(number: int, unit: str) -> None:
    assert parse_size(f"{number}{unit}") == number << 10 * " KMGTP".index(unit or " ")


@given(st.integers(0, 1 << 64), st.integers(1, 1 << 40))
def test_rounding_up_gives_the_next_multiple(value: int, step: int) -> None:
    rounded = round_up(value, step)
    assert rounded % step == 0
    assert 0 <= rounded - value < step
    assert ceil_div(value, step) == rounded // step
