# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import Iterator

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Escape, StalePlan
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host import names as host_names
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host.names import Names, Pins


@pytest.fixture(name="names")
def names_fixture() -> Iterator[Names]:
    names = Names()
    yield names
    names.close()


def opened(names: Names, path: object) -> bytes:
    descriptor, _facts = names.open(str(path), os.O_RDONLY)
    try:
        return os.read(descriptor, 100)
    finally:
        os.close(descriptor)


def test_pins_follow_what_is_renamed_with_all_below_it() -> None:
    pins = Pins()
    for path, number in (("/a", 1), ("/a/x", 2), ("/ab", 3), ("/b", 4), ("/b/y", 5)):
        assert pins.see(path, (0, number))
    pins.exchange("/a", "/b")
    assert all(pins.see(path, (0, n)) for path, n in (("/a", 4), ("/a/y", 5), ("/b", 1), ("/b/x", 2), ("/ab", 3)))
    pins.move("/b", "/c")
    assert pins.see("/c/x", (0, 2)) and not pins.see("/c", (0, 9))
    # The old names are free.
    assert pins.see("/b", (0, 9)) and pins.see("/b/x", (0, 9))
    with pytest.raises(StalePlan) as caught:
        pins.check("/ab", (1, 3))
    assert caught.value.path == "/ab" and caught.value.hint
    pins.forget("/c")
    assert pins.see("/c/x", (0, 7)) and not pins.see("/c", (0, 9))
    pins.drop("/c")
    assert pins.see("/c", (0, 9))


