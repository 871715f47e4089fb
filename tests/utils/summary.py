# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Print what the test runs of a folder of reports found: a line per run, what failed, why tests were
skipped, the totals.

Usage: summary.py REPORTS
"""

from __future__ import annotations

import glob
import os
import sys
import xml.etree.ElementTree
from collections import Counter
from typing import NamedTuple

KINDS = ("passed", "failed", "skipped")


def _outcome(case: xml.etree.ElementTree.Element) -> str:
    if case.find("failure") is not None or case.find("error") is not None:
        return "failed"
    return "passed" if case.find("skipped") is None else "skipped"


class Run(NamedTuple):
    """Counts by outcome, the reasons of the skipped tests with how often each was given, and what failed."""

    counts: Counter[str]
    reasons: Counter[str]
    failed: list[str]


def _name(case: xml.etree.ElementTree.Element) -> str:
    """The test as pytest wants it on its command line, as far as the report tells."""
    parts = case.get("classname", "").split(".")
    return f"{'/'.join(parts)}.py::{case.get('name')}"


def read_pytest(path: str) -> Run:
    """What a report of pytest says."""
    cases = list(xml.etree.ElementTree.parse(path).iter("testcase"))
    reasons = Counter(case.find("skipped").get("message", "") for case in cases if _outcome(case) == "skipped")
    failed = [_name(case) for case in cases if _outcome(case) == "failed"]
    return Run(Counter(_outcome(case) for case in cases), reasons, failed)


def read_targets(path: str) -> Run:
    """The same of a file with lines such as ``skipped NAME: why``."""
    with open(path, encoding="utf-8") as file:
        lines = [line.strip().partition(" ") for line in file if line.startswith(KINDS)]
    told = {kind: [text for found, _space, text in lines if found == kind] for kind in KINDS}
    counts = Counter({kind: len(texts) for kind, texts in told.items()})
    return Run(counts, Counter(told["skipped"]), [text.partition(":")[0] for text in told["failed"]])


def _order(name: str) -> tuple[str, int]:
    kind, _dash, version = name.partition("-")
    return kind, int(version.partition(".")[2] or 0)


def main() -> None:
    folder = sys.argv[1]
    runs = {os.path.basename(path)[:-4]: read_pytest(path) for path in glob.glob(os.path.join(folder, "*.xml"))}
    targets = os.path.join(folder, "integration.txt")
    if os.path.exists(targets):
        runs["integration"] = read_targets(targets)
    total: Counter[str] = Counter()
    reasons: Counter[str] = Counter()
    failed: list[str] = []
    for name in sorted(runs, key=_order):
        run = runs[name]
        total += run.counts
        reasons += run.reasons
        failed += [f"failed in {name}: {one}" for one in run.failed]
        print(f"{name:<16}" + ", ".join(f"{run.counts[kind]} {kind}" for kind in KINDS))
    for line in failed:
        print(line)
    for reason, times in sorted(reasons.items()):
        print(f"skipped {times} x {reason}")
    print(", ".join(f"{total[kind]} {kind}" for kind in KINDS))


if __name__ == "__main__":
    main()
