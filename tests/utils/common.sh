# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What every script of this folder starts with: where things lie, a clean environment, the interpreters, the virtual environment.
# shellcheck shell=sh disable=SC2034

set -eu

root=$(CDPATH="" cd "$(dirname "$0")/../.." && pwd -P)
build=$root/.build
link=$build/link/ansible_collections/vdisk/parallels
tree=$build/tree/ansible_collections/vdisk/parallels
reports=$build/reports
pythons=$build/pythons
# CORE=2.21 takes that version of ansible-core, in an environment of its own.
core=${CORE:-}
# CONTROLLER=3.14 takes that Python, likewise.
venv=$root/.venv
[ -z "$core${CONTROLLER:-}" ] || venv=$build/venv-core-${core:-any}${CONTROLLER:+-$CONTROLLER}

say() { printf '%s\n' "$*"; }
title() { printf '\n== %s\n' "$*"; }
die() { printf 'error: %s\n' "$*" >&2; exit 1; }

# Settings of the user must not change what is tested; pip keeps the machine's.
for name in $(env | sed -n 's/^\(ANSIBLE_[A-Z0-9_]*\)=.*/\1/p'); do unset "$name"; done
unset PYTHONPATH PYTHONHOME PYTHONSTARTUP VIRTUAL_ENV CDPATH GIT_DIR GIT_WORK_TREE MAKEFLAGS MFLAGS
case $(uname -s) in
  Darwin) LC_ALL=en_US.UTF-8 ;;
  *) LC_ALL=C.UTF-8 ;;
esac
export LC_ALL
export ANSIBLE_COLLECTIONS_PATH="$build/link" ANSIBLE_HOME="$build/ansible" ANSIBLE_CONFIG="$build/ansible.cfg" ANSIBLE_NOCOWS=1
export ANSIBLE_LOCALHOST_WARNING=false ANSIBLE_INVENTORY_UNPARSED_WARNING=false
export HYPOTHESIS_STORAGE_DIRECTORY="$build/cache/hypothesis" PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_INPUT=1

# Print the real path of Python $1 (such as 3.11), if one is on PATH that runs and can make virtual environments.
# A shim of a version manager may exist without running, and an interpreter of Debian may lack ensurepip.
find_on_path() {
  _wanted=$1
  _old_ifs=$IFS
  IFS=:
  set -f
  for _folder in $PATH; do
    IFS=$_old_ifs
    set +f
    _probe "$_folder/python$_wanted" && return 0
  done
  return 1
}

# The same, and where version managers keep interpreters that are not on PATH at the moment.
find_python() {
  find_on_path "$1" && return 0
  for _path in "${PYENV_ROOT:-$HOME/.pyenv}"/versions/"$_wanted".*/bin/python"$_wanted" "$HOME"/.local/share/uv/python/cpython-"$_wanted".*/bin/python"$_wanted" \
    /opt/homebrew/bin/python"$_wanted" /Library/Frameworks/Python.framework/Versions/"$_wanted"/bin/python"$_wanted"; do
    _probe "$_path" && return 0
  done
  return 1
}

_probe() {
  [ -x "$1" ] || return 1
  "$1" -I -c '
import ensurepip, os, sys, venv
found = "%d.%d" % sys.version_info[:2]
if found != sys.argv[1] or sys.implementation.name != "cpython":
    sys.exit(1)
print(os.path.realpath(getattr(sys, "_base_executable", None) or sys.executable))' "$_wanted" 2>/dev/null </dev/null
}

# Print the newest Python that ansible-core runs on: one on PATH if there is any.
find_controller() {
  case $core in
    2.17) _versions='3.12 3.11 3.10' ;;
    2.18 | 2.19) _versions='3.13 3.12 3.11' ;;
    2.2*) _versions='3.13 3.12 3.14' ;;
    *) _versions='3.13 3.12 3.11 3.10 3.14' ;;
  esac
  _versions=${CONTROLLER:-$_versions}
  for _find in find_on_path find_python; do
    for _version in $_versions; do "$_find" "$_version" && return 0; done
  done
  return 1
}

is_debian_root() { [ "$(id -u)" = 0 ] && [ -e /etc/debian_version ] && command -v apt-get >/dev/null 2>&1; }

