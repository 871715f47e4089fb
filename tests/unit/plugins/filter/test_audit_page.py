# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit, as text. tests/pages looks at it in a browser."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from typing import Any, Dict, List, Optional, Tuple

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible.errors import AnsibleFilterError

from ansible_collections.vdisk.parallels.plugins.filter.audit_page import audit_page
from ansible_collections.vdisk.parallels.plugins.filter.audit_report import audit_report
from ansible_collections.vdisk.parallels.tests.support.reports import (
    checked,
    disk,
    finding,
    forecast,
    info,
    large_fleet,
    mapped,
    merged,
    snapshot,
)

EVIL = "</title></script><script>alert(1)</script><img src=x onerror=alert(2)>\"'&amp;\x00\x1b{{ 7 * 7 }}"
VOID = {"meta", "link", "input", "br", "img"}


class Reader(HTMLParser):
    """What a browser would see: elements, text, and whether all of them are closed."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.seen: List[Tuple[str, Dict[str, Optional[str]]]] = []
        self.open: List[str] = []
        self.wrong: List[str] = []
        self.text: List[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if not self.open or self.open.pop() != tag:
            self.wrong.append(f"{tag} at {self.getpos()}")

    def handle_data(self, data: str) -> None:
        self.text.append(data)


def page_of(*disks: Dict[str, Any], host: str = "host", **others: Any) -> str:
    return str(audit_page(audit_report([host], [info(*disks)], **others)))


def evil_disk() -> Dict[str, Any]:
    """A disk that says evil things wherever it can say anything."""
    path = f"/vms/{EVIL}.hdd"
    shots = [snapshot(EVIL, name=EVIL, parent=EVIL)]
    layers = [{"guid": "{top}", "files": [{"size": 1}], "outside": False}]
    map_of = mapped([EVIL, "{top}"], [1, 0, 5])
    return disk(
        path,
        name=EVIL,
        snapshots=shots,
        layers=layers,
        map=map_of,
        vm={"name": EVIL},
        state=EVIL,
        type=EVIL,
        warnings=[EVIL],
        orphan_files=[EVIL],
    )


def test_whatever_comes_from_hosts_and_disks_is_text() -> None:
    facts = evil_disk()
    answers = [
        info(facts, {"path": EVIL, "exists": False}, failed=[{"path": EVIL, "error_code": EVIL, "msg": EVIL}]),
        {"msg": EVIL, "error_code": EVIL},
        {},
    ]
    findings = (finding(EVIL, "error", EVIL, EVIL), finding(EVIL, EVIL))
    told = checked(facts["path"], *findings, before={"layers": 1}, after={"layers": 1}, reason=EVIL, error_code=EVIL)
    forecasts = [forecast(told), {}, {}]
    page = audit_page(audit_report([EVIL, "b", "c"], answers, forecasts=forecasts, title=EVIL, stamp=EVIL, scan=EVIL))
    harmless = audit_page(audit_report(["a", "b", "c"], [info(disk("/a.hdd")), {}, {}]))
    seen = Reader(page)
    assert [tag for tag, _attributes in seen.seen].count("script") == 1
    assert (
        not {tag for tag, _attributes in seen.seen}
        - {tag for tag, _attributes in Reader(harmless).seen}
        - {"code", "ul", "li", "h4", "path", "svg", "title", "em", "small", "circle", "ol", "br", "a", "rect", "b"}
    )
    assert not [name for _tag, attributes in seen.seen for name in attributes if name.startswith("on")]
    assert not seen.open and not seen.wrong
    assert "\x00" not in page and "\x1b" not in page


def test_every_element_is_closed_and_nothing_is_loaded() -> None:
    page = page_of(disk("/a.hdd", map=mapped(["{top}"], [1, 2])), disk("/b.hdd"))
    seen = Reader(page)
    assert not seen.open and not seen.wrong
    addresses = [
        value
        for _tag, attributes in seen.seen
        for name, value in attributes.items()
        if name in ("src", "href") and value
    ]
    assert {address[:1] for address in addresses} <= {"#", "d"} and "data:," in addresses
    assert "http" not in page.replace("http-equiv", "")
    assert not [attributes for _tag, attributes in seen.seen if "style" in attributes]


def test_links_lead_to_disks_and_names_are_unique() -> None:
    seen = Reader(page_of(*(disk(f"/{number}.hdd") for number in range(5))))
    names = [attributes["id"] for _tag, attributes in seen.seen if attributes.get("id")]
    links = {attributes["href"] for tag, attributes in seen.seen if tag == "a"}
    assert len(names) == len(set(names))
    places = {"#attention", "#disks", "#hosts", "#cards", "#reading"}
    assert links == places | {f"#disk-{number}" for number in range(1, 6)}
    assert {link[1:] for link in links if link} <= set(names)


def test_pictures_have_titles_or_are_hidden() -> None:
    page = page_of(disk("/a.hdd", map=mapped(["{top}"], [1, 2])))
    pictures = re.findall(r"<svg.*?</svg>", page, re.DOTALL)
    hidden = [one for one in pictures if 'aria-hidden="true"' in one]
    assert all("<title>" in one for one in pictures if one not in hidden and 'class="lanes"' not in one)
    assert len([one for one in pictures if "<title>2 of 2 parts<" in one]) == 1
    assert '<path d="M0 8v-2h120v2z"/>' in page


def test_figures_are_those_of_the_report() -> None:
    one = disk("/a.hdd", snapshots=[snapshot("{a}")], depth=2)
    page = page_of(
        one,
        forecasts=[forecast({**merged("/a.hdd", 3 << 30), "findings": [finding("leak_tail", "warning")]})],
    )
    text = " ".join("".join(Reader(page).text).replace("\N{NO-BREAK SPACE}", " ").split())
    for told in (
        "4 GiB",
        "at most, of 10 GiB",
        "stays 6 GiB",
        "by merging layers 3 GiB",
        "Gives back: by merging layers",
        "clusters that no table names 1 GiB",
        "leak_tail",
        "Merging 1 orphan layer would",
    ):
        assert told in text, told


def test_a_fleet_without_disks_has_a_page() -> None:
    assert "No disk was found" in page_of()
    assert "all well" in page_of()
    assert "all well" not in audit_page(audit_report(["a"], [{}]))
    assert not Reader(audit_page(audit_report([], []))).wrong


def test_the_page_grows_with_the_fleet_and_no_faster() -> None:
    small, large = (len(audit_page(large_fleet(number, 4))) for number in (20, 200))
    assert large < 11 * small


def test_what_is_no_report_is_refused() -> None:
    for wrong in ({}, {"format": 99}, "text", None):
        with pytest.raises(AnsibleFilterError):
            audit_page(wrong)


def test_an_answer_of_hdd_maintain_without_facts_is_a_mistake():
    answer = {"disks": [{"path": "/a.hdd"}], "missing": [], "changed": False}
    with pytest.raises(AnsibleFilterError, match="facts: true"):
        audit_report(["a"], [answer])
