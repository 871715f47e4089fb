# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that other products made, as users have them, through hdd_convert itself.

They are in the folder ``foreign`` of the one that VDISK_CASES names.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import shutil
from pathlib import Path
from typing import Any, Dict

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, succeed, warnings
from ansible_collections.vdisk.parallels.tests.support.oracles import compared

ROOT = Path(__file__).resolve().parents[2]
CASES = Path(os.environ.get("VDISK_CASES") or ROOT.parent / "shared" / "cases") / "foreign"
GUEST = "b6b39e93fac1143156ee74bbc7775e2d006271b612328080039daca95329694b"


def unpacked(name: str, folder: Path, called: str = "") -> str:
    """A case, unpacked into ``folder``; skip where it is not."""
    packed = CASES / f"{name}.gz"
    if not packed.exists():
        pytest.skip(f"no case {name} in {CASES}; VDISK_CASES may name the folder of cases")
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / (called or name)
    with gzip.open(packed, "rb") as stream, open(path, "wb") as made:
        shutil.copyfileobj(stream, made)
    return str(path)


def digest(path: str) -> str:
    with open(path, "rb") as stream:
        found = hashlib.sha256()
        for part in iter(lambda: stream.read(1 << 20), b""):
            found.update(part)
    return found.hexdigest()


@pytest.mark.parametrize("format", ["vmdk", "vdi"])
@pytest.mark.parametrize(
    "child, parent, options",
    [
        ("vm", "vm", {}),
        ("vm/Snapshots", "vm", {}),
        ("vm", "store", {"backing_paths": ["store"]}),
        ("vm", "store/Snapshots", {"backing_paths": ["store"]}),
    ],
    ids=["beside", "above Snapshots", "in a folder that is named", "a snapshot of another machine"],
)
def test_a_differencing_disk_of_virtualbox_over_its_base(
    tmp_path: Path, format: str, child: str, parent: str, options: Dict[str, Any]
) -> None:
    top = unpacked(f"virtualbox-diff.{format}", tmp_path / child, f"{{1}}.{format}")
    out = str(tmp_path / "out.raw")
    (tmp_path / "store").mkdir(exist_ok=True)
    given = {name: [str(tmp_path / folder) for folder in value] for name, value in options.items()}
    alone = refused("hdd_convert", str(tmp_path), code="bad_request", src=top, dest=out)
    assert "overlay" in alone["msg"] and "backing: true" in alone["msg"]
    missing = refused("hdd_convert", str(tmp_path), code="missing_image", src=top, dest=out, backing=True, **given)
    assert "backing_paths" in missing["msg"]
    unpacked(f"virtualbox-base.{format}", tmp_path / parent)
    done = succeed("hdd_convert", src=top, dest=out, backing=True, **given)
    assert digest(out) == GUEST and done["verified"]
    kept = succeed("hdd_convert", src=top, dest=str(tmp_path / "out.qcow2"), backing=True, chain="preserve", **given)
    assert len(kept["files"]) == 2
    succeed("hdd_convert", src=str(tmp_path / "out.qcow2"), dest=str(tmp_path / "again.raw"), backing=True)
    assert digest(str(tmp_path / "again.raw")) == GUEST
    compared("VirtualBox")


def test_a_base_that_has_changed_since_is_an_error_with_both_values(tmp_path: Path) -> None:
    top = unpacked("virtualbox-diff.vdi", tmp_path / "vm")
    base = unpacked("virtualbox-base.vdi", tmp_path / "vm")
    with open(base, "r+b") as stream:
        stream.seek(408)
        stream.write(b"\7" * 16)
    said = refused("hdd_convert", str(tmp_path), code="damaged", src=top, dest=str(tmp_path / "o.raw"), backing=True)
    assert said["error_context"]["expected"] != said["error_context"]["found"]


@pytest.mark.parametrize("wanted", [{}, {"src_disk": "0"}])
def test_an_appliance_of_virtualbox_is_read_in_place(tmp_path: Path, wanted: Dict[str, str]) -> None:
    source = unpacked("virtualbox.ova", tmp_path)
    out = str(tmp_path / "out.raw")
    done = succeed("hdd_convert", src=source, dest=out, **wanted)
    folder = tmp_path / "by hand"
    folder.mkdir()
    shutil.unpack_archive(source, folder, format="tar")
    names = sorted(os.listdir(folder))
    ovf = next(name for name in names if name.endswith(".ovf"))
    succeed("hdd_convert", src=str(folder / ovf), dest=str(tmp_path / "beside.raw"))
    disk = next(name for name in names if name.endswith(".vmdk"))
    succeed("hdd_convert", src=str(folder / disk), dest=str(tmp_path / "disk.raw"))
    assert digest(out) == digest(str(tmp_path / "beside.raw")) == digest(str(tmp_path / "disk.raw"))
    assert done["virtual_size"] == os.path.getsize(out) and not [w for w in warnings(done) if "checksum" in w]
    compared("VirtualBox")


@pytest.mark.parametrize("algorithm", ["SHA1", "SHA256"])
def test_an_appliance_with_a_manifest_that_does_not_fit_is_refused(tmp_path: Path, algorithm: str) -> None:
    """As VirtualBox and ovftool write it, with the bytes of VirtualBox."""
    source = unpacked("virtualbox.ova", tmp_path)
    folder = tmp_path / "vm"
    shutil.unpack_archive(source, folder, format="tar")
    names = sorted(os.listdir(folder))
    ovf = next(name for name in names if name.endswith(".ovf"))
    lines = [
        f"{algorithm} ({name}) = {hashlib.new(algorithm.lower(), (folder / name).read_bytes()).hexdigest()}\n"
        for name in names
    ]
    (folder / (ovf[:-4] + ".mf")).write_text("".join(lines))
    options = {"src": str(folder / ovf), "dest": str(tmp_path / "out.raw")}
    succeed("hdd_convert", **options)
    with open(folder / next(name for name in names if name.endswith(".vmdk")), "r+b") as stream:
        stream.seek(70_000)
        stream.write(b"?")
    said = refused("hdd_convert", str(tmp_path), code="damaged", **options)
    assert "manifest" in said["msg"] and said["error_context"]["expected"] != said["error_context"]["found"]
    compared("VirtualBox")


def test_a_vmdk_of_freebsd_is_read(tmp_path: Path) -> None:
    source = unpacked("freebsd-mkimg.vmdk", tmp_path)
    expected = unpacked("freebsd-mkimg.raw", tmp_path)
    succeed("hdd_convert", src=source, dest=str(tmp_path / "out.raw"))
    assert digest(str(tmp_path / "out.raw")) == digest(expected)
    compared("FreeBSD mkimg")


@pytest.mark.parametrize("name", ["virtualbox-base.vmdk", "virtualbox.ova", "freebsd-mkimg.raw"])
def test_a_packed_case_says_how_to_unpack_it(tmp_path: Path, name: str) -> None:
    unpacked(name, tmp_path)
    shutil.copy(CASES / f"{name}.gz", tmp_path / f"{name}.gz")
    path = str(tmp_path / f"{name}.gz")
    said = refused("hdd_convert", str(tmp_path), code="unsupported", src=path, dest=str(tmp_path / "x.raw"))
    assert said["msg"].endswith(f"Unpack it and name what comes out: gunzip -k {path}")
