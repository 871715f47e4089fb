#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_nbd
short_description: Serve a virtual disk as a block device, without a copy
description:
  - Starts and stops a server that shows any snapshot of a disk as a block device, over the protocol NBD. Programs such
    as C(qemu-img), C(nbdcopy), C(nbdinfo), C(qemu-system) and C(nbd-client) read it from there. Nothing is copied and
    nothing is written.
  - The server is a process of its own. It outlives the task, and ends with O(state=stopped), after O(idle_timeout), or
    when its process gets SIGTERM.
  - As long as it runs, all modules of this collection and QEMU refuse to change the disk, with the server as the one
    who holds it. Others may read the disk meanwhile, with M(vdisk.parallels.hdd_info), M(vdisk.parallels.hdd_check) and
    M(vdisk.parallels.hdd_convert) as well. A disk that somebody writes is not served.
  - Images of other products are served in the same way.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._bundle
  - vdisk.parallels._group.recurse
  - vdisk.parallels._group.scan
  - vdisk.parallels._group.swap
  - vdisk.parallels._group.files
attributes:
  check_mode:
    support: full
    details: A run in check mode says what would be served, and refuses what would be refused.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  path:
    description:
      - The disk, which is a bundle, its C(DiskDescriptor.xml), its inner C(.hdd) file, a single-file image, or an image
        of another product (qcow2, VMDK, VHD, VHDX, VDI, raw).
  state:
    description:
      - With V(started), a server runs afterwards that shows the disk. When one does already, at this place, it is left
        as it is.
      - With V(stopped), the servers of the disk are ended, and their clients cut off. With O(snapshot), only those that
        show this snapshot are, with O(socket) or O(address) only the one at this place. The disk itself may be gone.
    type: str
    choices: [started, stopped]
    default: started
  snapshot:
    description:
      - Name or GUID of the snapshot to show. When left out, the current state is shown.
    type: str
  socket:
    description:
      - Path of a UNIX socket, at most 103 bytes long, where nothing is yet. Only the user that runs the task can
        connect to it, and root.
      - When left out, and O(address) and O(port) too, the socket is in the run folder of the server, which has the mode
        0700. That is below C(/run) for root and below C(/tmp) for other users; the environment variable
        E(VDISK_RUN_FOLDER) names another folder.
      - Mutually exclusive with O(address). Mutually exclusive with O(port).
    type: path
  address:
    description:
      - IP address to listen at, instead of a UNIX socket. V(localhost) is 127.0.0.1. When left out with O(port) set, it
        is 127.0.0.1.
      - Every user of the host can connect to it. There is no TLS and no password.
      - Mutually exclusive with O(socket).
    type: str
  port:
    description:
      - TCP port to listen at. With V(0), the host chooses one. When left out with O(address) set, it is 10809.
      - Mutually exclusive with O(socket).
    type: int
  allow_remote:
    description:
      - Allow an O(address) that other hosts can reach. All that they read, and the disk with it, passes the network as
        it is.
    type: bool
    default: false
  idle_timeout:
    description:
      - After how many seconds without a client the server ends by itself. With V(0), it does not.
    type: int
    default: 0
  max_clients:
    description:
      - How many clients may be connected at once. Others are turned away. Each takes at most half a megabyte of memory.
    type: int
    default: 64
  src_format:
    description:
      - The format of the image at O(path). With V(auto), it is detected, and only what looks like no format at all is
        taken for raw.
    type: str
    choices: [auto, hdd, raw, qcow2, vmdk, vhd, vhdx, vdi]
    default: auto
  backing:
    description:
      - Follow backing files and parents of an image of another product, inside its directory.
    type: bool
    default: false
  force:
    description:
      - Serve a plain image that is shorter than its disk; what is missing reads as zeros. Nothing else is overridden.
    type: bool
    default: false
notes:
  - A host that ends the processes of a user with the last login (C(KillUserProcesses) of systemd) ends the server, too;
    C(loginctl enable-linger) keeps it.
seealso:
  - module: vdisk.parallels.hdd_convert
  - module: vdisk.parallels.hdd_info
"""

EXAMPLES = r"""
---
- name: Look at a snapshot, and stop whatever happens
  block:
    - name: Serve it
      vdisk.parallels.hdd_nbd:
        path: /vms/mac.pvm/mac.hdd
        snapshot: before-upgrade
      register: view

    - name: Compare it with a backup
      ansible.builtin.command:
        argv: [qemu-img, compare, "{{ view.uri }}", /backup/mac.qcow2]
      changed_when: false
  always:
    - name: Stop serving
      vdisk.parallels.hdd_nbd:
        path: /vms/mac.pvm/mac.hdd
        state: stopped

- name: Serve the current state at a place of its own, for as long as somebody reads
  vdisk.parallels.hdd_nbd:
    path: /vms/mac.pvm/mac.hdd
    socket: /run/mac.sock
    idle_timeout: 600

- name: Serve a VHDX on a port of this host that is free
  vdisk.parallels.hdd_nbd:
    path: /vms/windows.vhdx
    port: 0
"""

RETURN = r"""
uri:
  description: What clients of NBD take; null in a prediction when the host is to choose the port.
  returned: when O(state=started)
  type: str
  sample: nbd+unix:///?socket=/run/vdisk-nbd-0/3f2a9c0b11d4/socket
pid:
  description: The number of the server's process; null in predictions.
  returned: when O(state=started)
  type: int
  sample: 4711
size:
  description: The size of the guest disk in bytes.
  returned: when O(state=started)
  type: int
  sample: 68719476736
snapshot:
  description: The GUID of the snapshot, or of the layer that is the current state; null for an image without snapshots.
  returned: when O(state=started)
  type: str
  sample: "{5fbaabe3-6958-40ff-92a7-860e329aab41}"
log:
  description: The file in which the server writes who came and left. It goes with the server.
  returned: when O(state=started)
  type: str
  sample: /run/vdisk-nbd-0/3f2a9c0b11d4/log
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.serve.nbd import serve_disk
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import bundle_spec, idle_spec, safety_spec


def main():
    spec = dict(
        **idle_spec("recurse", "scan", "swap", "files"),
        **bundle_spec(),
        **safety_spec(),
        state=dict(type="str", choices=["started", "stopped"], default="started"),
        snapshot=dict(type="str"),
        socket=dict(type="path"),
        address=dict(type="str"),
        port=dict(type="int"),
        allow_remote=dict(type="bool", default=False),
        idle_timeout=dict(type="int", default=0),
        max_clients=dict(type="int", default=64),
        src_format=dict(
            type="str", choices=["auto", "hdd", "raw", "qcow2", "vmdk", "vhd", "vhdx", "vdi"], default="auto"
        ),
        backing=dict(type="bool", default=False),
    )
    run_module(spec, serve_disk, mutually_exclusive=[("socket", "address"), ("socket", "port")])


if __name__ == "__main__":
    main()
