# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The few lines of script behind the filter box and the heads of the tables, and what the page may do at all.

Style and script are known by their digest, so that nothing else runs. Without them the page is whole, too.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import base64
import hashlib

from .look import STYLE

SCRIPT = """
"use strict";
(function () {
  function all(selector, within) {
    return Array.prototype.slice.call((within || document).querySelectorAll(selector));
  }
  // A click on the head of a column sorts by it, a second one the other way round.
  function sortable(table) {
    var body = table.tBodies[0];
    function key(row, column) {
      var cell = row.cells[column], value = cell.getAttribute("data-v");
      return value === null ? cell.textContent.trim().toLowerCase() : Number(value);
    }
    all("thead th", table).forEach(function (head) {
      var button = document.createElement("button"), column = head.cellIndex;
      button.type = "button";
      button.textContent = head.textContent;
      head.textContent = "";
      head.appendChild(button);
      button.addEventListener("click", function () {
        var rows = all("tr", body), isNumber = typeof key(rows[0], column) === "number";
        var was = head.getAttribute("aria-sort"), down = was ? was === "ascending" : isNumber;
        var numbered = rows.map(function (row, index) { return [key(row, column), index, row]; });
        numbered.sort(function (one, other) {
          var order = isNumber ? one[0] - other[0] : one[0].localeCompare(other[0], undefined, {numeric: true});
          return (down ? -order : order) || one[1] - other[1];
        });
        numbered.forEach(function (one) { body.appendChild(one[2]); });
        all("th[aria-sort]", table).forEach(function (other) { other.removeAttribute("aria-sort"); });
        head.setAttribute("aria-sort", down ? "descending" : "ascending");
      });
    });
  }
  all("table").forEach(function (table) { if (table.tBodies[0].rows.length) { sortable(table); } });
  // A link to a disk unfolds it.
  function unfold() {
    var fold = document.getElementById(location.hash.slice(1));
    if (fold && fold.tagName === "DETAILS") { fold.open = true; fold.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  document.addEventListener("click", function (event) {
    var link = event.target.closest && event.target.closest("a");
    if (link && link.hash && link.hash === location.hash) { unfold(); }
  });
  unfold();
  // The box filters all of the page, what is folded as well; the few that are left unfold.
  var box = document.getElementById("filter"), told = document.getElementById("shown");
  if (!box) { return; }
  var disks = all(".disk"), rows = {}, hosts = all(".all-hosts tbody tr"), groups = all(".findings.card > li");
  var texts = null, opened = [], few = 3;
  all("tr[data-disk]").forEach(function (row) { rows[row.getAttribute("data-disk")] = row; });
  function text(element) { return element.textContent.toLowerCase(); }
  function apply() {
    var words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), shown = [], names = {};
    function fits(content) { return words.every(function (word) { return content.indexOf(word) >= 0; }); }
    opened.forEach(function (fold) { fold.open = false; });
    opened = [];
    function open(fold) { if (!fold.open) { fold.open = true; opened.push(fold); } }
    texts = texts || disks.map(function (disk) { return text(disk) + " " + text(rows[disk.id]); });
    disks.forEach(function (disk, index) {
      var isShown = fits(texts[index]), row = rows[disk.id];
      disk.hidden = row.hidden = !isShown;
      if (isShown) { shown.push(disk); names[text(row.cells[1])] = true; }
    });
    if (words.length && shown.length <= few) { shown.forEach(open); }
    hosts.forEach(function (row) { row.hidden = !fits(text(row)) && !names[text(row.cells[0].firstChild)]; });
    groups.forEach(function (group) {
      var head = text(group.querySelector("summary")), left = 0;
      all("ul > li", group).forEach(function (item) {
        var link = item.querySelector("a"), disk = link && document.getElementById(link.hash.slice(1));
        item.hidden = !fits(head + " " + text(item)) && !(disk && words.length && !disk.hidden);
        left += item.hidden ? 0 : 1;
      });
      group.hidden = !left;
      if (words.length && left && shown.length <= few) { open(group.querySelector("details")); }
    });
    told.textContent = words.length ? shown.length + " of " + disks.length + " disks" : "";
  }
  box.addEventListener("input", apply);
  box.parentNode.hidden = false;
  if (box.value) { apply(); }
}());
"""


def policy() -> str:
    """What the page may do: show itself, with this style and this script, and reach for nothing."""
    return (
        f"default-src 'none'; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}; img-src data:; "
        f"base-uri 'none'; form-action 'none'"
    )


def _digest(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"
