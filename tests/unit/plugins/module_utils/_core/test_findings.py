# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import re

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.findings import (
    ERROR,
    INFO,
    LOSSY,
    NO,
    RULES,
    SAFE,
    WARNING,
    counts,
    found,
    is_allowed,
    marked_repaired,
    remaining,
    worst,
)


def test_the_documentation_lists_every_rule_as_it_is(repository):
    path = os.path.join(repository, "docs", "findings.md")
    if not os.path.exists(path):
        pytest.skip("there is no documentation beside the code")
    with open(path, encoding="utf-8") as stream:
        rows = re.findall(r"^\| `(\w+)` \| (\w+) \| (\w+) \| (.+) \| (.+) \|$", stream.read(), re.MULTILINE)
    assert [tuple(row[:4]) for row in rows] == [tuple(rule) for rule in RULES.values()]
    for code, *_rule, files in rows:
        assert re.findall(r"\w+", files) == _files_that_name(repository, code)


def _files_that_name(repository, code):
    """The files of the check that report this finding, those aside that only ask for it."""
    folder = os.path.join(repository, "plugins", "module_utils", "_ops", "check")
    naming = []
    for name in sorted(name for name in os.listdir(folder) if name.endswith(".py")):
        with open(os.path.join(folder, name), encoding="utf-8") as stream:
            # The argument of a call, one of two such, or the key of a text.
            if re.search(rf'(found\(|dropped\(|else|^   )\s*"{code}"', stream.read(), re.MULTILINE):
                naming.append(name[: -len(".py")])
    return naming


def test_rules_say_what_may_be_said():
    for code, rule in RULES.items():
        assert (
            rule.code == code
            and rule.severity in (ERROR, WARNING, INFO)
            and rule.repairable in (NO, SAFE, LOSSY)
            and rule.meaning
        )


def test_a_finding_takes_from_its_rule_what_it_does_not_say():
    one = found("leak_tail", "/a", "text")
    assert one.as_result() == {
        "code": "leak_tail",
        "severity": WARNING,
        "where": "/a",
        "message": "text",
        "repairable": SAFE,
        "repaired": False,
    }
    assert found("leak_tail", "/a", "text", repairable=NO).repairable == NO


def test_an_unknown_code_is_a_mistake():
    with pytest.raises(KeyError):
        found("no_such_code", "/a", "text")


@pytest.mark.parametrize(
    ("degree", "level", "allowed"),
    [
        (SAFE, "none", False),
        (SAFE, "safe", True),
        (SAFE, "all", True),
        (LOSSY, "safe", False),
        (LOSSY, "all", True),
        (NO, "all", False),
    ],
)
def test_levels_allow_what_they_say(degree, level, allowed):
    assert is_allowed(degree, level) is allowed


def test_the_worst_of_nothing_is_safe():
    assert (worst([]), worst([SAFE, LOSSY]), worst([LOSSY, NO, SAFE])) == (SAFE, LOSSY, NO)


def test_what_was_repaired_is_counted_apart():
    findings = [found("leak_tail", "/a", "1"), found("entry_low", "/a", "2"), found("leak_inside", "/a", "3")]
    told = marked_repaired(findings, findings[:1])
    assert [one.repaired for one in told] == [True, False, False]
    assert counts(told) == {ERROR: 1, WARNING: 0, INFO: 1, "repaired": 1}
    assert remaining(told, ERROR, WARNING) == [told[1]]
