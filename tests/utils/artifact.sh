#!/bin/sh
# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# What users get: build the archive, look into it, install it from the file and from a git repository, and use what was installed; then ask galaxy-importer,
# which Galaxy runs on what is published, and ansible-builder, which makes container images. Everything lies in .build/dist and in a temporary folder.

# shellcheck disable=SC2154
set -eu
. "$(dirname "$0")/common.sh"
use_venv dev
folder=$(mktemp -d "${TMPDIR:-/tmp}/vdisk artifact.XXXXXX")
trap 'rm -rf "$folder"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
skipped=

# A home and settings of their own: neither this checkout nor what the user has installed is found.
unset ANSIBLE_COLLECTIONS_PATH ANSIBLE_CONFIG
users_home=$HOME
export HOME="$folder/home" ANSIBLE_HOME="$folder/home/.ansible"
mkdir -p "$HOME"
python=$venv/bin/python
limit=1000000

field() { "$python" -c 'import sys, yaml; print(yaml.safe_load(open(sys.argv[1], encoding="utf-8"))[sys.argv[2]])' "$root/galaxy.yml" "$1"; }
version=$(field version)
archive=$build/dist/$(field namespace)-$(field name)-$version.tar.gz

# The folder of the collection that was installed below $1.
installed() { printf '%s/ansible_collections/vdisk/parallels' "$1"; }

title "build"
cd "$root"
rm -f "$archive"
"$venv/bin/ansible-galaxy" collection build --force --output-path "$build/dist" </dev/null
bytes=$(wc -c <"$archive" | tr -d ' ')
say "$(basename "$archive"): $bytes bytes, $(tar tzf "$archive" | grep -c -v '/$') files"
[ "$bytes" -lt "$limit" ] || die "the archive has more than $limit bytes"
foreign=$(tar tzf "$archive" | sed 's|^\./||' | grep -v -E '^(MANIFEST\.json|FILES\.json|CHANGELOG\.(md|rst)|CODE_OF_CONDUCT\.md|CONTRIBUTING\.md|COPYING|README\.md|REUSE\.toml|SECURITY\.md|LICENSES/.*|changelogs/(changelog|config)\.yaml|changelogs/|docs/.*|examples/.*|meta/.*|playbooks/.*|plugins/.*|roles/.*)$' || :)
[ -z "$foreign" ] || die "the archive has files that do not belong into it:
$foreign"

title "install the archive, without a network"
"$venv/bin/ansible-galaxy" collection install "$archive" --offline -p "$folder/from archive" </dev/null
ANSIBLE_COLLECTIONS_PATH="$folder/from archive" "$venv/bin/ansible-galaxy" collection verify --offline vdisk.parallels </dev/null

title "install from git"
# A repository of what would be committed now: the real one may lack work that is not committed yet.
mkdir -p "$folder/repository"
"$python" "$root/tests/utils/tree.py" "$root" "$folder/copy" >/dev/null
cp -R "$folder/copy/tree/ansible_collections/vdisk/parallels/." "$folder/repository"
rm -rf "$folder/repository/.git" "$folder/copy"
if command -v git >/dev/null 2>&1; then
  (
    cd "$folder/repository"
    git init -q
    git add -A
    git -c user.name=nobody -c user.email=nobody@localhost -c commit.gpgsign=false commit -q -m "$version"
    git -c tag.gpgsign=false tag "$version"
  )
  address=git+file://$(printf '%s' "$folder/repository" | sed 's/ /%20/g')
  printf 'collections:\n  - name: %s\n    type: git\n    version: %s\n' "$address" "$version" >"$folder/requirements.yml"
  "$venv/bin/ansible-galaxy" collection install -r "$folder/requirements.yml" -p "$folder/from git" </dev/null >"$folder/git.log" 2>&1 ||
    { cat "$folder/git.log"; die "the collection cannot be installed from git"; }
  grep 'was installed successfully' "$folder/git.log"
  diff -r -x MANIFEST.json -x FILES.json -x GALAXY.yml "$(installed "$folder/from archive")" "$(installed "$folder/from git")" || die "what git gives is not what the archive holds"
else
  say "git: absent, installing from a repository was not tried"
  skipped="$skipped git"
fi