apt_updated=
# Install Debian packages, quietly; returns false when that is impossible.
apt_install() {
  is_debian_root || return 1
  mkdir -p "$build/logs"
  if [ -z "$apt_updated" ]; then
    DEBIAN_FRONTEND=noninteractive apt-get update >>"$build/logs/apt.log" 2>&1 </dev/null || :
    apt_updated=yes
  fi
  DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends "$@" >>"$build/logs/apt.log" 2>&1 </dev/null
}

# make_venv FOLDER PYTHON STAMP REQUIREMENTS PIP-ARGUMENTS...: nothing happens when it was made from the same things before.
make_venv() {
  _folder=$1 _python=$2 _stamp=$1/.made-$3 _requirements=$4
  shift 4
  _want="$_python $_folder $* $(cat "$_requirements")"
  [ -x "$_folder/bin/python" ] && [ "$(cat "$_stamp" 2>/dev/null)" = "$_want" ] && "$_folder/bin/python" -c '' 2>/dev/null && return 0
  # A folder that was moved or made by another Python is made anew; more packages may join one that is sound.
  if [ "$(cat "$_folder/.made-by" 2>/dev/null)" != "$(printf '%s\n%s' "$_python" "$_folder")" ] || ! "$_folder/bin/python" -c '' 2>/dev/null; then
    rm -rf "$_folder"
    mkdir -p "$(dirname "$_folder")"
    "$_python" -m venv "$_folder" </dev/null
    printf '%s\n%s\n' "$_python" "$_folder" >"$_folder/.made-by"
  fi
  "$_folder/bin/python" -m pip install -qq -r "$_requirements" "$@" </dev/null || return 1
  printf '%s' "$_want" >"$_stamp"
}

# The environment of everything: "demo" has ansible-core and lxml, "dev" all the tools.
use_venv() {
  # One that is sound keeps its Python, whatever else is installed meanwhile.
  controller=$(sed -n 1p "$venv/.made-by" 2>/dev/null) || controller=
  if [ -z "$controller" ] || [ ! -x "$controller" ]; then
    controller=$(find_controller) || { apt_install python3-venv && controller=$(find_controller); } ||
      die "no Python ${CONTROLLER:-3.10 to 3.14} with the modules venv and ensurepip was found (on Debian and Ubuntu: apt-get install python3-venv)"
  fi
  mkdir -p "$build/logs" "$build/link/ansible_collections/vdisk"
  printf '[defaults]\n' >"$ANSIBLE_CONFIG"
  _file=$build/requirements-$1$core${CONTROLLER:-}.txt
  case $1 in
    demo) { grep '^ansible-core' "$root/requirements-dev.txt"; cat "$root/meta/ee-requirements.txt"; } >"$_file" ;;
    *) cat "$root/requirements-dev.txt" >"$_file" ;;
  esac
  if [ -n "$core" ]; then
    sed "s/^ansible-core.*/ansible-core == $core.*/" "$_file" | uniq >"$_file.new"
    mv "$_file.new" "$_file"
  fi
  [ -e "$venv/.made-$1" ] || say "making the environment in ${venv#"$root"/} with $controller"
  make_venv "$venv" "$controller" "$1" "$_file" || die "the packages of requirements-dev.txt could not be installed"
  [ "$(readlink "$link" 2>/dev/null)" = "$root" ] || { rm -rf "$link"; ln -s "$root" "$link"; }
  clean_path
  PATH=$venv/bin:$PATH
  export PATH
}

# Drop the shims of version managers from PATH: those that exist without running stop ansible-test.
clean_path() {
  PATH=$(printf '%s' "$PATH" | tr ':' '\n' | grep -v '/shims/*$' | tr '\n' ':' | sed 's/:$//')
  case :$PATH: in *:/usr/sbin:*) ;; *) PATH=$PATH:/usr/sbin:/sbin ;; esac
}

# Fill $pythons with links pythonX.Y to the interpreters that run; $absent names the others.
collect_pythons() {
  rm -rf "$pythons"
  mkdir -p "$pythons"
  absent=
  for _minor in 3.8 3.9 3.10 3.11 3.12 3.13 3.14; do
    if _real=$(find_python "$_minor"); then ln -s "$_real" "$pythons/python$_minor"; else absent="$absent $_minor"; fi
  done
}
