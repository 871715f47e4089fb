# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import collections
import json
import subprocess
import sys
import zipfile

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible import payload

FILES = {
    "lorry/__init__.py": "",
    "lorry/start.py": "payload.compile_once(__spec__)\nfrom lorry.cargo import one, two\n",
    "lorry/cargo/__init__.py": "NAME = 'cargo'\n",
    "lorry/cargo/one.py": "from ..cargo import NAME\n",
    "lorry/cargo/two.py": "def fail():\n    raise KeyError(__file__)\n",
    "lorry/late.py": "import lorry.missing\n",
}
# What was compiled, and what the importer says of it, with and without our own.
CODE = """
import builtins, collections, importlib.util, inspect, json, sys, traceback, zipimport
spec = importlib.util.spec_from_file_location("payload", sys.argv[1])
payload = importlib.util.module_from_spec(spec)
spec.loader.exec_module(payload)
builtins.payload = payload
compiled = collections.Counter()
def note(event, given):
    if event == "compile" and isinstance(given[1], str):
        compiled.update([given[1]])
sys.addaudithook(note)
if sys.argv[3] == "no":
    payload.compile_once = lambda spec: None
sys.path.insert(0, sys.argv[2])
import lorry.start
from lorry.cargo import one, two
try:
    two.fail()
except KeyError as error:
    trace = traceback.format_exc()
    named = error.args[0]
try:
    import lorry.late
except ImportError as error:
    missing = error.name
sys.path.insert(0, sys.argv[4])
import other
assert type(other.__loader__) is zipimport.zipimporter
modules = [sys.modules[name] for name in ("lorry.cargo", "lorry.cargo.one", "lorry.cargo.two")]
facts = [[m.__file__, m.__spec__.origin, m.__package__, list(getattr(m, "__path__", []))] for m in modules]
told = {"compiled": compiled, "trace": trace, "named": named, "missing": missing, "facts": facts}
print(json.dumps({**told, "source": inspect.getsource(two)}))
"""


def imported(tmp_path, *, once):
    archive = tmp_path / "archive.zip"
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as stream:
        for name, content in FILES.items():
            stream.writestr(name, content)
    with zipfile.ZipFile(tmp_path / "other.zip", "w") as stream:
        stream.writestr("other.py", "")
    command = [
        sys.executable,
        "-S",
        "-c",
        CODE,
        payload.__file__,
        str(archive),
        "yes" if once else "no",
        str(tmp_path / "other.zip"),
    ]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    compiled = collections.Counter(
        {
            name[len(str(archive)) + 1 :]: count
            for name, count in found.pop("compiled").items()
            if name.startswith(str(archive))
        }
    )
    return found, compiled


def test_what_comes_out_of_an_archive_is_compiled_once(tmp_path):
    _found, compiled = imported(tmp_path, once=True)
    # The first two were there before.
    assert {name: compiled[name] for name in list(FILES)[2:]} == dict.fromkeys(list(FILES)[2:], 1)


def test_all_else_is_as_python_does_it(tmp_path):
    ours, _compiled = imported(tmp_path, once=True)
    theirs, compiled = imported(tmp_path, once=False)
    assert ours == theirs
    assert ours["named"] == str(tmp_path / "archive.zip/lorry/cargo/two.py")
    assert "raise KeyError(__file__)" in ours["trace"]
    assert ours["missing"] == "lorry.missing"
    assert set(compiled) == set(FILES)


@pytest.mark.parametrize("importing", [payload.__spec__, None])
def test_nothing_changes_where_nothing_comes_from_an_archive(importing):
    hooks, cached = list(sys.path_hooks), dict(sys.path_importer_cache)
    payload.compile_once(importing)
    assert (hooks, cached) == (sys.path_hooks, sys.path_importer_cache)


@pytest.mark.parametrize("name", ["lorry.missing", "missing"])
def test_what_is_not_there_has_no_file(tmp_path, name):
    imported(tmp_path, once=True)
    with pytest.raises(ImportError):
        payload.PayloadImporter(str(tmp_path / "archive.zip")).get_filename(name)
