#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: vagrant_box
short_description: Pack a Parallels virtual machine as a Vagrant box
description:
  - Packs a C(.pvm) directory as C(box.pvm), together with C(metadata.json), into a box for Vagrant's Parallels
    provider.
  - The same machine and options give the same bytes. Entries are sorted; owner, modes and times are fixed.
  - The box is built under a temporary name and replaces an existing one in one step. An interrupted run leaves no
    half-made box under the final name; the next run cleans up.
  - Hidden files, locks and logs of the machine are left out. Merge and compact its disks first to make the box small.
  - The role P(vdisk.parallels.build_box#role) makes such a machine from an image.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle.needs
  - ansible.builtin.files
  - vdisk.parallels._group.recurse
  - vdisk.parallels._group.scan
  - vdisk.parallels._group.swap
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
    details:
      - A box with the same content is kept, whatever its compression.
options:
  src:
    description:
      - The C(.pvm) directory of a virtual machine that is not running.
    type: path
    required: true
  dest:
    description:
      - The box to write.
    type: path
    required: true
  architecture:
    description:
      - The architecture of the guest, in Vagrant's words.
    type: str
    choices: [amd64, arm64]
    required: true
  vagrantfile:
    description:
      - The content of the Vagrantfile in the box, with default settings for everybody who uses it. When left out, there
        is no Vagrantfile.
    type: str
  allow_outside:
    description:
      - Has no effect here. A box holds the folder of the machine alone, so a disk with images outside of it is refused
        with this option as well.
      - The module takes it so that C(module_defaults) of the group can set it for all modules.
    type: bool
    default: false
  force:
    description:
      - Pack the machine although a disk is marked as in use and nobody is seen to use it, or a plain image is shorter
        than its disk; and replace a file that looks like one of another format.
      - Disks that a process writes, interrupted changes, missing images and images outside the machine are refused
        all the same.
    type: bool
    default: false
  metadata:
    description:
      - More keys for C(metadata.json), in addition to provider and architecture.
    type: dict
  compression_level:
    description:
      - The compression level, from V(0) (none) to V(9).
    type: int
    default: 6
  reproducible:
    description:
      - Give all entries the time 1970, or the value of the environment variable E(SOURCE_DATE_EPOCH). When V(false),
        entries have the times of their files, and the archive has the current time.
    type: bool
    default: true
  durable:
    description:
      - With V(false), nothing is synced. This is for boxes that are thrown away or uploaded right away. If the power
        fails or the host crashes before the system has written everything, the box may be missing or incomplete; then
        run again. Nothing else is at risk. A task that is interrupted is no such case.
      - A box that replaces another one is synced in any case, so that the old one is not lost before the new one is on
        the disk. Remove the old one first where that takes too long.
      - With V(true), the box is on the disk when the task ends.
    type: bool
    default: true
  mode:
    description:
      - The permissions of the output. A new file has them, or fewer, from its first byte on.
      - When left out, a new output is no more open than its source. Nobody may read it whom a file of the source keeps
        out. One that replaces a file keeps the permissions of that file.
seealso:
  - module: vdisk.parallels.hdd_convert
"""

EXAMPLES = r"""
---
- name: Pack a machine as a box
  vdisk.parallels.vagrant_box:
    src: /vms/mac.pvm
    dest: /export/mac.box
    architecture: arm64

- name: Pack it with settings for everybody who uses it
  vdisk.parallels.vagrant_box:
    src: /vms/mac.pvm
    dest: /export/mac.box
    architecture: arm64
    compression_level: 9
    vagrantfile: |
      Vagrant.configure("2") do |config|
        config.vm.synced_folder ".", "/vagrant", disabled: true
      end
"""

RETURN = r"""
dest:
  description: The box.
  returned: success
  type: str
  sample: /export/mac.box
uuid:
  description: The UUID of the machine, by which Vagrant finds it once it is registered. Boxes with different content
    should have different UUIDs.
  returned: success
  type: str
  sample: "{9c27ae79-fbe5-4c84-9cdc-e1459f642b91}"
files:
  description: The names of the files in the box.
  returned: success
  type: list
  elements: str
  sample: [metadata.json, box.pvm/config.pvs]
content_size:
  description: The total length of all files in the box before compression, in bytes.
  returned: success
  type: int
  sample: 4294967296
size:
  description: The length of the box in bytes; null in check mode when the box would be written.
  returned: success
  type: int
  sample: 1073741824
checksum:
  description: The SHA-256 checksum of the box; null in check mode when the box would be written.
  returned: success
  type: str
elapsed:
  description: Seconds that the change took.
  returned: success
  type: float
  sample: 12.5
error_code:
  description:
    - What kind of failure it is, for programs. A code never changes its meaning. What to do about each is in R(the
      guide to codes,ansible_collections.vdisk.parallels.docsite.codes).
    - The codes are V(bad_request), V(damaged), V(dirty), V(encrypted), V(escape), V(exists), V(has_snapshots),
      V(in_use), V(interrupted), V(io_error), V(misfit), V(missing_image), V(missing_library), V(no_space),
      V(no_such_snapshot), V(not_a_bundle), V(not_a_whole_disk), V(not_found), V(permission), V(read_only),
      V(shared_layer), V(stale_plan), V(suspended), V(unsupported) and V(verify_failed).
  returned: failure
  type: str
  sample: in_use
error_context:
  description: Where it happened and what was there, with C(path), C(offset) in bytes, C(expected) and C(found), as far
    as they are known.
  returned: failure
  type: dict
  sample: {path: /vms/mac.pvm/mac.hdd, found: prl_vm_app (4711)}
"""

from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.run import run_module
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.box import pack_box
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import idle_spec


def main():
    spec = dict(
        **idle_spec("recurse", "scan", "swap"),
        src=dict(type="path", required=True),
        dest=dict(type="path", required=True),
        architecture=dict(type="str", choices=["amd64", "arm64"], required=True),
        vagrantfile=dict(type="str"),
        allow_outside=dict(type="bool", default=False),
        force=dict(type="bool", default=False),
        metadata=dict(type="dict"),
        compression_level=dict(type="int", default=6),
        reproducible=dict(type="bool", default=True),
        durable=dict(type="bool", default=True),
    )
    run_module(spec, pack_box, add_file_common_args=True)


if __name__ == "__main__":
    main()
