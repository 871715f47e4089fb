# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os
import struct
from pathlib import Path
from typing import Any, Iterator, Tuple

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._io import kernel
from ansible_collections.vdisk.parallels.plugins.module_utils._io.host import attributes

ACL = "system.posix_acl_access"
AS_ROOT = os.geteuid() == 0
_ENTRY = struct.Struct("<HHI")
_NOBODY = 0xFFFFFFFF

pytestmark = pytest.mark.skipif(not hasattr(os, "setxattr"), reason="the host has no such attributes for Python")


def access_list(*, group: int, mask: int) -> bytes:
    """The owner and user 1234 read and write; the group what is said."""
    entries = ((1, 6, _NOBODY), (2, 6, 1234), (4, group, _NOBODY), (16, mask, _NOBODY), (32, 0, _NOBODY))
    return struct.pack("<I", 2) + b"".join(_ENTRY.pack(*entry) for entry in entries)


@pytest.fixture(name="pair")
def pair_fixture(tmp_path: Path) -> Iterator[Tuple[int, int]]:
    descriptors = []
    for name, mode in (("source", 0o640), ("target", 0o600)):
        descriptors.append(os.open(tmp_path / name, os.O_RDWR | os.O_CREAT, mode))
    os.fchmod(descriptors[0], 0o640)
    yield descriptors[0], descriptors[1]
    for descriptor in descriptors:
        os.close(descriptor)


def put_list(descriptor: int, **what: int) -> bytes:
    content = access_list(**what)
    try:
        os.setxattr(descriptor, ACL, content)
    except OSError:
        pytest.skip("the file system has no access control lists")
    return content


def mode_of(descriptor: int) -> int:
    return os.fstat(descriptor).st_mode & 0o7777


def test_mode_and_attributes_are_taken_over(pair: Tuple[int, int]) -> None:
    source, target = pair
    try:
        os.setxattr(source, "user.note", b"mine")
    except OSError:
        pytest.skip("the file system has no such attributes")
    attributes.take_over(source, target)
    assert mode_of(target) == 0o640 and os.getxattr(target, "user.note") == b"mine"


def test_an_access_control_list_is_taken_over_as_it_is(pair: Tuple[int, int]) -> None:
    source, target = pair
    content = put_list(source, group=0, mask=6)
    assert mode_of(source) == 0o660
    attributes.take_over(source, target)
    assert os.getxattr(target, ACL) == content and mode_of(target) == 0o660


def test_where_a_list_cannot_go_the_group_gets_what_it_had(pair: Tuple[int, int], monkeypatch: Any) -> None:
    source, target = pair
    put_list(source, group=4, mask=6)

    def refused(*_arguments: Any) -> None:
        raise OSError(errno.ENOTSUP, "not supported")

    monkeypatch.setattr(attributes.os, "setxattr", refused)
    attributes.take_over(source, target)
    assert mode_of(target) == 0o640


def test_a_list_that_came_from_the_folder_goes(pair: Tuple[int, int]) -> None:
    source, target = pair
    put_list(target, group=6, mask=6)
    attributes.take_over(source, target)
    assert ACL not in os.listxattr(target) and mode_of(target) == 0o640


@pytest.mark.parametrize("group, mask, expected", [(0, 6, 0o600), (6, 4, 0o640), (7, 0, 0o600), (6, 6, 0o660)])
def test_the_bits_of_the_group_are_not_those_of_the_mask(
    pair: Tuple[int, int], group: int, mask: int, expected: int
) -> None:
    source, _target = pair
    put_list(source, group=group, mask=mask)
    assert attributes.permissions(source, os.fstat(source)) & 0o770 == expected


def test_a_list_that_cannot_be_read_is_an_error_and_not_none(pair: Tuple[int, int], monkeypatch: Any) -> None:
    def failing(*_arguments: Any) -> None:
        raise OSError(errno.EIO, "broken")

    for name in ("getxattr", "listxattr"):
        with monkeypatch.context() as patched:
            patched.setattr(attributes.os, name, failing)
            with pytest.raises(OSError):
                attributes.take_over(*pair)


@pytest.mark.parametrize("mode, expected", [(0o660, 0o600), (0o664, 0o644), (0o640, 0o600), (0o666, 0o666)])
def test_without_the_group(mode: int, expected: int) -> None:
    assert attributes.without_group(mode) == expected


@pytest.mark.parametrize("name", ["EPERM", "EINVAL"])
def test_who_may_not_give_files_away_tries_the_group_and_lets_it_in_no_further(
    pair: Tuple[int, int], monkeypatch: Any, name: str
) -> None:
    source, target = pair
    tried = []

    def fchown(_descriptor: int, uid: int, gid: int) -> None:
        tried.append((uid, gid))
        raise OSError(getattr(errno, name), "refused")

    model = os.fstat(source)
    fstat = os.fstat
    other = os.stat_result((*model[:4], 12345, 54321, *model[6:]))
    monkeypatch.setattr(attributes.os, "fstat", lambda number: other if number == source else fstat(number))
    monkeypatch.setattr(attributes.os, "fchown", fchown)
    attributes.take_over(source, target)
    assert tried == [(12345, 54321), (-1, 54321)]
    assert mode_of(target) == 0o600


def test_another_refusal_to_change_the_owner_is_an_error(pair: Tuple[int, int], monkeypatch: Any) -> None:
    def fchown(*_arguments: int) -> None:
        raise OSError(errno.EROFS, "read-only")

    monkeypatch.setattr(attributes.os, "fchown", fchown)
    with pytest.raises(OSError):
        attributes.give_owner(pair[1], 12345, 54321)


@pytest.mark.skipif(not AS_ROOT, reason="only root gives files away")
def test_owner_and_set_id_bits_are_taken_over(pair: Tuple[int, int]) -> None:
    source, target = pair
    os.fchown(source, 12345, 54321)
    os.fchmod(source, 0o4640)
    attributes.take_over(source, target)
    facts = os.fstat(target)
    assert (facts.st_uid, facts.st_gid, mode_of(target)) == (12345, 54321, 0o4640)


def test_macos_copies_by_its_own_call(pair: Tuple[int, int], monkeypatch: Any) -> None:
    asked = []
    monkeypatch.setattr(kernel, "_library", type("Library", (), {"fcopyfile": "fcopyfile"})())
    monkeypatch.setattr(kernel, "_called", lambda *arguments: asked.append(arguments) or 0)
    for name in ("getxattr", "listxattr"):
        monkeypatch.delattr(attributes.os, name)
    attributes.take_over(*pair)
    assert asked == [("fcopyfile", *pair, None, 5)] and mode_of(pair[1]) == 0o640
