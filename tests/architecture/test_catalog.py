# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whatever lists formats besides the catalog says the same: module options, role options, README and docs."""

from __future__ import annotations

import ast
import re
from typing import Any, Dict, List, Mapping, Set

import pytest
import yaml

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.shape import refuse_odd_cluster
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import BadRequest
from ansible_collections.vdisk.parallels.plugins.module_utils._core.units import format_size
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.catalog import FORMATS, HDD, NONE, RAW, ZLIB
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.codecs import OPENERS, WRITERS
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.detect import MARKS, UNSTRUCTURED
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vmdk.descriptor import ADAPTER_TYPES
from ansible_collections.vdisk.parallels.tests.architecture import sources

MODULE = "plugins/modules/hdd_convert.py"
FOREIGN = [row.name for row in FORMATS.values() if row.is_foreign]


def _assigned(path: str) -> Dict[str, Any]:
    """The literals that a module assigns to names of its own."""
    found: Dict[str, Any] = {}
    for node in sources.parse(path).body:
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = ast.literal_eval(node.value)
    return found


def _spec() -> Mapping[str, Mapping[str, Any]]:
    """The argument spec of hdd_convert, as it stands there."""
    lists = _assigned(MODULE)
    main = next(node for node in sources.parse(MODULE).body if isinstance(node, ast.FunctionDef))
    assignment = next(node for node in main.body if isinstance(node, ast.Assign))
    spec: Mapping[str, Mapping[str, Any]] = eval(
        ast.unparse(assignment.value), {"dict": dict, "idle_spec": lambda *_names: {}, **lists}
    )
    return spec


def _documented() -> Mapping[str, Mapping[str, Any]]:
    options: Mapping[str, Mapping[str, Any]] = yaml.safe_load(_assigned(MODULE)["DOCUMENTATION"])["options"]
    return options


def _choices() -> Dict[str, List[str]]:
    """The choices that the catalog gives to options of hdd_convert."""
    rows = FORMATS.values()
    versions = {str(version) for row in rows for version in row.versions}
    compressions = dict.fromkeys([*(name for row in rows for name in row.compressions), ZLIB])
    return {
        "src_format": ["auto", *FORMATS],
        "dest_format": list(FORMATS),
        "subformat": list(dict.fromkeys(kind for row in _by_kinds() for kind in (*row.kinds, *row.text_kinds))),
        "format_version": ["auto", *sorted(versions)],
        "compression": sorted(compressions, key=[NONE, "zlib", "zstd"].index),
        "adapter_type": list(ADAPTER_TYPES),
    }


def _by_kinds() -> List[Any]:
    """The rows with the longest list of kinds last, as the option names them."""
    return sorted(FORMATS.values(), key=lambda row: (row.is_foreign, len(row.kinds)))


@pytest.mark.parametrize("option", _choices())
def test_choices_of_the_module_are_those_of_the_catalog(option: str) -> None:
    expected = set(_choices()[option])
    for choices in (_spec()[option]["choices"], _documented()[option]["choices"]):
        assert len(choices) == len(set(choices)) and set(choices) == expected


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_options_that_only_some_formats_know_are_options_of_the_module(row: Any) -> None:
    assert set(row.options) <= set(_spec())


def _sizes(name: str) -> Set[str]:
    clusters = FORMATS[name].clusters
    assert clusters is not None
    return {_short(clusters.smallest), _short(clusters.largest)}


def _short(size: int) -> str:
    """As options take it: 64K, 2M."""
    return re.sub(r" ?([KM])iB$", r"\1", format_size(size)).replace(" B", "").replace(" bytes", "")


@pytest.mark.parametrize("name", [row.name for row in FORMATS.values() if "cluster_size" in row.options])
def test_the_module_names_the_cluster_sizes_of_the_catalog(name: str) -> None:
    text = " ".join(_documented()["cluster_size"]["description"])
    assert _sizes(name) <= set(re.findall(r"V\((\w+)\)", text))


