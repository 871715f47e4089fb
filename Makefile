# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# All work is done by the scripts in tests/utils, which quote every path: the checkout may lie in a folder with spaces in its name.
# CORE=2.21 in front of a target takes that version of ansible-core.

.PHONY: help demo test test-all test-long sanity lint format units integration molecule nodes coverage bench docs build artifact pictures clean
.NOTPARALLEL:

help:
	@echo 'make demo         a whole life of a disk, in a temporary folder (needs python3 with venv, and the package index)'
	@echo 'make test         the tests, a sample of the slow ones: units, architecture, properties, crashes, oracles, pages, playbooks'
	@echo 'make test-all     every example, on every Python present, and every playbook'
	@echo 'make test-long    the same, and what runs for minutes'
	@echo 'make sanity       ansible-test sanity'
	@echo 'make units        ansible-test units'
	@echo 'make integration  ansible-test integration'
	@echo 'make molecule     the scenarios of extensions/molecule on this machine (Linux)'
	@echo 'make nodes        the same and more on Debian 11, 12, 13 and sid nodes (Linux, root); ONLY="nodes audit" chooses'
	@echo 'make lint         style, types, playbooks, documentation, changes, licences'
	@echo 'make format       let ruff format the Python files and sort the imports'
	@echo 'make coverage     lines and branches that the unit tests do not reach'
	@echo 'make bench        speed beside qemu-img and cp; ARGS="--allocated 512M --only merge" chooses'
	@echo 'make docs         the documentation as HTML'
	@echo 'make build        the collection as an archive for ansible-galaxy'
	@echo 'make artifact     that archive built, installed, used, and tried with galaxy-importer'
	@echo 'make pictures     the pictures in docs/pictures anew'
	@echo 'make clean        remove all that these commands made'

demo:
	@sh tests/utils/demo.sh

test:
	@sh tests/utils/test.sh

test-all:
	@sh tests/utils/test.sh --all

test-long:
	@sh tests/utils/test.sh --long

sanity:
	@sh tests/utils/ansible_test.sh sanity

units:
	@sh tests/utils/ansible_test.sh units

integration:
	@sh tests/utils/ansible_test.sh integration

molecule:
	@sh tests/utils/molecule.sh here $(ONLY)

nodes:
	@sh tests/utils/molecule.sh nodes $(ONLY)

lint:
	@sh tests/utils/lint.sh

format:
	@sh tests/utils/tool.sh ruff check --fix --quiet --exit-zero .
	@sh tests/utils/tool.sh ruff format --quiet .

coverage:
	@sh tests/utils/tool.sh coverage erase
	@sh tests/utils/tool.sh coverage run -m pytest -q tests/unit
	@sh tests/utils/tool.sh coverage combine -q
	@sh tests/utils/tool.sh coverage report

bench:
	@sh tests/utils/bench.sh

docs:
	@sh tests/utils/docs.sh

build:
	@sh tests/utils/tool.sh ansible-galaxy collection build --force --output-path .build/dist

artifact:
	@sh tests/utils/artifact.sh

pictures:
	@sh tests/utils/pictures.sh

clean:
	rm -rf .venv .build
