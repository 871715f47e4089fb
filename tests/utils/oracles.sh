# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# The programs and libraries of others that the tests and the bench compare with. Sourced after common.sh.
# shellcheck shell=sh disable=SC2034,SC2154

# The tools of guest file systems. No Debian from 12 on has those of HFS+.
file_systems='mke2fs:e2fsprogs debugfs:e2fsprogs mkntfs:ntfs-3g mkfs.fat:dosfstools mcopy:mtools mkfs.exfat:exfatprogs mount.exfat-fuse:exfat-fuse
  mkfs.xfs:xfsprogs mkfs.btrfs:btrfs-progs mkapfs:apfsprogs partclone.ntfs:partclone pvcreate:lvm2
  cryptsetup:cryptsetup-bin sfdisk:fdisk sgdisk:gdisk'

# install_oracles PROGRAM:PACKAGE...: install what can be, the libraries as well, and say what there is. Only root on Debian gets programs.
install_oracles() {
  # What only root needs is not in everybody's path.
  PATH=$PATH:/usr/sbin:/sbin
  for _pair in "$@"; do
    command -v "${_pair%%:*}" >/dev/null 2>&1 || apt_install "${_pair##*:}" || :
  done
  for _pair in "$@"; do
    if command -v "${_pair%%:*}" >/dev/null 2>&1; then say "${_pair%%:*}: present"; else say "${_pair%%:*}: absent, its comparisons are skipped"; fi
  done
  while read -r _package; do
    case $_package in '' | '#'*) continue ;; esac
    if "$venv/bin/python" -m pip install -qq "$_package" </dev/null >>"$build/logs/oracles.log" 2>&1; then
      say "$_package: present"
    else
      say "$_package: absent, its comparisons are skipped"
    fi
  done <"$root/tests/utils/requirements-oracles.txt"
}
