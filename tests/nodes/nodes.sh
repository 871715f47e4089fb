#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Managed nodes on one Linux machine: a Debian root file system each, with its own network, processes and sshd.
#
#   nodes.sh roots                     make the root file systems that are missing (root on Debian only)
#   nodes.sh session COMMAND...        run a command where nodes can be started; all of them end with it, however it ends
#   nodes.sh up NAME SUITE ADDRESS     start a node; ADDRESS is in 10.99.7.0/24           (in a session)
#   nodes.sh down [NAME...]            stop these, or all                                  (in a session)
#   nodes.sh cut NAME, join NAME       take the network from a node, give it back          (in a session)
#   nodes.sh status                    what runs                                           (in a session)
#   nodes.sh inside SUITE COMMAND...   run a command in a root file system, which sees this checkout at its own path and nothing else of this machine's files
#
# A session has its own network, mounts and processes (unshare), so nothing of it is visible outside, two sessions do not disturb each other, and the kernel
# clears up. There is no way from a node to another network than 10.99.7.0/24.

# Some strings are for another shell to expand.
# shellcheck disable=SC2154,SC2016
set -eu
. "$(dirname "$0")/../utils/common.sh"
nodes=$build/nodes
suites=${VDISK_SUITES:-bullseye bookworm trixie sid}
bridge=10.99.7.1
# What is excluded is what nobody reads there.
rubbish='/usr/share/doc/* /usr/share/man/* /usr/share/locale/* /usr/share/info/*'

# Say in one line why there can be no nodes here; say nothing when there can.
obstacle() {
  [ "$(uname -s)" = Linux ] || { say "nodes need Linux"; return; }
  [ "$(id -u)" = 0 ] || { say "nodes need root: namespaces, overlayfs and chroot"; return; }
  [ "$(awk '{ count += $3 } END { print (count >= 65536) }' /proc/self/uid_map)" = 1 ] || { say "nodes need all user ids, not those of a user namespace alone"; return; }
  for _program in ip ssh ssh-keygen unshare mmdebstrap; do
    command -v "$_program" >/dev/null 2>&1 && continue
    case $_program in
      ip) _package=iproute2 ;;
      ssh*) _package=openssh-client ;;
      unshare) _package=util-linux ;;
      *) _package=$_program ;;
    esac
    apt_install "$_package" || { say "nodes need the program $_program"; return; }
  done
  unshare --mount --net --uts --ipc --pid --fork --kill-child true 2>/dev/null || { say "this machine allows no new namespaces"; return; }
  mkdir -p "$nodes/probe/low" "$nodes/probe/up" "$nodes/probe/work" "$nodes/probe/root"
  unshare --mount sh -c 'cd "$1" && mount -t overlay overlay -o lowerdir=low,upperdir=up,workdir=work root' - "$nodes/probe" 2>/dev/null ||
    { say "overlayfs cannot be mounted on .build"; return; }
  unshare --net ip link add probe type bridge 2>/dev/null || { say "this machine allows no network bridge"; return; }
  rm -rf "$nodes/probe"
}

# The same of root file systems alone, which need neither a network of their own nor overlayfs.
obstacle_of_roots() {
  [ "$(uname -s)" = Linux ] || { say "root file systems need Linux"; return; }
  [ "$(id -u)" = 0 ] || { say "root file systems need root"; return; }
  unshare --mount true 2>/dev/null || { say "this machine allows no mounts of one's own"; return; }
  command -v mmdebstrap >/dev/null 2>&1 || apt_install mmdebstrap || { say "root file systems need the program mmdebstrap"; return; }
  [ -n "$(mirror)" ] || say "the sources of apt name no mirror of Debian"
}

# The mirror of Debian that this machine's own apt names.
mirror() {
  apt-get indextargets --format '$(ORIGIN) $(RELEASE) $(REPO_URI)' 'Created-By: Packages' 2>/dev/null |
    awk '$1 == "Debian" && $2 !~ /-/ { print $3; exit }'
}

