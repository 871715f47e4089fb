#!/usr/bin/python
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: hdd_maintain
short_description: Check, merge and compact all Parallels virtual disks of a host by policy
description:
  - Finds the disks of a host, checks each one, merges layers by policy, and gives unused space back, in one task.
  - Without a policy for merging, which is O(max_layers) or O(orphans), no layer is merged. Snapshots that the virtual
    machine lists are never merged, and O(orphans) leaves those that M(vdisk.parallels.hdd_snapshot) has given a name.
  - Whatever happens to a disk is its outcome, and the next disk gets its turn. A disk that is in use, marked as in use,
    suspended or encrypted is skipped. So is one that a linked clone stands on, wherever below O(paths) or beside the
    disk the clone is.
  - When a run is cut off, each disk is as the step in which that happened leaves it; the next run finishes or clears
    what is left and goes on with the other disks. With O(record), it also reports what the first one has done.
  - The role P(vdisk.parallels.maintain#role) runs this module and shows a report.
author:
  - The vdisk.parallels authors (@vdisk-parallels)
extends_documentation_fragment:
  - vdisk.parallels._attributes
  - vdisk.parallels._group.files
  - vdisk.parallels._bundle.needs
attributes:
  check_mode:
    support: full
    details:
      - What compaction gives back after a merge is predicted, too. O(record) is not written.
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  paths:
    description:
      - Disks, C(.pvm) directories, or folders with any of these.
    type: list
    elements: path
    required: true
  recurse:
    description:
      - Also look for disks in all subdirectories. Links are not followed.
    type: bool
    default: false
  exclude:
    description:
      - Disks to leave alone. A path is that of a disk or of a folder above it. A pattern with C(*), C(?) or C([) that
        has a slash is compared with the path of the disk and of each folder above it; a pattern or name without a slash
        is compared with each single name in the path.
      - Such disks are looked at only to know which disks they stand on.
    type: list
    elements: path
    default: []
  clones_in:
    description:
      - Further folders with linked clones of the disks, subdirectories included. Their disks are looked at only to know
        which disks they stand on. Those in O(paths), and beside a disk, are looked at in any case.
    type: list
    elements: path
    default: []
  check:
    description:
      - Check each disk first, and do not change those with errors.
    type: bool
    default: true
  check_data:
    description:
      - The check also reads every cluster, to find those that the medium cannot read.
    type: bool
    default: false
  max_layers:
    description:
      - Merge the oldest layers of a disk until no more than this remain. When left out, there is no limit.
      - Snapshots with names count like the others. With O(orphans) they stay, and more layers may remain.
    type: int
  orphans:
    description:
      - Merge orphaned layers, which are those that the snapshot list of the virtual machine does not name, and only
        those. All of them, or with O(max_layers) the oldest, until no more than that many layers remain.
      - A disk outside a virtual machine has no such list, so all of its snapshots are merged, except those with names.
    type: bool
    default: false
  compact:
    description:
      - Give back what the guests do not use.
    type: bool
    default: true
  scan:
    description:
      - As O(vdisk.parallels.hdd_compact#module:scan). V(filesystem) destroys deleted files in all snapshots.
    type: str
    choices: [metadata, zeros, filesystem]
    default: zeros
  swap:
    description:
      - As O(vdisk.parallels.hdd_compact#module:swap).
    type: str
    choices: [keep, drop]
    default: keep
  threshold:
    description:
      - Do not compact a disk when that would give back less than this, for example V(1G). When left out, one cluster is
        enough.
    type: str
  max_duration:
    description:
      - Start no new step after this many seconds. A running step is completed. When left out, there is no limit.
      - Has no effect in check mode, so that every disk is predicted.
    type: int
  max_bytes:
    description:
      - Start no new step after this many bytes were written, for example V(200G). When left out, there is no limit.
    type: str
  busy:
    description:
      - With V(skip), a disk that is in use, or marked as in use, is skipped.
      - With V(predict), it is skipped as well, and RV(disks[].worthwhile) says whether there would be something to do.
        Depending on O(scan), its data are read for that.
    type: str
    choices: [skip, predict]
    default: skip
  record:
    description:
      - A file, best in the home directory of the user, for a record of the run. Each disk is written down as soon as
        its turn is over, one that was changed durably. Missing folders are created. A file that is no record is
        refused.
      - After a run that was cut off, the next run with the same file returns what it has done as RV(earlier). After
        that, and after a run that reached a limit, the disks that were not reached come first.
      - When left out, there is no record.
    type: path
  run:
    description:
      - Any text. Tasks with the same O(record) and the same text are parts of one run, such as a play with several of
        them; otherwise, a task begins a new record when the one before it has ended.
    type: str
  facts:
    description:
      - Also return the facts of each disk, as M(vdisk.parallels.hdd_info) does, as it is when its turn begins. Its
        tables are not read again for that.
      - What can be given back is found by O(scan) and O(swap) also without O(compact).
    type: bool
    default: false
  map:
    description:
      - As O(vdisk.parallels.hdd_info#module:map), for O(facts).
    type: int
    default: 0
  fail_on:
    description:
      - With V(failed), the task fails at the end when a disk failed, or when a path does not exist or leads to no disk.
        The failed result has all the usual keys.
      - With V(never), there are warnings of such paths, and the task fails only for bad options.
    type: str
    choices: [failed, never]
    default: failed
  allow_outside:
    description:
      - Accept disks with images outside their bundles, as in linked clones. Those images are only read.
    type: bool
    default: false
  force:
    description:
      - Continue although an image is marked as in use, for example after a power failure of the host. Nothing else is
        overridden. A disk that another process holds, that is suspended, or that a linked clone stands on, is still
        skipped.
    type: bool
    default: false
seealso:
  - module: vdisk.parallels.hdd_check
  - module: vdisk.parallels.hdd_merge
  - module: vdisk.parallels.hdd_compact
"""

EXAMPLES = r"""
---
- name: Give unused space back on a build host, for at most four hours
  vdisk.parallels.hdd_maintain:
    paths: [/Users/build/Parallels]
    recurse: true
    threshold: 1G
    max_duration: 14400

- name: Keep chains short, but leave templates alone
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
    exclude: [/vms/templates, "*-golden.pvm"]
    max_layers: 5
    orphans: true

- name: Go on where a run was cut off, and tell what it had done
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
    record: ~/.vdisk-maintain.json

- name: Show what would be done, disk by disk
  vdisk.parallels.hdd_maintain:
    paths: [/vms]
    recurse: true
    orphans: true
  check_mode: true
  register: forecast
"""

RETURN = r"""
disks:
  description: Each disk, sorted by path. Sizes are in bytes.
  returned: success
  type: list
  elements: dict
  contains:
    path:
      description: The disk.
      type: str
      returned: success
    machine:
      description: The virtual machine of the disk, with C(name), C(uuid) and C(path), which is its folder; null when
        there is none or when the disk was not opened.
      type: dict
      returned: success
    outcome:
      description:
        - V(changed) when it was merged or compacted; in check mode, when it would be.
        - V(unchanged) when there was nothing to do.
        - V(skipped) when it may not be changed now, is excluded, or when a limit of the run was reached.
        - V(failed) when it cannot be read, has errors, or could not be changed.
      type: str
      returned: success
    reason:
      description: Why it was skipped or failed, or what is not known; null when there is nothing to say.
      type: str
      returned: success
    error_code:
      description: The code of the first error, V(unhealthy) when the check found errors; null when there is none.
      type: str
      returned: success
    findings:
      description: What the check found, as in RV(vdisk.parallels.hdd_check#module:findings); null when it was not
        checked.
      type: list
      elements: dict
      returned: success
    before:
      description: The disk before, with C(layers), which is the length of the current chain, and C(file_size),
        C(used_size) and C(allocated_size), as in RV(vdisk.parallels.hdd_info#module:disks); null when it was not
        opened.
      type: dict
      returned: success
    after:
      description: The same after the changes; null when it was not opened.
      type: dict
      returned: success
    worthwhile:
      description: For a disk that is in use, whether there would be something to do; null without O(busy=predict) and
        for other disks.
      type: bool
      returned: success
    merged:
      description: GUIDs of the snapshots that were merged away.
      type: list
      elements: str
      returned: success
    snapshots:
      description: The snapshots of the disk that had a name or a description before the run.
      type: list
      elements: dict
      returned: success
      contains:
        guid:
          description: GUID of the snapshot.
          type: str
          returned: success
        name:
          description: Its name, by the virtual machine or by M(vdisk.parallels.hdd_snapshot).
          type: str
          returned: success
        description:
          description: What M(vdisk.parallels.hdd_snapshot) was given to remember of it.
          type: str
          returned: success
        merged:
          description: Whether the run merged it away. V(false) means that it is still there.
          type: bool
          returned: success
    freed:
      description: Bytes that the file system got back from the merge; negative when it needed more than it freed.
      type: int
      returned: success
    reclaimed:
      description: Bytes that compaction gave back.
      type: int
      returned: success
    written:
      description: Bytes of guest data written.
      type: int
      returned: success
    facts:
      description:
        - The disk as its turn began, as in RV(vdisk.parallels.hdd_info#module:disks). Outside check mode, what an
          interrupted run left has been finished by then.
        - Null for a disk in RV(undescribed), and for one that was excluded or that a limit of the run came before.
      type: dict
      returned: when O(facts=true)
undescribed:
  description: The disks whose facts could not be had, as in RV(vdisk.parallels.hdd_info#module:failed_disks).
  returned: when O(facts=true)
  type: list
  elements: dict
  sample: []
missing:
  description: The O(paths) that do not exist or lead to no disk, with path, error_code, msg and error_context.
  returned: success
  type: list
  elements: dict
  sample: []
unfinished:
  description: The disks that a limit of the run kept from being worked on, or from being completed. A further run goes
    on with them.
  returned: success
  type: list
  elements: str
  sample: []
earlier:
  description: An earlier run with the same O(record) that was cut off, with C(began), the time at which it began;
    C(disks), the entries of the disks that it was done with, as in RV(disks); and C(cut_at), the disk at which it was
    cut off, null between two disks. Null when there was none.
  returned: success
  type: dict
predicted:
  description: Whether this was check mode.
  returned: success
  type: bool
  sample: false
totals:
  description: How many C(disks) there are, how many of them are C(changed), C(unchanged), C(skipped) and C(failed), and
    the sums C(merged) (snapshots), C(freed), C(reclaimed), C(written), C(size_before) and C(size_after).
  returned: success
  type: dict
  sample:
    disks: 4
    changed: 2
    unchanged: 1
    skipped: 1
    failed: 0
    merged: 3
    freed: 8388608
    reclaimed: 5242880
    written: 10485760
    size_before: 69206016
    size_after: 55574528
elapsed:
  description: Seconds that the run took.
  returned: success
  type: float
  sample: 61.5
error_code:
  description:
    - What kind of failure it is, for programs. A code never changes its meaning. What to do about each is in R(the
      guide to codes,ansible_collections.vdisk.parallels.docsite.codes).
    - The codes are V(bad_request), V(damaged), V(dirty), V(encrypted), V(escape), V(exists), V(has_snapshots),
      V(in_use), V(interrupted), V(io_error), V(misfit), V(missing_image), V(missing_library), V(no_space),
      V(no_such_snapshot), V(not_a_bundle), V(not_a_whole_disk), V(not_found), V(permission), V(read_only),
      V(shared_layer), V(stale_plan), V(suspended), V(unhealthy), V(unsupported) and V(verify_failed).
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
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.fleet.maintain import maintain_disks
from ansible_collections.vdisk.parallels.plugins.module_utils._ansible.spec import idle_spec, safety_spec


def main():
    spec = dict(
        **idle_spec("files"),
        **safety_spec(),
        paths=dict(type="list", elements="path", required=True),
        recurse=dict(type="bool", default=False),
        exclude=dict(type="list", elements="path", default=[]),
        clones_in=dict(type="list", elements="path", default=[]),
        check=dict(type="bool", default=True),
        check_data=dict(type="bool", default=False),
        max_layers=dict(type="int"),
        orphans=dict(type="bool", default=False),
        compact=dict(type="bool", default=True),
        scan=dict(type="str", choices=["metadata", "zeros", "filesystem"], default="zeros"),
        swap=dict(type="str", choices=["keep", "drop"], default="keep"),
        threshold=dict(type="str"),
        max_duration=dict(type="int"),
        max_bytes=dict(type="str"),
        busy=dict(type="str", choices=["skip", "predict"], default="skip"),
        record=dict(type="path"),
        run=dict(type="str"),
        facts=dict(type="bool", default=False),
        map=dict(type="int", default=0),
        fail_on=dict(type="str", choices=["failed", "never"], default="failed"),
        allow_outside=dict(type="bool", default=False),
    )
    run_module(spec, maintain_disks)


if __name__ == "__main__":
    main()
