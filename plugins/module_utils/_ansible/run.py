# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Running one module: the only place where errors of the engine become failed tasks.

Modules import this before all else of the collection, so that the rest is compiled once.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
from typing import TYPE_CHECKING, Any, Callable, Dict, List, Optional, Sequence

from ansible.module_utils.basic import AnsibleModule

from .._core.errors import BadRequest, DiskError
from .._io.process import setting
from .deps import require_lxml
from .names import meant, readable
from .payload import compile_once

if TYPE_CHECKING:
    from .._io.port import Port
    from .._io.real import OsPort

Result = Dict[str, Any]

compile_once(__spec__)


class _Module(AnsibleModule):  # type: ignore[misc]
    progress: Any = None
    """The receiver of progress, None for none."""
    host: Any = None
    """The host as this run sees it, once it has looked."""

    def add_path_info(self, kwargs: Result) -> Result:
        """Nothing: what Ansible adds beside a path would differ in check mode, and take a bundle for a directory."""
        return kwargs

    def exit_json(self, **kwargs: Any) -> None:
        """End with a result that every text of can be shown."""
        super().exit_json(**readable(kwargs))

    def fail_json(self, msg: str, **kwargs: Any) -> None:
        """Fail with one."""
        super().fail_json(readable(msg), **readable(kwargs))

    def warn(self, warning: str) -> None:
        """Likewise."""
        super().warn(readable(warning))


def run_module(spec: Dict[str, Any], work: Callable[[AnsibleModule], Result], **constraints: Any) -> None:
    """Parse the arguments, do ``work`` and leave with its result, or with the error's code, context and advice."""
    module = _Module(argument_spec=spec, supports_check_mode=True, **constraints)
    require_lxml(module)
    _start_progress(module)
    try:
        result = work(module)
    except DiskError as error:
        if error.path is None:
            # A wrong option is found before any file is opened.
            error.path = module.params.get("path") or module.params.get("dest")
        module.fail_json(msg=str(error), error_code=error.code, error_context=error.context)
    finally:
        if module.progress is not None:
            module.progress.close()
    for warning in dict.fromkeys(result.pop("warnings", ())):
        module.warn(warning)
    module.exit_json(**result)


def own_port(module: AnsibleModule) -> OsPort:
    """The one port of a run: what a name stood for when one part of the run saw it, it stands for in all others."""
    from .._io.real import OsPort

    port: Optional[OsPort] = getattr(module, "host", None)
    if port is None:
        module.host = port = OsPort()
    return port


def _start_progress(module: _Module) -> None:
    path = setting("VDISK_PROGRESS_FILE")
    if path is not None and not module.check_mode:
        from .._io.real import OsPort
        from .progress import start_progress

        module.progress = start_progress(OsPort(), path)


def absolute(port: Port, path: str, option: str = "path") -> str:
    """The path as the engine wants it: absolute, its directory without links. Raises BadRequest for an empty one."""
    if not path.strip():
        # It would mean the working directory.
        raise BadRequest(f"{option}: the path is empty", hint="Look at the variable that it comes from.")
    directory, base = posixpath.split(path.rstrip("/"))
    if base in ("", ".", ".."):
        return port.real_path(meant(port, path))
    directory = meant(port, directory or ("/" if path.startswith("/") else "."))
    return meant(port, posixpath.join(port.real_path(directory), base))


def absolute_all(module: AnsibleModule, port: Port, paths: Sequence[str], option: str = "paths") -> List[str]:
    """Such paths of a list, with a warning of an empty one, with which nothing happens."""
    if not paths:
        module.warn(f"{option}: the list is empty, so there is nothing to do. Look at the variable that it comes from.")
    return [absolute(port, path, option) for path in paths]


def failure_of(error: DiskError) -> Result:
    """An error as an entry of ``failed_disks``, without the path."""
    return {"error_code": error.code, "msg": str(error), "error_context": error.context}


def titled_diff(title: str, before: Dict[str, Any], after: Dict[str, Any]) -> Dict[str, Any]:
    """A difference as Ansible shows it."""
    return {"before": before, "after": after, "before_header": title, "after_header": title}
