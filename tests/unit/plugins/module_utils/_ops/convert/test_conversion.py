# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a plan says of its output."""

from __future__ import annotations

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import Shape
from ansible_collections.vdisk.parallels.plugins.module_utils._core.plan import Plan
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.conversion import (
    ConvertFacts,
)
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import guid_of
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

ONE = guid_of(1)


@pytest.fixture(name="port")
def _port() -> MemoryPort:
    return disks.two_layers("/vm/a.hdd", ONE)


def test_facts_are_those_that_were_given() -> None:
    facts = ConvertFacts("kept: it is good", Shape(512))
    plan = Plan("convert", facts=facts)
    assert plan.facts == facts and plan.is_empty


@pytest.mark.parametrize("dest", ["/vm/b.raw", "/vm/b.hdd"])
def test_files_are_paired_with_where_they_are_built(port: MemoryPort, dest: str) -> None:
    facts = disks.plan_of_convert(port, "/vm/a.hdd", dest, predict=True).facts
    assert len(facts.files) == len(facts.built) == len(facts.lengths) == 1
    assert all(file.startswith(dest) and ".vdisk-dest.tmp" in built for file, built in zip(facts.files, facts.built))
    assert (facts.descriptor is not None) == dest.endswith(".hdd")


def test_lengths_are_known_only_when_they_are_predicted(port: MemoryPort) -> None:
    assert disks.plan_of_convert(port, "/vm/a.hdd", "/vm/b.raw").facts.lengths == ()
