# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import errno
import os

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    AlreadyExists,
    IoFailure,
    NoPermission,
    NoSpace,
    NotFound,
    ReadOnly,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._io.failures import reported, translated


@pytest.mark.parametrize(
    "number, kind",
    [
        (errno.ENOENT, NotFound),
        (errno.ENOTDIR, NotFound),
        (errno.EEXIST, AlreadyExists),
        (errno.ENOSPC, NoSpace),
        (errno.EDQUOT, NoSpace),
        (errno.EROFS, ReadOnly),
        (errno.EACCES, NoPermission),
        (errno.EPERM, NoPermission),
        (errno.EMFILE, IoFailure),
        (errno.ENFILE, IoFailure),
        (errno.EIO, IoFailure),
        (errno.ELOOP, IoFailure),
        (9999, IoFailure),
    ],
)
def test_each_errno_has_its_error(number, kind):
    error = translated(OSError(number, os.strerror(number)), "open", "/x", 7)
    assert error.__class__ is kind
    assert error.context == {"path": "/x", "offset": 7, "found": errno.errorcode.get(number, "9999")}


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES, errno.EROFS, errno.EIO, errno.EMFILE, errno.ENFILE])
def test_what_the_user_can_mend_carries_a_hint(number):
    assert translated(OSError(number, "x"), "open", "/x").hint


def test_the_message_names_the_operation_and_the_path_and_the_cause_is_kept():
    cause = OSError(errno.EIO, "Input/output error")
    with pytest.raises(IoFailure) as caught, reported("read", "/x"):
        raise cause
    assert "read /x" in str(caught.value)
    assert caught.value.__cause__ is cause


@pytest.mark.parametrize("error", [ValueError("embedded null byte"), OverflowError("too large")])
def test_what_python_refuses_is_reported_as_well(error):
    with pytest.raises(IoFailure) as caught, reported("open", "/x"):
        raise error
    assert caught.value.found == type(error).__name__


@pytest.mark.parametrize("error", [KeyError("x"), KeyboardInterrupt(), NoSpace("full")])
def test_other_errors_pass_as_they_are(error):
    with pytest.raises(type(error)) as caught, reported("open", "/x"):
        raise error
    assert caught.value is error


def test_no_error_is_no_error():
    with reported("open", "/x"):
        pass


def test_what_the_user_can_mend_has_a_code_of_its_own_and_is_still_a_failed_call():
    codes = {number: translated(OSError(number, "x"), "open", "/x").code for number in (errno.EPERM, errno.EROFS)}
    assert codes == {errno.EPERM: "permission", errno.EROFS: "read_only"}
    assert issubclass(NoPermission, IoFailure) and issubclass(ReadOnly, IoFailure)