make_roots() {
  for suite in $suites; do
    root_folder=$nodes/roots/$suite
    [ ! -e "$root_folder.made" ] || continue
    _mirror=$(mirror)
    [ -n "$_mirror" ] || die "the sources of apt name no mirror of Debian"
    say "making the root file system of Debian $suite"
    rm -rf "$root_folder" "$root_folder.tar"
    mkdir -p "$root_folder" "$build/logs"
    set -f
    for _path in $rubbish; do set -- "$@" "--dpkgopt=path-exclude=$_path"; done
    set +f
    # A mirror that stands still is as good here as for this machine's own apt.
    for _setting in Acquire::Check-Valid-Until Acquire::Check-Date; do
      _value=$(apt-config shell value "$_setting" | sed -n "s/^value='\(.*\)'$/\1/p")
      [ -z "$_value" ] || set -- "$@" "--aptopt=$_setting \"$_value\""
    done
    _packages=python3,python3-lxml,openssh-server,sudo
    # Its Python is newer than that of most machines, so it runs the unit tests as well: test.sh says so.
    [ "$suite" != sid ] || _packages=$_packages,ansible-core,python3-hypothesis,python3-pytest,python3-pytest-xdist
    mmdebstrap --quiet --mode=root --variant=minbase --include="$_packages" "$@" \
      --customize-hook='chroot "$1" useradd --create-home --shell /bin/bash builder' \
      --customize-hook='echo "builder ALL=(ALL) NOPASSWD: ALL" >"$1/etc/sudoers.d/builder"' \
      "$suite" - "$_mirror" >"$root_folder.tar" 2>"$build/logs/mmdebstrap-$suite.log" </dev/null ||
      { tail -n 5 "$build/logs/mmdebstrap-$suite.log" >&2; die "the root file system of $suite could not be made"; }
    tar -x -C "$root_folder" -f "$root_folder.tar"
    rm -f "$root_folder.tar"
    : >"$root_folder.made"
    set --
  done
}

# The mounts are those of this process, and go with it.
run_inside() {
  _suite=$1
  shift
  [ -e "$nodes/roots/$_suite.made" ] || die "there is no root file system of $_suite: nodes.sh roots makes it"
  exec unshare --mount sh -eu -c '
    there=$1 checkout=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$there" "$there"
    cd "$there"
    mount -t proc proc proc
    mount --rbind /dev dev
    mount -t tmpfs tmpfs tmp
    mkdir -p "./$checkout"
    mount --bind "$checkout" "./$checkout"
    exec chroot . env -i -C "$checkout" HOME=/root LC_ALL=C.UTF-8 PATH=/usr/sbin:/usr/bin:/sbin:/bin PYTHONDONTWRITEBYTECODE=1 "$@"' \
    - "$nodes/roots/$_suite" "$root" "$@"
}

in_session() { [ "${VDISK_NODES_SESSION:-}" = "$nodes" ] || die "this works within nodes.sh session only"; }

# The first process of a session: own /proc, own bridge, then the command.
begin() {
  mount --make-rprivate /
  mount -t proc proc /proc
  ip link set lo up
  # Without an address of its own a bridge takes that of a port, another one whenever a node comes, and what the nodes know of it is wrong for a while.
  ip link add br-vdisk address 02:00:0a:63:07:01 type bridge
  ip addr add "$bridge/24" dev br-vdisk
  ip link set br-vdisk up
  rm -rf "$nodes/run"
  mkdir -p "$nodes/run"
  VDISK_NODES_SESSION=$nodes
  export VDISK_NODES_SESSION
  status=0
  "$@" || status=$?
  # What is still there dies with this process; the folders of the nodes go now.
  stop_all
  rm -rf "$nodes/run"
  exit "$status"
}

stop() {
  _node=$nodes/run/$1
  [ -e "$_node/pid" ] || return 0
  _pid=$(cat "$_node/pid")
  # A peer that is gone at once leaves no second of two links with one name.
  ip link del "ve-$1" 2>/dev/null || :
  kill -KILL "$_pid" 2>/dev/null || :
  while kill -0 "$_pid" 2>/dev/null && [ "$(sed -n 's/^State:\t\(.\).*/\1/p' "/proc/$_pid/status" 2>/dev/null)" != Z ]; do sleep 0.05; done
  # The mount goes with the last process of the node.
  _tries=0
  until rm -rf "$_node" 2>/dev/null || [ "$_tries" -ge 50 ]; do sleep 0.1; _tries=$((_tries + 1)); done
}

