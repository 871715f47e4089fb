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
TEMPLATE, EVALUATED = "{{ 7 * 191919191 }}{% raw %}", str(7 * 191919191)
EVIL = '</uuid><devices><disk type="block"><source dev="/dev/vda"/></disk></devices><uuid>'
CONFIG = """<ParallelsVirtualMachine><Identification>
<VmUuid>{{1{evil}}}</VmUuid><VmName>{template} {evil}</VmName></Identification>
<Hardware><Hdd id="0"><Index>0</Index><SystemName>a.hdd</SystemName></Hdd>
<NetworkAdapter><MAC>"/>{evil}</MAC></NetworkAdapter></Hardware></ParallelsVirtualMachine>"""


def role(called: str, /, **variables: Any) -> Dict[str, Any]:
    given = {f"{called}_{key}": value for key, value in variables.items()}
    return {"ansible.builtin.include_role": {"name": f"vdisk.parallels.{called}"}, "vars": given}


def machines(folder: Path) -> None:
    """A machine with three disks, and one whose own name is odd."""
    for path in (f"a.pvm/{TEMPLATE}.hdd", f"a.pvm/{ODD}.hdd", f"a.pvm/{LINES}.hdd", f"{ODD}.pvm/b.hdd"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        build_bundle(str(folder / path), size_sectors=4096, cluster_sectors=128, name="a")
    with open(os.fsencode(str(folder / "a.pvm" / f"{TEMPLATE}.hdd")) + b"/\xff{{ 7 * 191919191 }}.hds", "wb") as stream:
        stream.write(b"x")
    (folder / "a.pvm" / "config.pvs").write_text(CONFIG.format(evil=EVIL, template=TEMPLATE))


def test_the_names_of_strangers_stay_names(tmp_path: Path, repository: str) -> None:
    vms, out = tmp_path / "vms", tmp_path / "out"
    machines(vms)
    out.mkdir()
    tasks: List[Dict[str, Any]] = [
        role("audit", paths=[str(vms)], dest=str(out / "audit"), merge=False),
        role("maintain", paths=[str(vms)], orphans=True, threshold="0"),
        role("export", src=str(vms / "a.pvm"), dest=str(out / "a"), libvirt=True, verify=False),
    ]
    told = play(str(tmp_path / "play"), tasks, repository)
    assert EVALUATED not in told and "Traceback" not in told
    # The reports.
    for name in ("audit.json", "audit.html"):
        text = (out / "audit" / name).read_text()
        assert EVALUATED not in text and r"b\xff\xe9.hdd" in text.replace("\\\\", "\\")
    report = json.loads((out / "audit" / "audit.json").read_text())
    assert len(report["hosts"][0]["disks"]) == 4
    # The definition.
    domain = etree.parse(str(out / "a" / "a.xml"))
    assert domain.xpath("//disk/@type") == ["file"] * 3 and not domain.xpath("//source/@dev")
    assert not domain.xpath("//uuid") and not domain.xpath("//mac")
    # The manifest.
    images = sorted(name for name in os.listdir(out / "a") if name.endswith(".qcow2"))
    lines = (out / "a" / "SHA256SUMS").read_text().splitlines()
    assert len(images) == 3 and sorted(line[66:] for line in lines) == sorted([*images, "a.xml"])
    assert all("\n" not in name for name in images)


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
