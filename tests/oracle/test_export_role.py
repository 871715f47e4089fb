# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role export: what libvirt's own schema says of its definitions, and guests that start in QEMU, or do not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any, Dict, List

import pytest
from lxml import etree

from ansible_collections.vdisk.parallels.tests.support import oracles
from ansible_collections.vdisk.parallels.tests.support.images import fill
from ansible_collections.vdisk.parallels.tests.support.machines import make_machine

PLAYBOOK = os.path.join(os.path.dirname(sys.executable), "ansible-playbook")
SCHEMA = "/usr/share/libvirt/schemas/domain.rng"
MIB = 1 << 20
pytestmark = pytest.mark.skipif(
    not os.access(PLAYBOOK, os.X_OK), reason="there is no ansible-playbook beside this Python"
)


def play(folder: Path, repository: str, *runs: Dict[str, Any]) -> subprocess.CompletedProcess[bytes]:
    """Play the role once for each set of variables, in one playbook."""
    tree = folder / "collections" / "ansible_collections" / "vdisk"
    tree.mkdir(parents=True, exist_ok=True)
    if not (tree / "parallels").is_symlink():
        (tree / "parallels").symlink_to(repository)
    (folder / "ansible.cfg").touch()
    tasks = [{"ansible.builtin.include_role": {"name": "vdisk.parallels.export"}, "vars": run} for run in runs]
    (folder / "play.yml").write_text(
        json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}])
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")}
    environment.update(
        ANSIBLE_COLLECTIONS_PATH=str(folder / "collections"),
        ANSIBLE_HOME=str(folder / "home"),
        ANSIBLE_CONFIG=str(folder / "ansible.cfg"),
    )
    environment.update(ANSIBLE_NOCOLOR="1", ANSIBLE_LOCALHOST_WARNING="false", LC_ALL="C.UTF-8", TMPDIR=str(folder))
    command = [
        PLAYBOOK,
        "-i",
        "localhost,",
        "-e",
        json.dumps({"ansible_python_interpreter": sys.executable}),
        str(folder / "play.yml"),
    ]
    return subprocess.run(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=600,
        check=False,
    )


def played(folder: Path, repository: str, *runs: Dict[str, Any]) -> str:
    ended = play(folder, repository, *runs)
    assert ended.returncode == 0, ended.stdout.decode()
    return ended.stdout.decode()


def boot_disk(path: Path, text: str) -> None:
    """A disk whose boot sector writes ``text`` to the first serial port and stops. For x86 with a BIOS."""
    start = bytes.fromhex("fc31c08ed8baf803")  # cld; ax = ds = 0; dx = the port
    loop = bytes.fromhex("ac84c07403eeebf8f4ebfd")  # next: lodsb; if al is 0, stop; out dx, al; next. stop: hlt; stop
    message = 0x7C00 + len(start) + 3 + len(loop)
    code = start + b"\xbe" + message.to_bytes(2, "little") + loop + text.encode() + b"\0"
    path.write_bytes(code.ljust(510, b"\0") + b"\x55\xaa" + fill(1, MIB - 512))


@pytest.fixture(name="schema")
def schema_fixture(tmp_path: Path) -> etree.RelaxNG:
    """libvirt's schema: of this machine, or out of Debian's package, which is unpacked and not installed."""
    if os.path.exists(SCHEMA):
        return etree.RelaxNG(file=SCHEMA)
    if shutil.which("apt-get") is None or shutil.which("dpkg-deb") is None:
        pytest.skip("libvirt's schema is not installed (Debian packages libvirt0, libvirt-common)")
    folder = tmp_path / "schema"
    folder.mkdir()
    for package in ("libvirt0", "libvirt-common"):
        oracles.run("apt-get", "download", "-q", package, directory=str(folder))
    for package in sorted(folder.glob("*.deb")):
        oracles.run("dpkg-deb", "-x", str(package), str(folder))
    found = folder / SCHEMA[1:]
    if not found.exists():
        pytest.skip("libvirt's schema is not installed and cannot be had (Debian packages libvirt0, libvirt-common)")
    return etree.RelaxNG(file=str(found))


