# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io.clock import source_date_epoch


@pytest.mark.parametrize(
    "text, seconds",
    [("1700000000", 1_700_000_000), ("0", 0), ("", 0), ("-5", 0), ("1.5", 0), ("soon", 0), ("٣", 0), ("9" * 16, 0)],
)
def test_the_time_of_a_reproducible_build_is_a_number_or_0(
    monkeypatch: pytest.MonkeyPatch, text: str, seconds: int
) -> None:
    monkeypatch.setenv("SOURCE_DATE_EPOCH", text)
    assert source_date_epoch() == seconds


def test_without_the_variable_it_is_0(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("SOURCE_DATE_EPOCH", raising=False)
    assert source_date_epoch() == 0