stop_all() {
  for _folder in "$nodes"/run/*/; do
    [ ! -e "$_folder/pid" ] || stop "$(basename "$_folder")"
  done
}

start() {
  name=$1 suite=$2 address=$3 node=$nodes/run/$1
  [ -e "$nodes/roots/$suite.made" ] || die "there is no root file system of $suite: nodes.sh roots makes it"
  stop "$name"
  mkdir -p "$node/up/etc" "$node/work" "$node/root"
  printf "127.0.0.1 localhost\n127.0.1.1 %s\n" "$name" >"$node/up/etc/hosts"
  [ -e "$nodes/key" ] || ssh-keygen -q -t ed25519 -N '' -C nodes -f "$nodes/key"
  for _home in root home/builder; do
    mkdir -p "$node/up/$_home/.ssh"
    cp "$nodes/key.pub" "$node/up/$_home/.ssh/authorized_keys"
  done
  # The overlay shows the modes and owners of the upper layer.
  _owner=$(sed -n 's/^builder:[^:]*:\([0-9]*\):\([0-9]*\):.*/\1:\2/p' "$nodes/roots/$suite/etc/passwd")
  chmod 700 "$node/up/root" "$node/up/root/.ssh" "$node/up/home/builder/.ssh"
  chown -R "$_owner" "$node/up/home/builder"
  unshare --mount --net --uts --ipc --pid --fork --kill-child sh -eu -c '
    hostname "$1"
    ip link set lo up
    cd "$3"
    mount -t overlay overlay -o "lowerdir=roots/$2,upperdir=run/$1/up,workdir=run/$1/work" "run/$1/root"
    cd "run/$1/root"
    mount -t proc proc proc
    mount --rbind /dev dev
    mkdir -p run/sshd
    exec chroot . /usr/sbin/sshd -D -e' - "$name" "$suite" "$nodes" >"$node/log" 2>&1 </dev/null &
  pid=$!
  echo "$pid" >"$node/pid"
  tries=0
  while [ "$(readlink "/proc/$pid/ns/net")" = "$(readlink /proc/self/ns/net)" ]; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || die "node $name has no network of its own"
    sleep 0.05
  done
  ip link add "ve-$name" type veth peer name eth0 netns "$pid"
  ip link set "ve-$name" master br-vdisk up
  nsenter --net --target "$pid" ip addr add "$address/24" dev eth0
  nsenter --net --target "$pid" ip link set eth0 up
  tries=0
  until ssh -n -i "$nodes/key" -o BatchMode=yes -o ConnectTimeout=2 -o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o LogLevel=ERROR \
    -o ControlMaster=no -o ControlPath=none "root@$address" true 2>/dev/null; do
    tries=$((tries + 1))
    [ "$tries" -lt 100 ] || { cat "$node/log" >&2; die "no ssh to node $name"; }
    sleep 0.1
  done
  say "node $name: Debian $suite at $address"
}

command=${1:-}
[ $# = 0 ] || shift
clean_path
case $command in
  obstacle) obstacle ;;
  roots)
    why=$(obstacle_of_roots)
    [ -z "$why" ] || die "$why"
    make_roots
    ;;
  inside)
    run_inside "$@"
    ;;
  session)
    [ $# -gt 0 ] || die "a session needs a command"
    why=$(obstacle)
    [ -z "$why" ] || die "$why"
    make_roots
    # Two sessions of one checkout would share .build/nodes/run.
    exec 9>"$nodes/lock"
    flock -n 9 || die "another session of this checkout is running"
    exec unshare --mount --net --ipc --pid --fork --kill-child sh "$root/tests/nodes/nodes.sh" begin "$@"
    ;;
  begin) begin "$@" ;;
  up)
    in_session
    start "$1" "$2" "$3"
    ;;
  down)
    in_session
    if [ $# -gt 0 ]; then for node in "$@"; do stop "$node"; done; else stop_all; fi
    ;;
  cut | join)
    in_session
    state=up
    [ "$command" = join ] || state=down
    ip link set "ve-$1" "$state"
    ;;
  status)
    in_session
    for folder in "$nodes"/run/*/; do
      [ ! -e "$folder/pid" ] || say "$(basename "$folder"): process $(cat "$folder/pid"), $(ip -br link show "ve-$(basename "$folder")" | awk '{ print $2 }')"
    done
    ;;
  *) die "usage: nodes.sh roots|inside|session|up|down|cut|join|status" ;;
esac