def definition(path: Path, schema: etree.RelaxNG) -> etree._ElementTree:
    found = etree.parse(str(path))
    assert schema.validate(found), f"{path.read_text()}\n{schema.error_log}"
    oracles.compared("libvirt schema")
    return found


def test_definitions_are_valid_for_libvirt_and_say_what_was_asked(
    tmp_path: Path, repository: str, schema: etree.RelaxNG
) -> None:
    source = tmp_path / "guest, & co.raw"
    source.write_bytes(fill(1, MIB))
    common = {"export_src": str(source), "export_libvirt": True, "export_verify": False, "export_manifest": ""}
    wanted: List[Dict[str, Any]] = [
        {},
        {"export_libvirt_arch": "aarch64", "export_targets": [{"format": "vmdk"}, {"format": "raw"}]},
        {
            "export_libvirt_firmware": "uefi",
            "export_libvirt_disk_bus": "virtio",
            "export_targets": [{"format": "vhd"}],
            "export_libvirt_network": "",
        },
        {
            "export_libvirt_disk_bus": "scsi",
            "export_targets": [{"format": "vdi"}],
            "export_libvirt_name": "a <b>",
            "export_libvirt_image_dir": "/var/lib/x",
        },
        {
            "export_libvirt_cpus": 7,
            "export_libvirt_memory": 4096,
            "export_libvirt_disk_bus": "usb",
            "export_targets": [{"format": "vmdk"}],
        },
    ]
    played(
        tmp_path,
        repository,
        *[{**common, **run, "export_dest": str(tmp_path / f"out{number}")} for number, run in enumerate(wanted)],
    )
    found = [definition(tmp_path / f"out{number}" / "guest, & co.xml", schema) for number in range(len(wanted))]

    def said(path: str) -> List[Any]:
        return [one.xpath(f"string({path})") for one in found]

    assert said("/domain/name") == ["guest, & co", "guest, & co", "guest, & co", "a <b>", "guest, & co"]
    assert said("/domain/os/type/@arch") == ["x86_64", "aarch64", "x86_64", "x86_64", "x86_64"]
    assert said("/domain/os/@firmware") == ["", "efi", "efi", "", ""]
    assert said("//disk/driver/@type") == ["qcow2", "raw", "vpc", "vdi", "vmdk"]
    assert said("//disk/target/@bus") == ["sata", "virtio", "virtio", "scsi", "usb"]
    assert said("/domain/vcpu") == ["2", "2", "2", "2", "7"] and said("/domain/memory") == [
        "2048",
        "2048",
        "2048",
        "2048",
        "4096",
    ]
    assert said("//interface/source/@network") == ["default", "default", "", "default", "default"]
    assert said("//disk/source/@file")[0] == str(tmp_path / "out0" / "guest, & co.qcow2")
    assert said("//disk/source/@file")[3] == "/var/lib/x/guest, & co.vdi"


CONFIG = """<ParallelsVirtualMachine><Identification>
<VmUuid>{{9C27AE79-fbe5-4c84-9cdc-e1459f642b91}}</VmUuid><VmName>Mac &amp; more</VmName></Identification>
<Settings><Startup><Bios><EfiEnabled>{efi}</EfiEnabled></Bios></Startup></Settings>
<Hardware><Cpu dyn_lists=""><Number>6</Number><Type>{arm}</Type></Cpu><Memory><RAM>3072</RAM></Memory>
<Hdd id="0"><Index>0</Index><SystemName>a.hdd</SystemName></Hdd>
<Hdd id="1"><Index>1</Index><SystemName>b.hdd</SystemName></Hdd>
<NetworkAdapter><MAC>001C4228AB56</MAC></NetworkAdapter></Hardware></ParallelsVirtualMachine>"""


