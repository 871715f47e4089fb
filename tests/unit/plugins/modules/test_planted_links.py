# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Links that somebody put into a disk, under names that modules use, and how open what modules write is on the way.

``tests/crash/test_swaps`` puts them there while a run is at work.
"""

from __future__ import annotations

import os
import stat
import struct
from typing import Any, Callable, Dict, Iterator, List, Set, Tuple

import pytest

pytest.importorskip("ansible.module_utils.basic", reason="modules need ansible-core")

from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.file import OsFile
from ansible_collections.vdisk.parallels.tests.support.bundles import BuiltBundle, build_bundle, guid_of, line_of_layers
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.module_runner import refused, run, succeed, tree

CLUSTER = 64 << 10
SECTORS = 8 * CLUSTER // 512
ACL = "system.posix_acl_access"

CHANGES: Dict[str, Any] = {
    "take": ("hdd_snapshot", {"name": "new"}),
    "merge": ("hdd_merge", {}),
    "merge by copy": ("hdd_merge", {"strategy": "copy"}),
    "compact by copy": ("hdd_compact", {"strategy": "copy"}),
    "retype": ("hdd", {"type": "plain", "snapshots": "merge"}),
    "rename": ("hdd", {"name": "new"}),
}


@pytest.fixture(autouse=True)
def mask() -> Iterator[None]:
    before = os.umask(0o022)
    yield
    os.umask(before)


@pytest.fixture(name="built")
def built_fixture(root: str) -> BuiltBundle:
    """A disk, and beside it what nobody may touch."""
    os.mkdir(f"{root}/precious")
    for name in ("file", "DiskDescriptor.xml"):
        with open(f"{root}/precious/{name}", "w", encoding="utf-8") as stream:
            stream.write("precious")
        os.chmod(f"{root}/precious/{name}", 0o600)
    os.mkdir(f"{root}/a.pvm")
    layers = line_of_layers({0: fill(0, CLUSTER), 1: bytes(CLUSTER)}, {2: fill(2, CLUSTER)}, {0: fill(3, CLUSTER)})
    return build_bundle(f"{root}/a.pvm/a.hdd", size_sectors=SECTORS, cluster_sectors=CLUSTER // 512, layers=layers)


def hurt(built: BuiltBundle) -> None:
    """An entry that points past the end, which only a lossy repair ends."""
    path = next(iter(built.files.values()))
    with open(path, "r+b") as stream:
        stream.seek(64 + 4 * 5)
        stream.write(struct.pack("<I", 0x7FFF00))


def precious(root: str) -> Any:
    return tree(f"{root}/precious")


# Links


@pytest.mark.parametrize(
    "name", [".DiskDescriptor.xml.vdisk-new.tmp", "..vdisk-journal.vdisk-new.tmp", "DiskDescriptor.xml.Backup"]
)
@pytest.mark.parametrize("change", CHANGES)
def test_links_under_names_of_ours_are_replaced_or_left_and_not_followed(
    root: str, built: BuiltBundle, name: str, change: str
) -> None:
    os.symlink(f"{root}/precious/file", f"{built.directory}/{name}")
    before = precious(root)
    module, options = CHANGES[change]
    succeed(module, path=built.directory, **options)
    assert precious(root) == before
    assert not os.path.lexists(f"{built.directory}/{name}") or name.endswith("Backup")


@pytest.mark.parametrize("target", ["precious/file", "precious", "nowhere"])
def test_a_journal_that_is_a_link_is_named_and_a_repair_removes_it(root: str, built: BuiltBundle, target: str) -> None:
    link = f"{built.directory}/.vdisk-journal"
    os.symlink(f"{root}/{target}", link)
    before = precious(root)
    for module, options in [("hdd_info", {}), *CHANGES.values()]:
        assert "link" in refused(module, root, code="damaged", path=built.directory, **options)["msg"]
    found = succeed("hdd_check", path=built.directory, fail_on="never")["findings"]
    assert [one["code"] for one in found] == ["journal_unreadable"]
    assert succeed("hdd_check", path=built.directory, repair="all")["healthy"]
    assert precious(root) == before and not os.path.lexists(link)


@pytest.mark.parametrize("target", ["precious", "nowhere", "precious/file"])
def test_a_repair_does_not_write_through_a_link(root: str, built: BuiltBundle, target: str) -> None:
    hurt(built)
    os.symlink(f"{root}/{target}", f"{built.directory}.repair")
    result = refused("hdd_check", root, code="escape", path=built.directory, repair="all")
    assert "backup_dir" in result["msg"]
    # One that the user names is his to choose.
    os.mkdir(f"{root}/kept")
    os.symlink("kept", f"{root}/link")
    done = succeed("hdd_check", path=built.directory, repair="all", backup_dir=f"{root}/link")
    assert done["healthy"] and os.path.dirname(done["backup"]) == f"{root}/kept"
    assert len(os.listdir(f"{root}/kept")) == 1 and len(os.listdir(f"{root}/precious")) == 2


def test_a_descriptor_that_is_a_link_is_refused_by_all(root: str, built: BuiltBundle) -> None:
    path = f"{built.directory}/DiskDescriptor.xml"
    os.rename(path, f"{built.directory}/other.xml")
    for target in (f"{root}/precious/DiskDescriptor.xml", "other.xml"):
        os.symlink(target, path)
        for module, options in [("hdd_info", {}), ("hdd", {"state": "absent"}), *CHANGES.values()]:
            refused(module, root, code="escape", path=built.directory, **options)
        os.unlink(path)


def test_a_backup_that_is_a_link_is_not_read(root: str, built: BuiltBundle) -> None:
    os.symlink(f"{root}/precious/DiskDescriptor.xml", f"{built.directory}/DiskDescriptor.xml.Backup")
    found = succeed("hdd_check", path=built.directory, fail_on="never")["findings"]
    assert [one["code"] for one in found] == ["backup_unreadable"]
    assert not any("precious" in one["message"].replace(root, "") for one in found)


def test_a_removal_does_not_open_images_outside(root: str, built: BuiltBundle, monkeypatch: pytest.MonkeyPatch) -> None:
    path = f"{built.directory}/DiskDescriptor.xml"
    image = built.files[(0, guid_of(1))]
    with open(path, encoding="utf-8") as stream:
        text = stream.read()
    with open(path, "w", encoding="utf-8") as stream:
        stream.write(text.replace(f">{os.path.basename(image)}<", f">{root}/precious/file<"))
    os.unlink(image)
    opened: List[str] = []
    opening = os.open

    def noted(name: Any, *arguments: Any, **options: Any) -> int:
        opened.append(str(name))
        return opening(name, *arguments, **options)

    monkeypatch.setattr(os, "open", noted)
    before = precious(root)
    succeed("hdd", path=built.directory, state="absent")
    assert "a.pvm" in opened and "file" not in opened
    assert precious(root) == before and not os.path.exists(built.directory)


# How open files are


def acl(*entries: Tuple[int, ...]) -> bytes:
    """A list as the kernel has it: tag, permissions, and whom it is for where that is told."""
    return struct.pack("<I", 2) + b"".join(struct.pack("<HHI", *(*one, 0xFFFFFFFF)[:3]) for one in entries)


@pytest.fixture(name="seen")
def seen_fixture(monkeypatch: pytest.MonkeyPatch) -> Dict[str, Set[int]]:
    """The modes that each file had while it was written."""
    found: Dict[str, Set[int]] = {}
    write = OsFile.pwrite

    def pwrite(self: OsFile, offset: int, buffer: Any) -> None:
        mode = stat.S_IMODE(os.fstat(self._descriptor).st_mode)
        found.setdefault(self.path, set()).add(mode)
        write(self, offset, buffer)

    monkeypatch.setattr(OsFile, "pwrite", pwrite)
    return found


def mode_of(path: str) -> int:
    return stat.S_IMODE(os.stat(path).st_mode)


OUTPUTS = 10


def outputs(built: BuiltBundle, root: str) -> List[Callable[..., Dict[str, Any]]]:
    make_machine(f"{root}/a.pvm", disk="a.hdd", size_mib=1)

    def converts(dest: str, **options: Any) -> Callable[..., Dict[str, Any]]:
        return lambda **more: succeed("hdd_convert", src=built.directory, dest=f"{root}/out/{dest}", **options, **more)

    return [
        converts("a.raw", checksum="sha256", checksum_file=f"{root}/out/sums"),
        converts("a.vmdk", subformat="twoGbMaxExtentFlat"),
        converts("b.hdd"),
        converts("c.hdd", chain="preserve", checksum="md5", checksum_file=f"{root}/out/sums"),
        converts("a.qcow2", chain="preserve"),
        converts("a.vhdx", chain="preserve"),
        converts("b.vmdk", chain="preserve"),
        converts("c.vmdk", subformat="view"),
        converts("d.vmdk", subformat="twoGbMaxExtentSparse"),
        lambda **more: succeed(
            "vagrant_box", src=f"{root}/a.pvm", dest=f"{root}/out/a.box", architecture="amd64", **more
        ),
    ]


def files_in(folder: str) -> List[str]:
    return [os.path.join(at, name) for at, _folders, names in os.walk(folder) for name in names]


@pytest.mark.parametrize("number", range(OUTPUTS))
@pytest.mark.parametrize("mode", [0o600, 0o640])
def test_a_mode_that_is_asked_for_holds_from_the_first_byte(
    root: str, built: BuiltBundle, seen: Dict[str, Set[int]], number: int, mode: int
) -> None:
    os.mkdir(f"{root}/out")
    outputs(built, root)[number](mode=f"0{mode:o}")
    assert seen and not any(one & ~mode for modes in seen.values() for one in modes), seen
    assert {mode_of(path) for path in files_in(f"{root}/out")} == {mode}


@pytest.mark.parametrize("number", range(OUTPUTS))
def test_an_output_is_no_more_open_than_its_source(
    root: str, built: BuiltBundle, seen: Dict[str, Set[int]], number: int
) -> None:
    os.chmod(built.files[(0, guid_of(1))], 0o600)
    os.mkdir(f"{root}/out")
    outputs(built, root)[number]()
    assert seen and {one for modes in seen.values() for one in modes} == {0o600}
    assert {mode_of(path) for path in files_in(f"{root}/out")} == {0o600}


def test_an_output_of_an_open_source_is_as_open_as_any_file(root: str, built: BuiltBundle) -> None:
    os.mkdir(f"{root}/out")
    for convert in outputs(built, root):
        convert()
    assert {mode_of(path) for path in files_in(f"{root}/out")} == {0o644}


def test_all_outputs_are_looked_at(root: str, built: BuiltBundle) -> None:
    assert len(outputs(built, root)) == OUTPUTS


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files away")
def test_the_group_of_a_source_is_not_that_of_the_output(root: str, built: BuiltBundle) -> None:
    for path in files_in(built.directory):
        os.chmod(path, 0o640)
        os.chown(path, 12345, 54321)
    os.mkdir(f"{root}/out")
    outputs(built, root)[0]()
    assert mode_of(f"{root}/out/a.raw") == 0o600
    os.chown(f"{root}/out", 0, 54321)
    os.chmod(f"{root}/out", 0o2755)
    outputs(built, root)[1]()
    assert mode_of(f"{root}/out/a.vmdk") == 0o640


@pytest.mark.parametrize("number", range(OUTPUTS))
def test_a_list_that_the_folder_gives_to_new_files_lets_nobody_in(root: str, built: BuiltBundle, number: int) -> None:
    """The enemy's folder gives every new file a list with his name, which overrides the umask."""
    os.mkdir(f"{root}/out")
    try:
        os.setxattr(f"{root}/out", "system.posix_acl_default", acl((1, 7), (2, 7, 1234), (4, 7), (16, 7), (32, 0)))
    except (OSError, AttributeError):
        pytest.skip("the file system has no access control lists")
    outputs(built, root)[number](mode="0640")
    for path in files_in(f"{root}/out"):
        assert mode_of(path) == 0o640
        assert ACL not in os.listxattr(path), path


def test_a_new_disk_has_its_mode_from_the_first_byte(root: str, seen: Dict[str, Set[int]]) -> None:
    succeed("hdd", path=f"{root}/new.hdd", size="8M", mode="0600")
    assert seen and {one for modes in seen.values() for one in modes} == {0o600}


@pytest.mark.parametrize("change", CHANGES)
def test_access_control_lists_and_attributes_survive_a_change(root: str, built: BuiltBundle, change: str) -> None:
    content = acl((1, 6), (2, 6, 1234), (4, 0), (16, 6), (32, 0))
    try:
        for path in files_in(built.directory):
            os.setxattr(path, ACL, content)
            os.setxattr(path, "user.note", b"mine")
    except (OSError, AttributeError):
        pytest.skip("the file system has no access control lists")
    module, options = CHANGES[change]
    assert succeed(module, path=built.directory, **options)["changed"]
    for path in files_in(built.directory):
        if not path.endswith((".hdd", "names.json")):
            assert (os.getxattr(path, ACL), os.getxattr(path, "user.note")) == (content, b"mine"), path
            assert mode_of(path) == 0o660
    assert not run("hdd_check", path=built.directory).failed