title "documentation of what was installed"
export ANSIBLE_COLLECTIONS_PATH="$folder/from archive"
for kind in module filter inventory role; do
  names=$("$venv/bin/ansible-doc" -t "$kind" -l -j vdisk.parallels </dev/null | "$python" -c 'import json, sys; print(" ".join(sorted(json.load(sys.stdin))))')
  [ -n "$names" ] || die "ansible-doc finds no $kind"
  # shellcheck disable=SC2086
  "$venv/bin/ansible-doc" -t "$kind" $names </dev/null >"$folder/$kind.txt" 2>"$folder/$kind.err" || die "ansible-doc -t $kind: $(cat "$folder/$kind.err")"
  ! grep -q -i -E 'error|traceback' "$folder/$kind.err" || die "$(cat "$folder/$kind.err")"
  say "$kind: $names"
done

title "a module and a role of what was installed"
cat >"$folder/play.yml" <<'PLAY'
- name: Use what was installed
  hosts: localhost
  gather_facts: false
  tasks:
    - name: Make a disk
      vdisk.parallels.hdd:
        path: "{{ place }}/disk.hdd"
        size: 64M
    - name: Look after it
      ansible.builtin.include_role:
        name: vdisk.parallels.maintain
      vars:
        maintain_paths:
          - "{{ place }}"
    - name: See that there is nothing to do
      ansible.builtin.assert:
        that: maintain_report.unchanged == 1
PLAY
"$venv/bin/ansible-playbook" -i localhost, -c local -e "{\"ansible_python_interpreter\": \"$python\", \"place\": \"$folder\"}" "$folder/play.yml" </dev/null >"$folder/play.log" 2>&1 ||
  { cat "$folder/play.log"; die "the installed collection does not work"; }
tail -n 3 "$folder/play.log"

# tool_venv NAME PACKAGES...: an environment of its own for a tool whose demands do not agree with those of the others.
tool_venv() {
  _tool=$1
  shift
  printf '%s\n' "$@" >"$build/requirements-$_tool.txt"
  (
    # pip keeps the settings of the user.
    export HOME="$users_home"
    make_venv "$build/venv-$_tool" "$controller" "$_tool" "$build/requirements-$_tool.txt"
  ) >>"$build/logs/artifact.log" 2>&1
}

title "galaxy-importer"
if tool_venv importer galaxy-importer; then
  asked=$archive
  if ! grep -q '^repository:' "$root/galaxy.yml"; then
    say "galaxy.yml names no repository, which Galaxy demands; an archive that names one is tried instead"
    { cat "$root/galaxy.yml"; echo 'repository: https://example.com/vdisk/parallels'; } >"$folder/repository/galaxy.yml"
    "$venv/bin/ansible-galaxy" collection build --output-path "$folder/asked" "$folder/repository" </dev/null >/dev/null
    asked=$folder/asked/$(basename "$archive")
  fi
  printf '[galaxy-importer]\nCHECK_REQUIRED_TAGS = True\nRUN_ANSIBLE_DOC = True\nRUN_ANSIBLE_LINT = True\nRUN_FLAKE8 = False\nCHECK_CHANGELOG = True\n' >"$folder/importer.cfg"
  (
    # It calls ansible-doc and ansible-lint by their names, and writes a report beside itself.
    cd "$folder"
    unset ANSIBLE_COLLECTIONS_PATH
    PATH=$build/venv-importer/bin:$PATH GALAXY_IMPORTER_CONFIG=$folder/importer.cfg "$build/venv-importer/bin/python" -m galaxy_importer.main "$asked" </dev/null
  ) >"$folder/importer.log" 2>&1 || { cat "$folder/importer.log"; die "galaxy-importer refuses the archive"; }
  grep -v '^Loading ' "$folder/importer.log"
  ! grep -q '^ERROR' "$folder/importer.log" || die "galaxy-importer complains"
else
  say "galaxy-importer: could not be installed, see .build/logs/artifact.log; the archive was not tried with it"
  skipped="$skipped galaxy-importer"
fi

title "ansible-builder"
if tool_venv builder ansible-builder; then
  "$build/venv-builder/bin/ansible-builder" introspect "$folder/from archive" </dev/null >"$folder/builder.txt" 2>&1 || { cat "$folder/builder.txt"; die "ansible-builder fails"; }
  cat "$folder/builder.txt"
  grep -q 'lxml' "$folder/builder.txt" || die "ansible-builder does not see that the collection needs lxml"
else
  say "ansible-builder: could not be installed, see .build/logs/artifact.log; container images were not tried"
  skipped="$skipped ansible-builder"
fi

say ""
say "the archive is .build/dist/$(basename "$archive")${skipped:+; not tried:$skipped}"
