# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of an audit in a real browser: nothing on the console, nothing loaded, right numbers, readable at every
width, on paper, and by those who do not see it.

With VDISK_PICTURES=FOLDER, pictures of the page are left there.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Dict, Iterator, List

import pytest

pytest.importorskip("ansible.errors", reason="filters need ansible-core")

from ansible_collections.vdisk.parallels.plugins.filter.audit_page import audit_page
from ansible_collections.vdisk.parallels.plugins.plugin_utils._audit.markup import size
from ansible_collections.vdisk.parallels.tests.pages.axe import find_axe, violations
from ansible_collections.vdisk.parallels.tests.pages.browser import Browser, find_chromium
from ansible_collections.vdisk.parallels.tests.pages.fleet import EVIL, make_fleet, report_of
from ansible_collections.vdisk.parallels.tests.support.reports import large_fleet

WIDTHS = (390, 760, 1280)
SCREEN = {390: 844, 760: 900, 1280: 800}


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


@pytest.fixture(name="large", scope="module")
def large_fixture(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page of 200 disks with 20 layers each."""
    path = tmp_path_factory.mktemp("large") / "audit.html"
    path.write_text(audit_page(large_fleet()), encoding="utf-8")
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


def picture(browser: Browser, name: str, *, width: int, dark: bool = False) -> None:
    """Leave a picture of the whole page where one is asked for."""
    folder = os.environ.get("VDISK_PICTURES")
    if folder:
        height = min(6000, browser.evaluate("document.documentElement.scrollHeight"))
        browser.look(width=width, dark=dark, height=height)
        browser.screenshot(os.path.join(folder, f"{name}-{width}{'-dark' if dark else ''}.png"))


def top_of(browser: Browser, name: str) -> int:
    found: int = browser.evaluate(f"Math.round(document.getElementById({name!r}).getBoundingClientRect().top)")
    return found


def fill(browser: Browser, words: str) -> List[str]:
    """Type words into the box of the filter; the names of the disks that are shown then."""
    browser.evaluate(
        f"var f = document.getElementById('filter'); f.value = {words!r}; f.dispatchEvent(new Event('input'))"
    )
    shown = texts(browser, ".disk:not([hidden]) h3")
    assert len(shown) == len(texts(browser, "tr[data-disk]:not([hidden])"))
    return shown


@pytest.mark.parametrize(
    "kind, width, dark",
    [
        *(("page", width, dark) for width in WIDTHS for dark in (False, True)),
        ("large", 390, False),
        ("large", 1280, True),
    ],
)
def test_the_page_is_quiet_and_fits(
    browser: Browser, request: pytest.FixtureRequest, width: int, dark: bool, kind: str
) -> None:
    page = request.getfixturevalue(kind)
    browser.complaints.clear()
    browser.requests.clear()
    browser.look(width=width, dark=dark)
    browser.open(page)
    assert browser.complaints == []
    assert browser.requests == [Path(page).as_uri()]
    browser.evaluate("Array.from(document.querySelectorAll('details')).slice(0, 30).forEach(d => { d.open = true; })")
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    wide = (
        "Array.from(document.querySelectorAll('main *, nav *, header *'))"
        ".filter(e => e.getBoundingClientRect().right > innerWidth + 1 && !e.closest('svg, p, .chip'))"
        ".map(e => e.outerHTML.slice(0, 80))"
    )
    assert browser.evaluate(wide) == []
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(18, 21, 27)" if dark else "rgb(244, 245, 248)")
    visible = "Array.from(r.cells).map(c => getComputedStyle(c).display != 'none').join()"
    for rows in browser.evaluate(
        f"Array.from(document.querySelectorAll('table')).map(t => Array.from(t.rows).map(r => {visible}))"
    ):
        assert len(set(rows)) == 1, "a heading is shown where its cells are hidden, or the other way round"
    browser.open(page)
    picture(browser, kind, width=width, dark=dark)


@pytest.mark.parametrize("width", WIDTHS)
def test_the_disks_of_a_large_fleet_begin_within_two_screens(browser: Browser, large: str, width: int) -> None:
    height = SCREEN[width]
    browser.look(width=width, height=height)
    browser.open(large)
    assert top_of(browser, "disks") < 2 * height
    bottom = browser.evaluate("document.querySelector('.tiles').getBoundingClientRect().bottom")
    assert bottom < height, "the totals are not on the first screen"
    assert os.path.getsize(large) < 1_500_000


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
    assert len(texts(browser, ".disk .layers em")) == 13, "a tile says other than the cards"
    gains = [disk["gain"]["total"] for host in report["hosts"] for disk in host["disks"]]
    assert texts(browser, "tr[data-disk] td:nth-child(5)") == [size(gain) for gain in sorted(gains, reverse=True)]


def test_the_map_covers_what_the_layers_hold(browser: Browser, page: str, report: Dict[str, Any]) -> None:
    browser.look(width=1400)
    browser.open(page)
    drawn = browser.evaluate(
        "Array.from(document.querySelectorAll('.layers li > svg:last-child path')).map(p => "
        "[p.getBoundingClientRect().width, p.closest('svg').getBoundingClientRect().width])"
    )
    assert len(drawn) == 23
    assert all(0 < width <= whole for width, whole in drawn)


def test_markup_in_names_is_text(browser: Browser, page: str) -> None:
    browser.complaints.clear()
    browser.open(page)
    assert EVIL in texts(browser, ".layers bdi")
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
    assert fill(browser, "CI-runner") == ["ci-runner"]
    assert fill(browser, "mac-build-01 xcode") == ["macOS 15 build"]
    assert fill(browser, "leak_tail") == ["scratch"]
    assert fill(browser, "nothing like this") == []
    assert texts(browser, "#shown") == ["0 of 5 disks"]
    assert len(fill(browser, "")) == 5


def test_the_filter_reaches_what_is_folded_and_unfolds_the_few_that_are_left(browser: Browser, large: str) -> None:
    browser.look(width=1280)
    browser.open(large)
    guid = browser.evaluate("document.querySelector('#disk-77 code').textContent")
    name = browser.evaluate("document.querySelector('#disk-77 h3').textContent")
    opened = "Array.from(document.querySelectorAll('.disk[open]')).map(d => d.id)"
    assert browser.evaluate(opened) == []
    assert fill(browser, guid) == [name]
    assert browser.evaluate(opened) == ["disk-77"]
    assert len(texts(browser, ".all-hosts tbody tr:not([hidden])")) == 1
    assert len(fill(browser, "")) == 200 and browser.evaluate(opened) == []
    fill(browser, "mac-build-03 missing_descriptor")
    assert len(texts(browser, ".findings.card > li:not([hidden])")) == 1
    assert len(texts(browser, ".findings.card > li:not([hidden]) ul > li:not([hidden])")) == 1


def test_tables_are_sorted_by_keyboard_and_say_so(browser: Browser, large: str) -> None:
    browser.look(width=1280)
    browser.open(large)
    column = "Array.from(document.querySelectorAll('.all-disks tbody tr')).map(r => +r.cells[3].dataset.v)"
    state = "Array.from(document.querySelectorAll('.all-disks thead th')).map(h => h.getAttribute('aria-sort'))"
    assert browser.evaluate(state) == [None, None, None, None, "descending", None]
    browser.evaluate("document.querySelectorAll('.all-disks thead button')[1].focus()")
    for way in ("ascending", "descending"):
        browser.press("Enter")
        assert browser.evaluate(state) == [None, way, None, None, None, None]
        hosts = texts(browser, ".all-disks tbody td:nth-child(2)")
        assert hosts == sorted(hosts, reverse=way == "descending")
    browser.evaluate("document.querySelectorAll('.all-disks thead button')[3].focus()")
    for way in ("descending", "ascending"):
        browser.press("Space")
        assert browser.evaluate(state)[3] == way
        values = browser.evaluate(column)
        assert values == sorted(values, reverse=way == "descending")


def test_a_link_unfolds_its_disk(browser: Browser, large: str) -> None:
    browser.look(width=1280)
    browser.open(large)
    browser.evaluate("document.querySelector('.all-disks a').click()")
    browser.evaluate("new Promise(done => setTimeout(done, 100))", wait=True)
    assert browser.evaluate("document.getElementById('disk-1').open")
    assert abs(top_of(browser, "disk-1")) < 100


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


def pages_of(browser: Browser) -> int:
    """How many sheets the page takes."""
    return len(re.findall(rb"/Type\s*/Page\b(?!s)", browser.printed()))


def test_the_page_can_be_printed(browser: Browser, page: str, large: str) -> None:
    browser.look(width=1000, media="print", dark=True)
    browser.open(page)
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert browser.evaluate("getComputedStyle(document.querySelector('.filter')).display") == "none"
    assert 1 <= pages_of(browser) <= 8
    browser.open(large)
    assert 2 <= pages_of(browser) <= 20


@pytest.mark.parametrize(
    "kind, width, dark",
    [
        ("page", 390, False),
        ("page", 1280, True),
        pytest.param("large", 390, True, marks=pytest.mark.long),
        pytest.param("large", 1280, False, marks=pytest.mark.long),
    ],
)
def test_axe_finds_nothing(browser: Browser, request: pytest.FixtureRequest, width: int, dark: bool, kind: str) -> None:
    program = find_axe()
    if program is None:
        pytest.skip("axe-core is not here: npm install --prefix .build/axe axe-core, or VDISK_AXE=…/axe.min.js")
    browser.look(width=width, dark=dark)
    browser.open(request.getfixturevalue(kind))
    browser.evaluate("Array.from(document.querySelectorAll('details')).slice(0, 12).forEach(d => { d.open = true; })")
    assert violations(browser, program) == []


@pytest.mark.parametrize("kind", ["page", "large"])
def test_without_a_script_the_page_is_whole(browser: Browser, request: pytest.FixtureRequest, kind: str) -> None:
    browser.look(width=1280)
    browser.call("Emulation.setScriptExecutionDisabled", value=True)
    try:
        browser.open(request.getfixturevalue(kind))
        assert texts(browser, "button") == []
        assert browser.evaluate("getComputedStyle(document.querySelector('.filter')).display") == "none"
        browser.evaluate("document.querySelector('.disk').open = true")
        assert browser.evaluate("document.querySelector('.disk .layers').getBoundingClientRect().height") > 20
    finally:
        browser.call("Emulation.setScriptExecutionDisabled", value=False)
