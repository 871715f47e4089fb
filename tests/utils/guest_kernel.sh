#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Prepare a small Linux in the folder $1 that writes APFS and HFS+ in a virtual machine: a kernel of Debian, the modules
# of its file systems, the module apfs built from Debian's sources, and busybox. Nothing is installed: packages are
# downloaded with apt-get and unpacked. It needs apt-get, dpkg, depmod, modprobe, make, gcc and a static busybox.
set -eu
folder=$1
mkdir -p "$folder/packages"
folder=$(cd "$folder" && pwd)
cd "$folder/packages"
image=$(apt-cache depends linux-image-amd64 | awk '/Depends: linux-image-[0-9]/ {print $2; exit}')
version=${image#linux-image-}
apt-get download -q "$image" apfs-dkms > /dev/null
for package in *.deb; do dpkg -x "$package" "$folder/root"; done
kernel=$folder/root/lib/modules/$version
headers=/usr/src/linux-headers-$version
if [ ! -d "$headers" ]; then
  echo "the package linux-headers-$version is not installed" >&2
  exit 3
fi
# The build of a module cannot have spaces in its path.
build=$(mktemp -d)
trap 'rm -rf "$build"' EXIT
cp -r "$folder"/root/usr/src/linux-apfs-rw-*/. "$build"
make -s -C "$headers" "M=$build" modules > "$folder/build.log" 2>&1
depmod -b "$folder/root" "$version"
tree=$folder/tree
mkdir -p "$tree/bin" "$tree/modules" "$tree/proc" "$tree/sys" "$tree/dev" "$tree/mnt"
cp "$(command -v busybox)" "$tree/bin/busybox"
for module in virtio_pci virtio_blk hfsplus nls_utf8 libcrc32c; do
  modprobe -d "$folder/root" -S "$version" --show-depends "$module" | awk '$1 == "insmod" {print $2}'
done | awk '!seen[$0]++' | while read -r file; do
  cp "$file" "$tree/modules/"
  basename "$file"
done > "$tree/order"
cp "$build/apfs.ko" "$tree/modules/"
echo apfs.ko >> "$tree/order"
cat > "$tree/init" <<'END'
#!/bin/busybox sh
/bin/busybox mkdir -p /sbin /usr/bin /usr/sbin
/bin/busybox --install -s
export PATH=/bin:/sbin:/usr/bin:/usr/sbin
mount -t proc proc /proc; mount -t sysfs sysfs /sys; mount -t devtmpfs dev /dev
while read -r module; do insmod "/modules/$module" 2> /dev/null; done < /order
. /script.sh
sync
echo GUEST ENDS
poweroff -f
END
chmod +x "$tree/init"
cp "$folder/root/boot/vmlinuz-$version" "$folder/vmlinuz"
rm -rf "$folder/root" "$folder/packages"
test -d "$kernel" || touch "$folder/ready"
