# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Owner, group and mode of what a task makes, as Ansible's common file options ask for them.

They are set through the port, by open file: somebody who swaps a name for a link gains nothing. Only ``attributes`` and
the SELinux options, which few set, are Ansible's own, by path.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, Optional, Sequence, Tuple

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import AlreadyExists, BadRequest, SharedLayer
from .._io.port import DIRECTORY, FILE, Port, Stat
from .._io.process import group_id, own_user_id, umask, user_id

_REGULAR, _FOLDER = 0o100000, 0o040000
_QUOTED = "Write it in quotes, such as mode: '0600' or mode: 'u=rw,g=r,o='."


def cover_new_files(port: Port, module: AnsibleModule) -> None:
    """The mode that the task asks for holds for new files from their first byte on.

    Raises BadRequest for a mode, an owner or a group that there is not, before anything is written.
    """
    _number(module.params.get("owner"), user_id, "owner")
    _number(module.params.get("group"), group_id, "group")
    mode = _mode(module, _REGULAR | 0o666 & ~umask())
    if mode is not None:
        port.cover(mode)


def refuse_other_owner(port: Port, module: AnsibleModule, dest: str, sources: Sequence[str]) -> None:
    """Raise AlreadyExists for an output that replaces a file of somebody who may not read a source.

    The output keeps the owner of the file that it replaces, and whoever owns a folder can put files into it.
    """
    if own_user_id() or module.params.get("owner") is not None:
        # Only root gives files away.
        return
    there = port.lstat(port.real_path(dest))
    if there is None or there.kind != FILE or there.uid == 0:
        return
    for path in sources:
        stat = port.lstat(path)
        is_shown = stat is None or stat.mode & 0o004 or stat.uid == there.uid
        if not is_shown and not (stat and stat.gid == there.gid and stat.mode & 0o040):
            raise AlreadyExists(
                f"The file at {dest} belongs to user {there.uid}, who may not read {path} and would get what it holds",
                path=dest,
                found=there.uid,
                hint="Set owner to say whose the output is, or remove the file.",
            )


def apply_file_options(port: Port, module: AnsibleModule, paths: Sequence[str], *, changed: bool) -> bool:
    """Give every path the owner, group, mode and attributes of the task; returns whether anything changed."""
    for path in paths:
        changed = _apply(port, module, path, changed, has_mode=True)
    return changed


def apply_owner(port: Port, module: AnsibleModule, directory: str, *, changed: bool) -> bool:
    """Give the directory of a bundle the owner and group of the task; ``mode`` and attributes are for files."""
    return _apply(port, module, directory, changed, has_mode=False)


def _apply(port: Port, module: AnsibleModule, path: str, changed: bool, *, has_mode: bool) -> bool:
    stat = port.lstat(path)
    if stat is None or stat.kind not in (FILE, DIRECTORY):
        return changed
    now = (stat.mode, stat.uid, stat.gid)
    wanted = _wanted(module, stat, has_mode=has_mode)
    if wanted != now:
        _refuse_shared(stat, path)
        changed = True
        if not module.check_mode:
            port.set_attributes(path, mode=wanted[0], uid=wanted[1], gid=wanted[2])
    arguments = module.load_file_common_arguments(module.params, path=path)
    arguments.update(owner=None, group=None, mode=None)
    if not has_mode:
        arguments.update(attributes=None)
    return bool(module.set_fs_attributes_if_different(arguments, changed, expand=False))


def _refuse_shared(stat: Stat, path: str) -> None:
    """Whoever owns a folder may have given a name in it to a file of somebody else, who would lose it so."""
    if stat.kind == FILE and stat.links > 1:
        raise SharedLayer(
            f"The file has {stat.links} names (hard links); all of them would get the owner and mode of this one",
            path=path,
            found=stat.links,
            expected=1,
            hint="Give it a file of its own first: cp FILE FILE.own && mv FILE.own FILE.",
        )


def _wanted(module: AnsibleModule, stat: Stat, *, has_mode: bool) -> Tuple[int, int, int]:
    kind = _FOLDER if stat.kind == DIRECTORY else _REGULAR
    mode = _mode(module, kind | stat.mode) if has_mode else None
    uid = _number(module.params.get("owner"), user_id, "owner")
    gid = _number(module.params.get("group"), group_id, "group")
    return (
        stat.mode if mode is None else mode,
        stat.uid if uid is None else uid,
        stat.gid if gid is None else gid,
    )


def _mode(module: AnsibleModule, before: int) -> Optional[int]:
    """The permission bits that ``mode`` asks for, given those ``before``; None when it was left out."""
    value = module.params.get("mode")
    if value is None:
        return None
    if isinstance(value, int):
        return _mode_of_number(value)
    try:
        mode = int(value, 8)
    except (TypeError, ValueError):
        try:
            mode = module._symbolic_mode_to_octal(SimpleNamespace(st_mode=before), value)
        except Exception as error:  # Ansible raises whatever it meets.
            raise BadRequest("mode: it must be octal or symbolic", found=str(value)[:80], hint=_QUOTED) from error
    if mode & ~0o7777 or mode < 0:
        raise BadRequest("mode: only permission bits are allowed", found=str(value)[:80])
    return int(mode)


def _mode_of_number(value: int) -> int:
    """YAML reads a mode without quotes as a number: 0600 as octal, which is right, and 600 as decimal, which is not:
    most of those that people mean have bits then that no disk needs.
    """
    if isinstance(value, bool) or not 0 <= value <= 0o777:
        raise BadRequest("mode: the number is no mode of a file", found=value, expected="0 to 0777", hint=_QUOTED)
    return value


def _number(value: Any, lookup: Any, option: str) -> Optional[int]:
    """The number of a user or group that is given by name or number."""
    if value is None:
        return None
    found = int(value) if str(value).isdigit() else lookup(str(value))
    if found is None:
        text, hint = f"{option}: there is none of that name on this host", "Correct it, or create it first."
        raise BadRequest(text, found=str(value)[:80], hint=hint)
    return int(found)
