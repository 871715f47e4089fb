# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from typing import List

from ansible_collections.vdisk.parallels.plugins.module_utils._formats.cache import Cache


def test_values_are_made_once_by_few_keys_and_forgotten_by_many() -> None:
    made: List[str] = []
    cache: Cache[str] = Cache(2)

    def asked(key: str) -> str:
        return cache.of(key, lambda: made.append(key) or key * 2)  # type: ignore[func-returns-value]

    assert [asked(key) for key in "aabba"] == ["aa", "aa", "bb", "bb", "aa"]
    assert made == ["a", "b"]
    asked("c")
    assert [asked(key) for key in "cab"] == ["cc", "aa", "bb"]
    assert made == ["a", "b", "c", "b"]


def test_an_empty_value_is_a_value() -> None:
    made: List[int] = []
    cache: Cache[bytes] = Cache(1)
    for _time in range(2):
        assert cache.of(0, lambda: made.append(1) or b"") == b""  # type: ignore[func-returns-value]
    assert made == [1]


def test_who_comes_second_takes_what_the_first_one_made() -> None:
    cache: Cache[List[int]] = Cache(1)
    first: List[int] = []

    def slow() -> List[int]:
        assert cache.of(0, lambda: first) is first
        return []

    assert cache.of(0, slow) is first


def test_a_failure_is_not_remembered() -> None:
    cache: Cache[float] = Cache(1)
    try:
        cache.of(0, lambda: 1 / 0)
    except ZeroDivisionError:
        pass
    assert cache.of(0, lambda: 2.0) == 2.0
