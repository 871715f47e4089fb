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
    Rename,
    ReplaceFile,
    Resize,
    Sync,
    WriteBytes,
)


def test_a_plan_without_steps_is_empty_whatever_else_it_says() -> None:
    assert Plan("merge", bytes_read=5, warnings=("note",)).is_empty
    assert not Plan("merge", (Remove((), "/"),)).is_empty


def test_other_facts_make_another_plan() -> None:
    plan = Plan("merge", (Remove((), "/"),), commit=0, facts=("a", 1))
    more = plan.with_facts({"b": 2})
    assert (plan.facts, more.facts) == (("a", 1), {"b": 2})
    assert (more.operation, more.steps, more.commit) == ("merge", plan.steps, 0)


@pytest.mark.parametrize(
    ("step", "text"),
    [
        (ReplaceFile("/a/b.xml", b"x", "/a/.t"), "replace /a/b.xml"),
        (Rename("/a/.b.vdisk-1.tmp", "/a/b"), "rename to /a/b"),
        (Rename("/a/b", "/a/.b.vdisk-1.tmp"), "rename /a/b away"),
        (Remove(("/a/b", "/a/c"), "/a"), "remove /a/b"),
        (WriteBytes("/a", 512, b"x"), "write /a at byte 512"),
        (Resize("/a", 4096), "give /a a length of 4096 bytes"),
    ],
    ids=["replace", "rename", "rename away", "remove", "write", "resize"],
)
def test_the_commit_is_told_in_words(step: object, text: str) -> None:
    plan = Plan("merge", (Sync(), step, Sync()), commit=1)  # type: ignore[arg-type]
    assert plan.commit_text == text
    assert Plan("compact", (Sync(),)).commit_text is None


def test_plans_and_steps_cannot_be_changed() -> None:
    plan, step = Plan("merge"), CreateFile("/a", 1)
    with pytest.raises(AttributeError):
        plan.steps = (step,)  # type: ignore[misc]
    with pytest.raises(AttributeError):
        step.size = 2  # type: ignore[misc]


def test_copied_bytes_are_those_of_all_moves() -> None:
    assert CopyRanges("/a", ()).length == 0
    assert CopyRanges("/a", (Move("/b", 0, 0, 512), Move(None, 0, 512, 1024))).length == 1536
