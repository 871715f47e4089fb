# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit in a real browser: nothing on the console, nothing loaded, right numbers, readable at every
width.

With VDISK_PICTURES=FOLDER, pictures of the page are left there.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.audit_page import audit_page
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.markup import size
from ansible_collections.vdisk.parallels.tests.pages.browser import Browser, find_chromium
from ansible_collections.vdisk.parallels.tests.pages.fleet import EVIL, make_fleet, report_of

WIDTHS = (400, 760, 1400)


@pytest.fixture(name="report", scope="module")
def report_fixture(tmp_path_factory: pytest.TempPathFactory) -> Dict[str, Any]:
    """The report of a fleet with one host that does not answer."""
    if find_chromium() is None:
        pytest.skip("there is no Chromium on this machine")
    return report_of(make_fleet(str(tmp_path_factory.mktemp("fleet"))), absent="mac-build-04", stamp="2026-01-31")


@pytest.fixture(name="page", scope="module")
def page_fixture(report: Dict[str, Any], tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("page") / "audit.html"
    path.write_text(audit_page(report), encoding="utf-8")
    return str(path)


@pytest.fixture(name="browser", scope="module")
def browser_fixture() -> Iterator[Browser]:
    program = find_chromium()
    if program is None:
        pytest.skip("there is no Chromium on this machine")
    browser = Browser(program)
    yield browser
    browser.close()


def texts(browser: Browser, selector: str) -> List[str]:
    found: List[str] = browser.evaluate(f"Array.from(document.querySelectorAll({selector!r})).map(e => e.textContent)")
    return found


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_page_is_quiet_and_fits(browser: Browser, page: str, width: int, dark: bool) -> None:
    browser.complaints.clear()
    browser.requests.clear()
    browser.look(width=width, dark=dark)
    browser.open(page)
    assert browser.complaints == []
    assert browser.requests == [Path(page).as_uri()]
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 21, 27)" if dark else "rgb(244, 245, 248)")
    visible = "Array.from(r.cells).map(c => getComputedStyle(c).display != 'none').join()"
    for rows in browser.evaluate(
        f"Array.from(document.querySelectorAll('table')).map(t => Array.from(t.rows).map(r => {visible}))"
    ):
        assert len(set(rows)) == 1, "a heading is shown where its cells are hidden, or the other way round"
    folder = os.environ.get("VDISK_PICTURES")
    if folder:
        browser.look(width=width, dark=dark, height=browser.evaluate("document.documentElement.scrollHeight"))
        browser.screenshot(os.path.join(folder, f"audit-{width}{'-dark' if dark else ''}.png"))


def test_the_numbers_are_those_of_the_report(browser: Browser, page: str, report: Dict[str, Any]) -> None:
    browser.look(width=1400)
    browser.open(page)
    totals = report["totals"]
    assert (totals["hosts"], totals["disks"], totals["failed_disks"], totals["hosts_without_answer"]) == (5, 5, 1, 1)
    tiles = dict(zip(texts(browser, ".tiles dt"), texts(browser, ".tiles dt + dd")))
    assert tiles == {
        "Could be given back": size(totals["gain"]),
        "On disk": size(totals["file_size"]),
        "In use": size(totals["used_size"]),
        "Hosts": "5",
        "Disks": "5",
        "Orphan layers": "13",
        "Findings": str(totals["findings"]["error"] + totals["findings"]["warning"]),
    }
    assert len(texts(browser, ".disk")) == 5
    assert len(texts(browser, ".disk .layers li")) == 6 + 13 + 2 + 1 + 1
    gains = [disk["gain"]["total"] for host in report["hosts"] for disk in host["disks"]]
    assert texts(browser, "tr[data-disk] td:nth-child(4)") == [size(gain) for gain in sorted(gains, reverse=True)]


def test_the_map_covers_what_the_layers_hold(browser: Browser, page: str, report: Dict[str, Any]) -> None:
    browser.open(page)
    drawn = browser.evaluate(
        "Array.from(document.querySelectorAll('.strip')).map(s => Array.from(s.querySelectorAll('path')).length)"
    )
    assert len(drawn) == 23 and all(drawn)


def test_markup_in_names_is_text(browser: Browser, page: str) -> None:
    browser.complaints.clear()
    browser.open(page)
    assert EVIL in texts(browser, ".layers .name bdi")
    assert browser.evaluate("document.scripts.length") == 1
    assert browser.complaints == []


def test_the_policy_stops_what_would_get_in_all_the_same(browser: Browser, page: str) -> None:
    browser.open(page)
    browser.evaluate(
        "var s = document.createElement('script'); s.textContent = 'window.got_in = 1'; document.body.appendChild(s)"
    )
    assert browser.evaluate("window.got_in") is None


def test_the_filter_shows_the_disks_that_have_all_words(browser: Browser, page: str) -> None:
    browser.look(width=1400)
    browser.open(page)

    def shown(words: str) -> List[str]:
        browser.evaluate(
            f"var f = document.getElementById('filter'); f.value = {words!r}; f.dispatchEvent(new Event('input'))"
        )
        assert len(texts(browser, ".disk:not([hidden])")) == len(texts(browser, "tr[data-disk]:not([hidden])"))
        return texts(browser, ".disk:not([hidden]) h3")

    assert shown("CI-runner") == ["ci-runner"]
    assert shown("mac-build-01 xcode") == ["macOS 15 build"]
    assert shown("leak_tail") == ["scratch"]
    assert shown("nothing like this") == []
    assert texts(browser, "#shown") == ["0 of 5 disks"]
    assert len(shown("")) == 5


def test_links_and_headings_lead_through_the_page(browser: Browser, page: str) -> None:
    browser.open(page)
    assert browser.evaluate(
        "Array.from(document.querySelectorAll('a')).every(a => document.querySelector(a.getAttribute('href')))"
    )
    levels = browser.evaluate("Array.from(document.querySelectorAll('h1,h2,h3,h4')).map(h => +h.tagName[1])")
    assert levels[0] == 1 and levels.count(1) == 1
    assert all(following - level <= 1 for level, following in zip(levels, levels[1:]))
    assert browser.evaluate("Array.from(document.querySelectorAll('th')).every(h => h.scope)")
    assert browser.evaluate("document.documentElement.lang") == "en"


def test_the_page_can_be_printed(browser: Browser, page: str) -> None:
    browser.look(width=1000, media="print", dark=True)
    browser.open(page)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('.filter')).display") == "none"
    assert browser.printed().startswith(b"%PDF")
