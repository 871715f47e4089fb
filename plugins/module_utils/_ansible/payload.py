# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""The archive in which Ansible sends a module with all that it imports."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import posixpath
import sys
from importlib.machinery import ModuleSpec
from typing import Optional
from zipimport import zipimporter


class PayloadImporter(zipimporter):
    """Imports from an archive and compiles each module once; ``zipimport`` does it twice, to name the file first."""

    def get_filename(self, fullname: str) -> str:
        """The file of a module. Raises ZipImportError for one that is not in the archive."""
        tail = "/__init__.py" if self.is_package(fullname) else ".py"
        return posixpath.join(self.archive, self.prefix) + fullname.rpartition(".")[2] + tail


def compile_once(importing: Optional[ModuleSpec]) -> None:
    """Let PayloadImporter import from now on what is in the archive of ``importing``, if it comes from one."""
    loader = getattr(importing, "loader", None)
    if not isinstance(loader, zipimporter):
        return
    archive = loader.archive

    def importer(path: str) -> zipimporter:
        found = zipimporter(path)
        return PayloadImporter(path) if found.archive == archive else found

    sys.path_hooks[:] = [importer if hook is zipimporter else hook for hook in sys.path_hooks]
    for path, finder in tuple(sys.path_importer_cache.items()):
        if isinstance(finder, zipimporter) and finder.archive == archive:
            del sys.path_importer_cache[path]
