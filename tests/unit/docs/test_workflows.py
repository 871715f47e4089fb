# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The workflows for the public service: they run what `.ci/run` runs, with every version that is promised."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any, Dict, List, Tuple

import pytest

yaml: Any = pytest.importorskip("yaml", reason="workflows are YAML")

ROOT = Path(__file__).resolve().parents[3]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))
if not WORKFLOWS:
    pytest.skip("what ansible-test and users get has no workflows", allow_module_level=True)
CONTROLLERS = {
    "2.17": ("3.10", "3.12"),
    "2.18": ("3.11", "3.13"),
    "2.19": ("3.11", "3.13"),
    "2.20": ("3.12", "3.14"),
    "2.21": ("3.12", "3.14"),
}
"""The oldest and the newest Python that each ansible-core runs on."""


def text(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def workflow(name: str) -> Dict[str, Any]:
    loaded: Dict[str, Any] = yaml.safe_load(text(f".github/workflows/{name}.yml"))
    return loaded


def steps(job: Dict[str, Any], key: str) -> List[Any]:
    return [step[key] for step in job["steps"] if key in step]


def pythons(job: Dict[str, Any]) -> List[str]:
    """What a job asks setup-python for."""
    asked = [one["python-version"] for one in steps(job, "with") if "python-version" in one]
    return [version for one in asked for version in str(one).split()]


def sections() -> List[str]:
    """The sections that `.ci/run` runs when it is not told which."""
    found = re.search(r"^\[ \$# -gt 0 \] \|\| set -- (.+)$", text(".ci/run"), re.MULTILINE)
    assert found is not None
    return found[1].split()


def named() -> Tuple[str, str]:
    """The oldest and the newest ansible-core that the README names."""
    found = re.search(r"ansible-core (2\.\d+) to (2\.\d+)", text("README.md"))
    assert found is not None
    return found[1], found[2]


def minor(version: str) -> int:
    return int(version.split(".")[1])


ALL_JOBS = [
    pytest.param(job, id=f"{path.stem}-{name}")
    for path in WORKFLOWS
    for name, job in yaml.safe_load(path.read_text(encoding="utf-8"))["jobs"].items()
]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.stem)
def test_a_workflow_asks_for_little(path: Path) -> None:
    loaded = yaml.safe_load(path.read_text(encoding="utf-8"))
    assert loaded["permissions"] == {"contents": "read"}
    assert not re.search(r"/(home|root|work|tmp|Users|usr|opt)/|secrets\.|pull_request_target", path.read_text())
    # Only the numbers of a ref, not the text of strangers, get into a shell.
    expressions = {one for job in loaded["jobs"].values() for run in steps(job, "run") for one in _used(run)}
    assert expressions <= {"matrix.section", "matrix.core", "matrix.python"}


def _used(run: str) -> List[str]:
    return re.findall(r"\$\{\{ *(.+?) *\}\}", run)


@pytest.mark.parametrize("job", ALL_JOBS)
def test_a_job_ends_in_time_and_takes_actions_as_they_were_read(job: Dict[str, Any]) -> None:
    assert 0 < job["timeout-minutes"] <= 90
    assert "permissions" not in job
    for action in steps(job, "uses"):
        assert re.fullmatch(r"actions/[\w\-]+@[0-9a-f]{40}", action), action
    assert steps(job, "uses")[0].startswith("actions/checkout@")
    assert job["steps"][0]["with"]["persist-credentials"] is False


def test_the_same_action_is_the_same_everywhere_and_says_its_version() -> None:
    found = {line for path in WORKFLOWS for line in re.findall(r"uses: (\S+ .*)", path.read_text(encoding="utf-8"))}
    assert len({line.partition("@")[0] for line in found}) == len(found)
    assert [line for line in found if not re.search(r" # v\d+\.\d+\.\d+$", line)] == []


@pytest.mark.parametrize("job", ALL_JOBS)
def test_what_is_run_exists(job: Dict[str, Any]) -> None:
    matrix = job.get("strategy", {}).get("matrix", {})
    targets = set(re.search(r"^\.PHONY: (.+)$", text("Makefile"), re.MULTILINE)[1].split())  # type: ignore[index]
    for run in steps(job, "run"):
        for words in [one.split() for one in re.findall(r"^\.ci/run (.+)$", run, re.MULTILINE)]:
            asked = matrix["section"] if words == ["${{", "matrix.section", "}}"] else words
            assert set(asked) <= targets | {"deep"}
        for path in re.findall(r"(tests/\S+)", run):
            assert (ROOT / path).exists()


