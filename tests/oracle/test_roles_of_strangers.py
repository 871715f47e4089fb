# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Every role over the machines of somebody who gives things names that mean something elsewhere.

Names are templates, markup, several lines, or no UTF-8. They stay names, and each role ends as with any other ones.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any, Dict, List

import pytest
from lxml import etree

from ansible_collections.vdisk.parallels.tests.conftest import ROOT
from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine
from ansible_collections.vdisk.parallels.tests.support.plays import PLAYBOOK, play

pytestmark = [
    pytest.mark.plays,
    pytest.mark.skipif(not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python"),
]

ODD = b"b\xff\xe9".decode("utf-8", "surrogateescape")
LINES = "n\n0000  forged"
EVIL_DISK = '</uuid><devices><disk type="block"><source dev="/dev/vda"/></disk></devices><uuid>'
CONFIG = """<ParallelsVirtualMachine><Identification>
<VmUuid>{{1{evil}}}</VmUuid><VmName>{template} {evil}</VmName></Identification>
<Hardware><Hdd id="0"><Index>0</Index><SystemName>a.hdd</SystemName></Hdd>
<NetworkAdapter><MAC>"/>{evil}</MAC></NetworkAdapter></Hardware></ParallelsVirtualMachine>"""


def role(name: str, /, **variables: Any) -> Dict[str, Any]:
    given = {f"{name}_{key}": value for key, value in variables.items()}
    return {"ansible.builtin.include_role": {"name": f"vdisk.parallels.{name}"}, "vars": given}


def machines(folder: Path) -> str:
    """The template that is the name of a disk."""
    template = "{{ 7 * 191919191 }}{% raw %}"
    (folder / "vms").mkdir()
    for path in (f"a.pvm/{template}.hdd", f"{ODD}.pvm/{ODD}.hdd", f"{LINES}.pvm/{LINES}.hdd"):
        (folder / "vms" / path).parent.mkdir()
        build_bundle(str(folder / "vms" / path), size_sectors=4096, cluster_sectors=128, name="a")
    stray = os.fsencode(str(folder / "vms" / "a.pvm" / f"{template}.hdd")) + b"/\xff{{ 7 * 191919191 }}.hds"
    with open(stray, "wb") as stream:
        stream.write(b"x")
    text = CONFIG.format(evil=EVIL_DISK, template=template)
    (folder / "vms" / "a.pvm" / "config.pvs").write_text(text)
    return template


def test_the_names_of_strangers_stay_names(tmp_path: Path, repository: str) -> None:
    machines(tmp_path)
    vms, out = str(tmp_path / "vms"), tmp_path / "out"
    out.mkdir()
    tasks: List[Dict[str, Any]] = [
        role("audit", paths=[vms], dest=str(out / "audit"), merge=False),
        role("maintain", paths=[vms], orphans=True, threshold="0"),
        role("export", src=f"{vms}/a.pvm", dest=str(out / "a"), libvirt=True),
        role("export", src=f"{vms}/{LINES}.pvm", dest=str(out / "lines")),
        role("export", src=f"{vms}/b\\xff\\xe9.pvm/b\\xff\\xe9.hdd", dest=str(out / "odd"), name="odd", manifest=""),
    ]
    told = play(str(tmp_path / "play"), tasks, repository)
    assert "1343434337" not in told and "Traceback" not in told
    # What was written.
    domain = etree.parse(next(str(out / "a" / name) for name in os.listdir(out / "a") if name.endswith(".xml")))
    assert domain.xpath("//disk/@type") == ["file"] and not domain.xpath("//uuid") and not domain.xpath("//mac")
    assert not domain.xpath("//source/@dev")
    for name in ("audit.json", "audit.html"):
        text = (out / "audit" / name).read_text()
        assert "1343434337" not in text and r"b\xff\xe9.hdd" in text.replace("\\\\", "\\")
    report = json.loads((out / "audit" / "audit.json").read_text())
    assert len(report["hosts"][0]["disks"]) == 3
    (line,) = (out / "lines" / "SHA256SUMS").read_text().splitlines()
    assert len(line.split("  ", 1)[0]) == 64
    assert sorted(os.listdir(out / "odd")) == [".export.json", "odd.qcow2"]


def test_what_is_no_identity_is_not_kept(tmp_path: Path, repository: str) -> None:
    with open(tmp_path / "a.raw", "wb") as stream:
        stream.truncate(1 << 20)
    machine = tmp_path / "boxes" / "a.pvm"
    make_machine(str(machine))
    (machine / "config.pvs").write_text(CONFIG.format(evil="<Evil/>", template=""))
    options = {"src": str(tmp_path / "a.raw"), "dest": str(tmp_path / "boxes"), "name": "a", "reproducible": False}
    with pytest.raises(AssertionError, match="Keep the identities"):
        play(str(tmp_path / "play"), [role("build_box", boot_check=False, pack=False, **options)], repository)
    assert "<AppVersion>" not in (machine / "config.pvs").read_text()


def test_every_role_is_played() -> None:
    with open(__file__, encoding="utf-8") as stream:
        text = stream.read()
    assert all(f'role("{name}"' in text for name in os.listdir(os.path.join(ROOT, "roles")))
