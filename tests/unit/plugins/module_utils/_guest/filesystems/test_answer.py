# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.answer import Answer, Uncertain
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.filesystems.runs import Runs


def test_a_reason_makes_an_answer_uncertain() -> None:
    assert Answer(1, 0, "ext4", None, 10, Runs()).certain
    assert not Answer(1, 0, "ext4", None, 10, Runs(), "unclean").certain


def test_only_known_reasons_can_be_given() -> None:
    assert Uncertain("unclean").code == "unclean"
    with pytest.raises(KeyError):
        raise Uncertain("moon")
