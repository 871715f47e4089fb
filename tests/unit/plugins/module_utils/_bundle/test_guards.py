# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import os
import struct
from pathlib import Path
from typing import Any, Callable, Dict, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.bundle import BundleState
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.guards import (
    EXACT,
    SHORTER,
    Touches,
    check_guards,
    recovery_clearance,
    refuse_clones,
    refuse_converting,
    refuse_dirty,
    refuse_encrypted,
    refuse_other_names,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.leftovers import holders
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.surroundings import Clone
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Dirty,
    Encrypted,
    Interrupted,
    InUse,
    Misfit,
    SharedLayer,
    Suspended,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.records import replace
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.hds.header import IN_USE
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import Holder
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.tests.support import disks
from ansible_collections.vdisk.parallels.tests.support.bundles import (
    BuiltBundle,
    build_bundle,
    guid_of,
    line_of_layers,
)
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.memory_port import MemoryPort

PORT = OsPort()


CLUSTER = 64 << 10
SECTORS = CLUSTER // 512
ONE, TWO = guid_of(1), guid_of(2)


def filled(*indexes: int, seed: int = 0) -> Dict[int, bytes]:
    return {index: fill(index, CLUSTER, seed) for index in indexes}


def line(tmp_path: Path, **options: Any) -> BuiltBundle:
    layers = options.pop("layers", None) or line_of_layers(filled(0, 1, 2), filled(1, seed=1), filled(3, seed=2))
    return build_bundle(
        str(tmp_path / "a.hdd"), size_sectors=8 * SECTORS, layers=layers, cluster_sectors=SECTORS, **options
    )


def _memory(bundle: BuiltBundle) -> MemoryPort:
    port = MemoryPort()
    for name in os.listdir(bundle.directory):
        with open(os.path.join(bundle.directory, name), "rb") as stream:
            port.plant_file(f"{bundle.directory}/{name}", stream.read())
    return port


def test_a_mark_is_refused_unless_forced_or_our_own(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    state = disks.state_of(PORT, bundle.directory)
    refuse_dirty(state, force=False)
    marked = disks.marked_in_use(PORT, bundle.directory, TWO)
    state = disks.state_of(PORT, bundle.directory)
    with pytest.raises(Dirty) as caught:
        refuse_dirty(state, force=False)
    assert (caught.value.path, caught.value.offset) == (marked, 44)
    refuse_dirty(state, force=True)
    refuse_dirty(state, force=False, ours=(marked,))


def test_a_mark_whose_owner_is_seen_is_use(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    marked = disks.marked_in_use(PORT, bundle.directory, TWO)
    port = _memory(bundle)
    port.plant_holder(marked, Holder("write", "qemu (7)"))
    with pytest.raises(InUse, match="qemu"):
        refuse_dirty(disks.state_of(port, bundle.directory), force=False)
    assert holders(port, disks.state_of(port, bundle.directory)) == ((marked, Holder("write", "qemu (7)")),)


@pytest.mark.parametrize("flags, converting", [(0, False), (1, False), (2, True), (3, True), (0xFFFFFFFF, False)])
def test_a_change_of_version_under_way_is_refused(tmp_path: Path, flags: int, converting: bool) -> None:
    bundle = line(tmp_path)
    disks.patch(PORT, bundle.files[(0, ONE)], 52, struct.pack("<I", flags))
    state = disks.state_of(PORT, bundle.directory)
    if not converting:
        refuse_converting(state)
        return
    with pytest.raises(Interrupted) as caught:
        refuse_converting(state)
    assert caught.value.path == bundle.files[(0, ONE)]


def test_metadata_of_an_encrypted_disk_are_seen_and_its_data_refused(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    edit(bundle, "<Engine>{00000000", "<Engine>{00000001")
    state = disks.state_of(PORT, bundle.directory)
    assert state.descriptor.encrypted
    assert disks.facts_of(PORT, state)["encrypted"]
    with pytest.raises(Encrypted):
        refuse_encrypted(state)


def edit(bundle: BuiltBundle, old: str, new: str, count: int = -1) -> None:
    with open(bundle.descriptor, encoding="utf-8") as stream:
        text = stream.read()
    assert old in text
    with open(bundle.descriptor, "w", encoding="utf-8") as stream:
        stream.write(text.replace(old, new, count))


# All guards in one order


def _converting(state: BundleState) -> BundleState:
    return _with_header(state, flags=2)


def _dirty(state: BundleState) -> BundleState:
    return _with_header(state, in_use=IN_USE)


def _with_header(state: BundleState, **fields: int) -> BundleState:
    key = (0, state.tree.top)
    image = state.images[key]
    assert image.header is not None
    return replace(state, images={**state.images, key: replace(image, header=replace(image.header, **fields))})


def _longer(state: BundleState) -> BundleState:
    return replace(
        state,
        descriptor=replace(
            state.descriptor,
            storages=tuple(
                replace(storage, end_sector=storage.end_sector - 1) for storage in state.descriptor.storages
            ),
        ),
    )


def _described(**fields: bool) -> Callable[[BundleState], BundleState]:
    return lambda state: replace(state, descriptor=replace(state.descriptor, **fields))


# In the order in which they are asked: what is wrong, what asks for it, the error, and whether force helps.
GUARDS: List[Any] = [
    (_described(encrypted=True), Touches(data=True), Encrypted, False),
    (_converting, Touches(), Interrupted, False),
    (_dirty, Touches(images=False), Dirty, True),
    (_described(suspended=True), Touches(images=False), Suspended, True),
    (_longer, Touches(lengths=EXACT), Misfit, False),
]
NAMES = ["encrypted", "converting", "dirty", "suspended", "misfit"]
EVERYTHING = Touches(data=True, lengths=EXACT)
NOTHING = Touches(images=False)


@pytest.mark.parametrize("number", range(len(GUARDS)), ids=NAMES)
def test_a_guard_stops_what_touches_its_part_and_nothing_else(tmp_path: Path, number: int) -> None:
    wrong, touches, error, helps = GUARDS[number]
    state = wrong(disks.state_of(PORT, line(tmp_path).directory))
    with pytest.raises(error) as caught:
        check_guards(state, touches)
    assert caught.value.path is not None and caught.value.hint
    if helps:
        assert check_guards(state, touches, force=True).state is state
    else:
        with pytest.raises(error):
            check_guards(state, touches, force=True)
    if touches != NOTHING:
        assert check_guards(state, NOTHING).state is state


@pytest.mark.parametrize("first", range(len(GUARDS)), ids=NAMES)
def test_of_several_reasons_the_first_in_the_one_order_is_told(tmp_path: Path, first: int) -> None:
    sound = disks.state_of(PORT, line(tmp_path).directory)
    texts = []
    for several in (GUARDS[first : first + 1], GUARDS[first:]):
        state = sound
        for wrong, _touches, _error, _helps in several:
            state = wrong(state)
        with pytest.raises(GUARDS[first][2]) as caught:
            check_guards(state, EVERYTHING)
        texts.append(str(caught.value))
    assert texts[0] == texts[1]


def test_shorter_images_fit_where_they_may_be_shorter(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    storages = tuple(replace(one, end_sector=one.end_sector + 8) for one in state.descriptor.storages)
    longer = replace(state, descriptor=replace(state.descriptor, storages=storages))
    assert check_guards(longer, Touches(lengths=SHORTER)).state is longer
    with pytest.raises(Misfit):
        check_guards(longer, Touches(lengths=EXACT))
    with pytest.raises(Misfit):
        check_guards(_longer(state), Touches(lengths=SHORTER))


def test_marks_of_this_very_engine_are_passed(tmp_path: Path) -> None:
    bundle = line(tmp_path)
    marked = disks.marked_in_use(PORT, bundle.directory, TWO)
    state = disks.state_of(PORT, bundle.directory)
    assert check_guards(state, Touches(ours=(marked,))).state is state
    with pytest.raises(Dirty):
        check_guards(state, Touches())


def test_a_recovery_passes_whatever_its_change_has_left(tmp_path: Path) -> None:
    state = _converting(_dirty(disks.state_of(PORT, line(tmp_path).directory)))
    assert recovery_clearance(state).state is state


def test_a_file_with_other_names_and_one_that_clones_stand_on(tmp_path: Path) -> None:
    state = disks.state_of(PORT, line(tmp_path).directory)
    image = state.images[(0, state.tree.top)]
    refuse_other_names(image.path, image.stat)
    with pytest.raises(SharedLayer):
        refuse_other_names(image.path, replace(image.stat, links=2))
    clones = (Clone("/vm/clone.hdd", image.path),)
    refuse_clones(clones, ["/vm/other.hds"])
    refuse_clones((), [image.path])
    with pytest.raises(SharedLayer) as caught:
        refuse_clones(clones, ["/vm/other.hds", image.path])
    assert caught.value.found == "/vm/clone.hdd" and caught.value.path == image.path