def test_a_machine_becomes_the_same_machine_with_all_its_disks(
    tmp_path: Path, repository: str, schema: etree.RelaxNG
) -> None:
    from ansible_collections.vdisk.parallels.tests.support.bundles import build_bundle

    for name, efi, arm in (("arm", 1, 1), ("intel", 0, 0)):
        make_machine(str(tmp_path / f"{name}.pvm"))
        (tmp_path / f"{name}.pvm" / "config.pvs").write_text(CONFIG.format(efi=efi, arm=arm))
        for disk in ("a", "b"):
            build_bundle(str(tmp_path / f"{name}.pvm" / f"{disk}.hdd"), size_sectors=2048)
    common = {"export_libvirt": True, "export_verify": False}
    played(
        tmp_path,
        repository,
        {**common, "export_src": str(tmp_path / "arm.pvm"), "export_dest": str(tmp_path / "one")},
        {
            **common,
            "export_src": str(tmp_path / "intel.pvm"),
            "export_dest": str(tmp_path / "two"),
            "export_name": "pc",
        },
    )
    arm, intel = definition(tmp_path / "one" / "arm.xml", schema), definition(tmp_path / "two" / "pc.xml", schema)
    assert [one.xpath("string(/domain/os/@firmware)") for one in (arm, intel)] == ["efi", ""]
    assert [one.xpath("string(/domain/os/type/@arch)") for one in (arm, intel)] == ["aarch64", "x86_64"]
    assert arm.xpath("string(/domain/name)") == "Mac & more"
    assert arm.xpath("string(/domain/uuid)") == "9c27ae79-fbe5-4c84-9cdc-e1459f642b91"
    assert (arm.xpath("string(/domain/vcpu)"), arm.xpath("string(/domain/memory)")) == ("6", "3072")
    assert arm.xpath("string(//mac/@address)") == "00:1c:42:28:ab:56"
    assert [os.path.basename(one) for one in arm.xpath("//disk/source/@file")] == ["arm-a.qcow2", "arm-b.qcow2"]
    assert arm.xpath("//disk/target/@dev") == ["vda", "vdb"] and intel.xpath("//disk/target/@dev") == ["sda", "sdb"]
    names = [".export.json", "SHA256SUMS", "pc-a.qcow2", "pc-b.qcow2", "pc.xml"]
    assert sorted(os.listdir(tmp_path / "two")) == names


def test_a_guest_starts_in_qemu_and_its_image_stays_as_it_is(tmp_path: Path, repository: str) -> None:
    if shutil.which("qemu-system-x86_64") is None:
        pytest.skip("qemu-system-x86_64 is not installed (Debian package qemu-system-x86)")
    boot_disk(tmp_path / "guest.raw", "guest: ready\r\n")
    out = tmp_path / "out, put"
    run = {
        "export_src": str(tmp_path / "guest.raw"),
        "export_dest": str(out),
        "export_targets": [{"format": "qcow2", "compression": "zlib"}],
    }
    played(tmp_path, repository, {**run, "export_boot_test": {"expect": "guest: ready", "timeout": 120, "memory": 64}})
    oracles.compared("QEMU boot")
    before = hashlib.sha256((out / "guest.qcow2").read_bytes()).hexdigest()
    ended = play(
        tmp_path, repository, {**run, "export_boot_test": {"expect": "nobody says this", "timeout": 5, "memory": 64}}
    )
    text = ended.stdout.decode()
    assert ended.returncode != 0
    assert "guest.qcow2 did not start in QEMU, or did not say" in text and "console=ttyS0" in text
    assert hashlib.sha256((out / "guest.qcow2").read_bytes()).hexdigest() == before
    assert not list(tmp_path.glob("*.export"))
    assert str(out) not in oracles.run("ps", "-ww", "-eo", "args").output.replace(PLAYBOOK, "")


def test_a_boot_test_without_qemu_is_refused_with_the_package_to_install(tmp_path: Path, repository: str) -> None:
    boot_disk(tmp_path / "guest.raw", "unheard")
    run = {"export_src": str(tmp_path / "guest.raw"), "export_dest": str(tmp_path / "out")}
    ended = play(tmp_path, repository, {**run, "export_boot_test": {"expect": "x", "qemu": "/none/qemu"}})
    assert ended.returncode != 0 and "qemu-system-x86), or leave export_boot_test empty" in " ".join(
        ended.stdout.decode().split()
    )
    assert (tmp_path / "out" / "guest.qcow2").exists()
