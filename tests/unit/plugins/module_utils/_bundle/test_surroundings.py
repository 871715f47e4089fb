# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.surroundings import Clone, Surroundings


def test_nothing_around_a_disk_is_nothing_known() -> None:
    around = Surroundings()
    assert (around.machine.facts, around.clones, around.unknown) == (None, (), ())
    assert not around.machine.is_doubtful and around.machine.needed == ()


def test_a_clone_names_the_disk_and_the_image_that_it_stands_on() -> None:
    assert Clone("/vms/b.hdd", "/vms/a.hdd/x.hds").disk == "/vms/b.hdd"