def test_the_module_names_every_suffix_and_kind() -> None:
    suffixes = set(re.findall(r"C\((\.\w+)\)", " ".join(_documented()["dest_format"]["description"])))
    assert suffixes == {suffix for row in FORMATS.values() for suffix in row.suffixes}
    kinds = set(re.findall(r"V\((\w+)\)", " ".join(_documented()["subformat"]["description"])))
    assert kinds >= {kind for row in FORMATS.values() if row.name != "vmdk" for kind in row.kinds}
    assert FORMATS["vmdk"].kinds[0] in kinds


def test_the_short_description_names_every_format() -> None:
    text = yaml.safe_load(_assigned(MODULE)["DOCUMENTATION"])["short_description"].lower()
    assert [name for name in (RAW, *FOREIGN) if not re.search(rf"\b{name}\b", text)] == []


def _role_options(role: str) -> Mapping[str, Any]:
    options: Mapping[str, Any] = yaml.safe_load(sources.read(f"roles/{role}/meta/argument_specs.yml"))[
        "argument_specs"
    ]["main"]["options"]
    return options


def test_roles_offer_the_formats_of_the_catalog() -> None:
    assert set(_role_options("build_box")["build_box_src_format"]["choices"]) == {"auto", *FORMATS}
    target = _role_options("export")["export_targets"]["options"]
    assert set(target["format"]["choices"]) == set(FORMATS)
    assert set(target["compression"]["choices"]) == set(_choices()["compression"])


def test_the_export_gives_formats_the_names_that_qemu_has_for_them() -> None:
    called = yaml.safe_load(sources.read("roles/export/vars/main.yml"))["__export_qemu_formats"]
    assert {name: called[name] for name in called if called[name] not in (name, *FORMATS[name].aliases)} == {}


@pytest.mark.parametrize("path", ["README.md", "roles/export/README.md", "roles/build_box/README.md"])
def test_a_readme_that_lists_formats_lists_all(path: str) -> None:
    needed = [re.compile(rf"\b{name}\b", re.IGNORECASE) for name in (RAW, *FOREIGN)]
    assert any(all(pattern.search(line) for pattern in needed) for line in sources.read(path).split("\n"))


def _table() -> Dict[str, List[str]]:
    """The rows of the table of formats in the docs, by their first cell."""
    lines = sources.read("docs/conversion.md").split("\n")
    start = next(number for number, line in enumerate(lines) if line.startswith("| format |"))
    rows: Dict[str, List[str]] = {}
    for line in lines[start + 2 :]:
        if not line.startswith("|"):
            break
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        rows[cells[0]] = cells[1:]
    return rows


def test_the_table_of_the_docs_has_a_row_for_each_format() -> None:
    assert list(_table()) == list(FORMATS)


@pytest.mark.parametrize("row", FORMATS.values(), ids=lambda row: row.name)
def test_a_row_of_the_docs_says_what_the_catalog_says(row: Any) -> None:
    written, _read, layers = _table()[row.name]
    assert set(re.findall(r"`(\w+)`", written)) == {*row.kinds, *row.text_kinds} - {row.overlay_kind}
    assert set(re.findall(r"`(\w+)`", layers)) == ({row.overlay_kind} if row.overlay_kind else set())
    assert layers.startswith("no") is not row.has_layers
    assert [name for name in row.compressions if name != NONE and name not in written] == []
    if row.name != HDD:
        assert all(str(version) in written for version in row.versions)


def test_every_format_has_an_opener_a_writer_and_a_mark() -> None:
    assert set(OPENERS) == {row.name for row in FORMATS.values() if row.is_parent}
    assert set(WRITERS) == set(FOREIGN)
    assert {row.detected_as for row in FORMATS.values()} - {UNSTRUCTURED} <= set(MARKS)


def test_names_and_suffixes_mean_one_format() -> None:
    names = [name for row in FORMATS.values() for name in (row.name, *row.aliases)]
    suffixes = [suffix for row in FORMATS.values() for suffix in row.suffixes]
    assert len(names) == len(set(names)) and len(suffixes) == len(set(suffixes))


def test_bundles_take_the_clusters_of_the_catalog() -> None:
    clusters = FORMATS[HDD].clusters
    assert clusters is not None
    refuse_odd_cluster(clusters.smallest)
    refuse_odd_cluster(clusters.largest)
    for size in (clusters.smallest // 2, clusters.largest * 2):
        with pytest.raises(BadRequest):
            refuse_odd_cluster(size)
