# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Disks made by Parallels Desktop: facts, bytes, and what they are after we have worked on a copy."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from xml.etree import ElementTree

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.compact.plan import plan_compact
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.report.facts import disk_facts
from ansible_collections.vdisk.parallels.tests.oracle.trial_disk import PORT, TrialDisk, apply_plan, bytes_of
from ansible_collections.vdisk.parallels.tests.support import images, oracles

MIB = 1 << 20


@pytest.fixture(scope="module")
def sample(tmp_path_factory: pytest.TempPathFactory) -> TrialDisk:
    """For reading only. MiB number i of the guest disk is filled with byte i."""
    bundle = os.path.join(os.path.realpath(str(tmp_path_factory.mktemp("desktop"))), "expanding.hdd")
    oracles.unpack_sample("desktop17-expanding.hdd", bundle)
    return TrialDisk(bundle, b"".join(bytes([index]) * MIB for index in range(100)))


@pytest.fixture
def copied(sample: TrialDisk, tmp_path: Path) -> TrialDisk:
    """A copy that may be changed."""
    bundle = shutil.copytree(sample.bundle, os.path.join(os.path.realpath(str(tmp_path)), "expanding.hdd"))
    return TrialDisk(bundle, sample.now)


def parameters(path: str) -> str:
    """Everything that the descriptor says but storages and snapshots, in one spelling."""
    root = ElementTree.parse(path).getroot()
    for name in ("StorageData", "Snapshots"):
        found = root.find(name)
        assert found is not None
        root.remove(found)
    return ElementTree.canonicalize(ElementTree.tostring(root, encoding="unicode"), strip_text=True)


def test_the_facts_of_the_sample(sample: TrialDisk) -> None:
    facts = disk_facts(PORT, sample.state)
    assert (facts["virtual_size"], facts["type"], facts["split"], facts["depth"]) == (100 * MIB, "expanding", False, 1)
    assert (facts["format_version"], facts["cluster_size"], facts["name"]) == (1, MIB, "expanding")
    image = sample.state.layer(sample.layout.top)[0]
    assert (image.used_clusters, image.is_dirty, image.leaked) == (99, False, 0)
    assert image.header is not None and image.header.in_use.to_bytes(4, "little") == b"pd17"


def test_qemu_and_we_read_the_same_sample(sample: TrialDisk) -> None:
    assert bytes_of(sample.bundle) == sample.now
    assert oracles.ChainOracle(sample.bundle).guest(oracles.TOP) == sample.now
    oracles.compared("qemu-img chain")


def test_dissect_and_we_read_the_same_sample(sample: TrialDisk) -> None:
    assert oracles.read_with_dissect(sample.bundle) == bytes_of(sample.bundle)
    oracles.compared("dissect")


def test_libphdi_and_we_read_the_same_sample(sample: TrialDisk, tmp_path: Path) -> None:
    assert oracles.read_with_pyphdi(sample.bundle, oracles.TOP, str(tmp_path)) == bytes_of(sample.bundle)
    oracles.compared("libphdi")


def test_the_sample_becomes_a_raw_image(sample: TrialDisk, tmp_path: Path) -> None:
    raw = os.path.join(os.path.realpath(str(tmp_path)), "sample.raw")
    apply_plan(plan_convert(PORT, find_source(PORT, sample.bundle), ConvertRequest("raw", raw), token="trial"))
    assert Path(raw).read_bytes() == sample.now
    oracles.qemu_img("compare", "-f", "raw", "-F", "parallels", raw, sample.layout.expanding[0])
    oracles.compared("qemu-img compare")


def test_a_copy_lives_through_snapshots_merge_and_compaction(copied: TrialDisk) -> None:
    descriptor = os.path.join(copied.bundle, "DiskDescriptor.xml")
    said = parameters(descriptor)
    copied.take("one")
    copied.write(3, 0)
    copied.write_zeros(4)
    copied.take("two")
    copied.write(5)
    assert_the_same_everywhere(copied)
    copied.merge()
    assert bytes_of(copied.bundle) == copied.now
    copied.write_zeros(50, 51)
    plan = plan_compact(PORT, copied.state)
    assert plan.bytes_freed == 3 * MIB
    apply_plan(plan)
    assert_the_same_everywhere(copied)
    assert parameters(descriptor) == said


def assert_the_same_everywhere(disk: TrialDisk) -> None:
    oracles.assert_qemu_finds_clean(disk.layout.expanding)
    chain_of_layers = oracles.ChainOracle(disk.bundle)
    for guid, content in disk.views.items():
        assert bytes_of(disk.bundle, guid) == content
        assert chain_of_layers.guest(guid) == content
        oracles.compared("qemu-img chain")


def test_what_desktop_says_of_a_disk_survives_a_snapshot_and_a_merge(tmp_path: Path) -> None:
    sample = oracles.require_sample("desktop17-descriptor-only.xml").read_text(encoding="utf-8")
    bundle = os.path.join(os.path.realpath(str(tmp_path)), "other.hdd")
    os.makedirs(bundle)
    descriptor = os.path.join(bundle, "DiskDescriptor.xml")
    unknown = "<!-- kept --><Later Attribute='1'>&lt;odd&gt;<Inner/></Later></Miscellaneous>"
    Path(descriptor).write_text(sample.replace("</Miscellaneous>", unknown), encoding="utf-8")
    layout = oracles.read_layout(bundle)
    (image,) = layout.expanding
    images.build_hds(image, size_sectors=layout.size // 512, clusters={2: images.fill(2, MIB)})
    disk = TrialDisk(
        bundle,
        images.guest_bytes(size_sectors=layout.size // 512, cluster_sectors=2048, clusters={2: images.fill(2, MIB)}),
    )
    said = parameters(descriptor)
    assert "Later" in said
    disk.take("one")
    disk.write(4)
    assert parameters(descriptor) == said
    disk.merge()
    assert parameters(descriptor) == said
    assert "<!-- kept -->" in Path(descriptor).read_text(encoding="utf-8")
    assert_the_same_everywhere(disk)
