#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Make a Debian on a disk in the folder $1: disk.img with a GPT, an ext4 root that a BIOS starts, and swap behind it.
# Packages come from the mirror that apt names here; nothing is installed on this machine. What the system is to do is
# the script $2: it runs instead of its init, writes to the serial console, and the machine is switched off after it.
# It needs root, loop devices, mmdebstrap, sgdisk, extlinux and syslinux-common.
set -eu
folder=$1
script=$2
mkdir -p "$folder"
folder=$(cd "$folder" && pwd)
# The words in brackets are for apt-get.
# shellcheck disable=SC2016
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 2>/dev/null | grep -v security | head -n 1)
# shellcheck disable=SC2016
suite=$(apt-get indextargets --format '$(CODENAME)' 'Created-By: Packages' 2>/dev/null | grep -v -- - | head -n 1)
if [ -z "$mirror" ] || [ -z "$suite" ]; then
  echo "the sources of apt name no mirror of Debian" >&2
  exit 3
fi
root=$folder/root
if [ ! -e "$folder/root.made" ]; then
  rm -rf "$root"
  mkdir -p "$root"
  mmdebstrap --quiet --mode=root --variant=minbase \
    --include=linux-image-cloud-amd64,initramfs-tools,zstd,cloud-guest-utils,fdisk,e2fsprogs,util-linux,mount,udev \
    --dpkgopt='path-exclude=/usr/share/doc/*' --dpkgopt='path-exclude=/usr/share/man/*' \
    --dpkgopt='path-exclude=/usr/share/locale/*' \
    "$suite" - "$mirror" < /dev/null > "$folder/root.tar"
  tar -x -C "$root" -f "$folder/root.tar"
  rm "$folder/root.tar"
  touch "$folder/root.made"
fi
disk=$folder/disk.img
rm -f "$disk"
truncate -s 900M "$disk"
sgdisk -n 1:2048:+800M -t 1:8300 -c 1:root -A 1:set:2 -n 2:0:0 -t 2:8200 -c 2:swap "$disk" > /dev/null
dd if=/usr/lib/syslinux/mbr/gptmbr.bin of="$disk" conv=notrunc status=none
# By place and size: a kernel may know loop devices and no partitions on them.
place() { sgdisk -i "$1" "$disk" | awk -v what="$2" '$0 ~ what {print $3; exit}'; }
first=$(place 1 "First sector") last=$(place 1 "Last sector")
behind=$(place 2 "First sector") end=$(place 2 "Last sector")
device=$(losetup -f --show -o $((first * 512)) --sizelimit $(((last - first + 1) * 512)) "$disk")
swap=$(losetup -f --show -o $((behind * 512)) --sizelimit $(((end - behind + 1) * 512)) "$disk")
mounted=$folder/mounted
mkdir -p "$mounted"
trap 'umount "$mounted" 2> /dev/null || :; losetup -d "$device"; losetup -d "$swap"' EXIT
# The boot loader reads ext4 without these two.
mkfs.ext4 -q -F -O '^64bit,^metadata_csum' -L grown-root -d "$root" "$device"
mkswap -q -L grown-swap -U 5a5a5a5a-1111-4222-8333-444444444444 "$swap"
mount "$device" "$mounted"
install -m 755 "$script" "$mounted/sbin/grown-test"
cp "$mounted"/boot/vmlinuz-* "$mounted/boot/kernel"
cp "$mounted"/boot/initrd.img-* "$mounted/boot/initrd"
mkdir -p "$mounted/extlinux"
cat > "$mounted/extlinux/extlinux.conf" <<'END'
SERIAL 0 115200
DEFAULT debian
LABEL debian
LINUX /boot/kernel
INITRD /boot/initrd
APPEND root=LABEL=grown-root console=ttyS0 quiet loglevel=1 panic=-1 init=/sbin/grown-test
END
extlinux --install "$mounted/extlinux" > "$folder/extlinux.log" 2>&1
umount "$mounted"
losetup -d "$device"
losetup -d "$swap"
trap - EXIT
touch "$folder/ready"