@pytest.mark.parametrize("where", ["at the end", "on the way", "above"])
def test_links_are_not_followed(names: Names, tmp_path: Path, where: str) -> None:
    (tmp_path / "real" / "in").mkdir(parents=True)
    (tmp_path / "real" / "in" / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("real")
    (tmp_path / "real" / "in" / "link").symlink_to("file")
    path = {"at the end": "real/in/link", "on the way": "link/file", "above": "link/in/file"}[where]
    if where != "at the end":
        with pytest.raises(Escape):
            names.look(str(tmp_path / path))
        with pytest.raises(Escape):
            names.list(str(tmp_path / "link"))
        with pytest.raises(Escape):
            names.create(str(tmp_path / "link" / "new"), 0o600)
    with pytest.raises(Escape) as caught:
        names.open(str(tmp_path / path), os.O_RDONLY)
    assert caught.value.hint
    assert sorted(os.listdir(tmp_path / "real")) == ["in"]


def test_a_handle_stays_in_the_folder_that_was_opened(names: Names, tmp_path: Path) -> None:
    for folder in ("mine", "theirs"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "file").write_bytes(folder.encode())
    assert opened(names, tmp_path / "mine" / "file") == b"mine"
    os.rename(tmp_path / "mine", tmp_path / "away")
    os.symlink("theirs", tmp_path / "mine")
    assert opened(names, tmp_path / "mine" / "file") == b"mine"
    names.close()
    with pytest.raises(Escape):
        opened(names, tmp_path / "mine" / "file")
    os.unlink(tmp_path / "mine")
    os.rename(tmp_path / "theirs", tmp_path / "mine")
    with pytest.raises(StalePlan):
        opened(names, tmp_path / "mine" / "file")


def test_a_file_under_the_name_of_another_is_refused_until_all_is_looked_at_anew(names: Names, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"mine")
    (tmp_path / "other").write_bytes(b"theirs")
    assert names.look(str(tmp_path / "file")) is not None
    os.replace(tmp_path / "other", tmp_path / "file")
    for refused in (
        lambda: opened(names, tmp_path / "file"),
        lambda: names.rename(str(tmp_path / "file"), str(tmp_path / "new"), replace=True, in_one_step=True),
        lambda: names.exchange(str(tmp_path / "file"), str(tmp_path)),
    ):
        with pytest.raises(StalePlan):
            refused()
    assert os.listdir(tmp_path) == ["file"]
    names.pins.forget(str(tmp_path))
    assert opened(names, tmp_path / "file") == b"theirs"


def test_where_a_folder_led_it_leads_whatever_has_its_name_now(names: Names, tmp_path: Path) -> None:
    """A path below a folder that was resolved before is not resolved by way of a link that came since."""
    for name in ("machine", "victim"):
        (tmp_path / name / "disk").mkdir(parents=True)
    (tmp_path / "machine" / "link").symlink_to("disk")
    assert names.resolve(str(tmp_path / "machine")) == str(tmp_path / "machine")
    assert names.resolve(str(tmp_path / "machine" / "link" / "none")) == str(tmp_path / "machine" / "disk" / "none")
    assert names.look(str(tmp_path / "machine" / "disk")) is not None
    os.rename(tmp_path / "machine" / "disk", tmp_path / "away")
    (tmp_path / "machine" / "disk").symlink_to(tmp_path / "victim" / "disk")
    with pytest.raises(StalePlan):
        names.resolve(str(tmp_path / "machine" / "disk"))
    names.close()
    os.rename(tmp_path / "machine", tmp_path / "gone")
    (tmp_path / "machine").symlink_to(tmp_path / "victim")
    with pytest.raises(Escape):
        names.resolve(str(tmp_path / "machine" / "other"))


def test_what_this_run_does_moves_the_pins(names: Names, tmp_path: Path) -> None:
    def path(name: str) -> str:
        return str(tmp_path / name)

    for name in ("a", "b"):
        os.close(names.create(path(name), 0o600)[0])
        (tmp_path / name).write_bytes(name.encode())
    assert names.exchange(path("a"), path("b"))
    assert (opened(names, path("a")), opened(names, path("b"))) == (b"b", b"a")
    names.rename(path("a"), path("b"), replace=True, in_one_step=True)
    assert opened(names, path("b")) == b"b"
    names.remove(path("b"))
    names.remove(path("b"))
    (tmp_path / "b").write_bytes(b"new")
    assert opened(names, path("b")) == b"new"
    names.make_folder(path("d"))
    os.close(names.create(path("d/x"), 0o600)[0])
    names.rename(path("d"), path("e"), replace=False, in_one_step=True)
    assert opened(names, path("e/x")) == b""
    with pytest.raises(FileExistsError):
        names.rename(path("b"), path("e"), replace=False, in_one_step=False)
    names.remove(path("e/x"))
    names.remove_folder(path("e"))
    names.remove_folder(path("e"))
    names.make_folder(path("e"))
    assert names.list(path("e")) == []


def test_a_new_folder_that_somebody_replaces_is_refused(names: Names, tmp_path: Path, monkeypatch: object) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").touch()
    make = os.mkdir

    def replaced(name: str, *, dir_fd: int) -> None:
        make(name, dir_fd=dir_fd)
        os.rename(tmp_path / "new", tmp_path / "away")
        os.rename(tmp_path / "full", tmp_path / "new")

    monkeypatch.setattr(host_names.os, "mkdir", replaced)  # type: ignore[attr-defined]
    with pytest.raises(StalePlan):
        names.make_folder(str(tmp_path / "new"))
    assert os.listdir(tmp_path / "new") == ["precious"]


def test_few_handles_are_kept_and_none_is_inherited(names: Names, tmp_path: Path) -> None:
    gc.collect()
    before = len(os.listdir("/dev/fd"))
    for number in range(100):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "x").touch()
        assert names.look(str(tmp_path / str(number) / "x")) is not None
        assert not os.get_inheritable(names.folder(str(tmp_path / str(number))))
    assert len(os.listdir("/dev/fd")) - before < 30
    assert all(names.look(str(tmp_path / str(number) / "x")) is not None for number in range(100))
    names.close()
    assert len(os.listdir("/dev/fd")) == before


def test_paths_of_all_shapes_lead_to_the_same_name(names: Names, tmp_path: Path, monkeypatch: object) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "x").write_bytes(b"x")
    monkeypatch.chdir(tmp_path)  # type: ignore[attr-defined]
    for path in (f"{tmp_path}/d/x", f"{tmp_path}//d/./x", f"/{tmp_path}/d/../d/x", "d/x", "./d/x"):
        assert opened(names, path) == b"x"
    assert names.look("/") is not None and names.look(str(tmp_path / "none" / "x")) is None
    assert names.look(str(tmp_path / "d" / "x" / "y")) is None
    with pytest.raises(ValueError):
        names.look(f"{tmp_path}/a\0b")
