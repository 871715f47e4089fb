# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Plans are values."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import (
    CopyRanges,
    CreateFile,
    Move,
    Plan,
    Remove,
)


def test_a_plan_without_steps_is_empty_whatever_else_it_says() -> None:
    assert Plan("merge", bytes_read=5, warnings=("note",)).is_empty
    assert not Plan("merge", (Remove((), "/"),)).is_empty


def test_facts_are_added_to_a_copy() -> None:
    plan = Plan("merge", facts={"a": 1, "b": 2})
    more = plan.with_facts(b=3, c=4)
    assert dict(more.facts) == {"a": 1, "b": 3, "c": 4}
    assert dict(plan.facts) == {"a": 1, "b": 2}
    assert more.operation == "merge"


def test_plans_and_steps_cannot_be_changed() -> None:
    plan, step = Plan("merge"), CreateFile("/a", 1)
    with pytest.raises(AttributeError):
        plan.steps = (step,)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        step.size = 2  # type: ignore[misc]


def test_plans_do_not_share_their_facts() -> None:
    with pytest.raises(TypeError):
        Plan("merge").facts["merged"] = ()  # type: ignore[index]
    assert Plan("merge").with_facts(merged=()).facts == {"merged": ()} and Plan("merge").facts == {}


def test_copied_bytes_are_those_of_all_moves() -> None:
    assert CopyRanges("/a", ()).length == 0
    assert CopyRanges("/a", (Move("/b", 0, 0, 512), Move(None, 0, 512, 1024))).length == 1536