def test_every_section_runs_on_linux_with_every_python() -> None:
    job = workflow("ci")["jobs"]["linux"]
    assert job["runs-on"].startswith("ubuntu-")
    assert job["strategy"]["matrix"]["section"][: len(sections())] == sections()
    found = re.search(r"^\| Python on the managed node \| 3\.(\d+) to 3\.(\d+) ", text("README.md"), re.MULTILINE)
    assert found is not None
    assert pythons(job) == [f"3.{number}" for number in range(int(found[1]), int(found[2]) + 1)]


def test_every_ansible_core_is_tried_with_its_oldest_and_newest_python() -> None:
    required = yaml.safe_load(text("meta/runtime.yml"))["requires_ansible"]
    oldest, newest = named()
    assert required == f">={oldest}.0"
    assert f"| ansible-core | {oldest} or newer |" in text("README.md")
    assert list(CONTROLLERS) == [f"2.{number}" for number in range(minor(oldest), minor(newest) + 1)]
    job = workflow("ci")["jobs"]["core"]
    pairs = [(one["core"], one["python"]) for one in job["strategy"]["matrix"]["include"]]
    assert pairs == [(core, python) for core, ends in CONTROLLERS.items() for python in ends]
    assert job["env"] == {"CORE": "${{ matrix.core }}", "CONTROLLER": "${{ matrix.python }}"}


def test_the_oldest_controller_is_the_one_of_the_readme() -> None:
    oldest = min((python for ends in CONTROLLERS.values() for python in ends), key=minor)
    assert f"needs, {oldest} or newer |" in text("README.md")


def test_the_newest_python_of_the_newest_ansible_core_is_covered() -> None:
    """Of the ansible-core beside this Python; the job `newest` runs this with what is newest that day."""
    constants = _of_ansible_test()
    import ansible.release

    core = ".".join(ansible.release.__version__.split(".")[:2])
    assert core in CONTROLLERS, "name it in the README, here, and in .github/workflows/ci.yml"
    known = [f"3.{number}" for number in re.findall(r"3\.(\d+)", constants)]
    assert CONTROLLERS[core] == (min(known, key=minor), max(known, key=minor))


def _of_ansible_test() -> str:
    """The Pythons of controllers, as the ansible-test beside this Python lists them."""
    import importlib.util

    found = importlib.util.find_spec("ansible_test")
    if found is None or not found.submodule_search_locations:
        pytest.skip("there is no ansible-test beside this Python")
    path = Path(found.submodule_search_locations[0], "_util", "target", "common", "constants.py")
    block = re.search(r"^CONTROLLER_PYTHON_VERSIONS = \(\n(.*?)^\)", path.read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


def test_the_macos_job_runs_the_tests() -> None:
    job = workflow("ci")["jobs"]["macos"]
    assert all(runner.startswith("macos-") for runner in job["strategy"]["matrix"]["runner"])
    assert [run for run in steps(job, "run") if run.startswith(".ci/run ") and "test-all" in run.split()]
    assert CONTROLLERS[named()[1]][1] in pythons(job)


def test_test_all_has_what_the_macos_job_is_for() -> None:
    script = text("tests/utils/test.sh")
    assert "tests/unit" in script and "for kind in architecture property" in script and "tests/integration" in script


def test_workflows_stay_out_of_the_archive() -> None:
    assert {".github", ".ci"} <= set(yaml.safe_load(text("galaxy.yml"))["build_ignore"])


def test_a_release_is_what_its_tag_says() -> None:
    release = workflow("release")
    version = str(yaml.safe_load(text("galaxy.yml"))["version"])
    (pattern,) = release["on"]["push"]["tags"]
    assert re.fullmatch(pattern.replace(".", "[.]"), version)
    assert f"\nversion: {version}\n" in text("galaxy.yml")
    runs = steps(release["jobs"]["archive"], "run")
    assert runs[0] == 'grep -q -x "version: $GITHUB_REF_NAME" galaxy.yml' and ".ci/run artifact" in runs
