# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look of the page, and the few lines of script behind its filter box.

Both are known by their digest, so that nothing else runs.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import base64
import hashlib

STYLE = """
:root{color-scheme:light dark;--page:#f4f5f8;--card:#fff;--ink:#1b2230;--soft:#566074;--line:#dde1e9;--track:#e9ecf2;
--used:#3b6fd4;--merge:#8a56d8;
--zero:#0f9488;--leaked:#c77700;--equal:#b8468b;--filesystem:#5f7f1f;--good:#1d7f45;--bad:#c0262d;--warn:#9a5b00;
--badbg:#fdeceb;--warnbg:#fdf3e1;--goodbg:#e6f5ec;--chip:#edf0f5}
@media (prefers-color-scheme:dark){:root{--page:#12151b;--card:#1b2029;--ink:#e6e9ef;--soft:#9aa5b8;--line:#2e3643;
--track:#2a313d;--used:#6c9bf5;
--merge:#b48cf2;--zero:#3cc4b5;--leaked:#eaa23b;--equal:#e585bd;--filesystem:#a9c75f;--good:#63cf8f;--bad:#ff8a85;
--warn:#f0b350;--badbg:#3a2022;--warnbg:#372b17;--goodbg:#183226;--chip:#2a313d}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,footer{max-width:1240px;margin:0 auto;padding:0 16px}
header{padding-top:28px}
footer{padding-top:8px;padding-bottom:40px;color:var(--soft);font-size:.87rem}
h1{font-size:1.65rem;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em}
h2{font-size:1.15rem;margin:36px 0 12px}
h3{font-size:1.05rem;margin:0;overflow-wrap:anywhere}
h4{font-size:.8rem;font-weight:600;margin:18px 0 6px;color:var(--soft)}
p{margin:6px 0}
a{color:inherit;text-decoration-color:var(--soft);text-underline-offset:2px}
a:focus-visible,input:focus-visible,.scroll:focus-visible{outline:2px solid var(--used);outline-offset:2px}
code,.path{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.85em;
overflow-wrap:anywhere}
.soft{color:var(--soft)}
.small{font-size:.87rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:18px 0 10px}
.tiles>div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:12px 14px;display:flex;
flex-direction:column}
.tiles dt{color:var(--soft);font-size:.82rem}
.tiles dd{margin:0;font-size:1.5rem;font-weight:650;letter-spacing:-.02em;line-height:1.25}
.tiles dd+dd{font-size:.82rem;font-weight:400;color:var(--soft);letter-spacing:0;line-height:1.4}
.tiles .hero{border-color:var(--merge)}
.tiles .hero dd:first-of-type{color:var(--merge)}
figure{margin:0}
svg{display:block;overflow:visible}
.bar{width:100%;height:14px;overflow:hidden;border-radius:7px}
td .bar,.gain .bar{height:8px;border-radius:4px;min-width:60px}
.track{fill:var(--track)}
.part-used{fill:var(--used)}.part-merge{fill:var(--merge)}.part-zero{fill:var(--zero)}.part-leaked{fill:var(--leaked)}
.part-equal{fill:var(--equal)}.part-filesystem{fill:var(--filesystem)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 22px;margin:10px 0 0;padding:0;font-size:.87rem}
.legend svg{display:inline-block;vertical-align:-1px;margin-right:7px;border-radius:3px;overflow:hidden}
.legend b{font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto}
table{border-collapse:collapse;width:100%;font-size:.9rem}
th{text-align:left;font-weight:600;color:var(--soft);font-size:.8rem}
th,td{padding:9px 12px 9px 0;border-bottom:1px solid var(--line);vertical-align:top}
tbody tr:last-child>*{border-bottom:0}
tbody th{width:46%;color:var(--ink);font-size:.95rem;font-weight:600;overflow-wrap:anywhere}
tbody th .path{display:block;font-weight:400;color:var(--soft)}
.num{text-align:right;white-space:nowrap;font-variant-numeric:tabular-nums}
.findings{list-style:none;margin:0;padding:0}
.findings.card{padding:4px 18px}
.findings li{padding:9px 0;border-bottom:1px solid var(--line);display:grid;grid-template-columns:7.5em 1fr;
gap:2px 12px}
.findings li:last-child{border-bottom:0}
.findings code{color:var(--soft)}
.chips{display:flex;flex-wrap:wrap;gap:6px;margin:10px 0 0;padding:0;list-style:none}
.chips .chip{margin:0}
td .chips{margin:0}
.chip{display:inline-block;background:var(--chip);border-radius:999px;padding:1px 10px;font-size:.8rem;
white-space:nowrap;font-weight:500}
.error{background:var(--badbg);color:var(--bad)}.warning{background:var(--warnbg);color:var(--warn)}
.good{background:var(--goodbg);color:var(--good)}
.disk{margin:0 0 14px}
.disk header{padding:0;margin:0;max-width:none;display:flex;flex-wrap:wrap;justify-content:space-between;gap:4px 20px}
.disk header .path{color:var(--soft);margin:0}
.gain{text-align:right;min-width:170px}
.gain b{font-size:1.2rem;color:var(--merge);font-weight:650}
.stats{display:flex;flex-wrap:wrap;gap:8px 30px;margin:14px 0 0}
.stats dt{color:var(--soft);font-size:.8rem}
.stats dd{margin:0;font-weight:600;font-variant-numeric:tabular-nums}
.layers{list-style:none;margin:0;padding:0}
.layers li{display:grid;grid-template-columns:auto minmax(150px,260px) 6.2em 1fr;grid-template-rows:30px;
column-gap:12px;align-items:center}
.layers li>span{min-width:0}
.name{display:flex;gap:6px;align-items:center}
.name bdi{overflow:hidden;text-overflow:ellipsis;white-space:nowrap;font-weight:550}
.name code,.name .chip{flex:none}
.name code{font-weight:400;white-space:nowrap}
.lanes{height:100%}
.lanes line{stroke:var(--soft);stroke-width:1.5}
.node{fill:var(--card);stroke:var(--soft);stroke-width:2}
.node.current{fill:var(--used);stroke:var(--used)}
.strip{width:100%;height:16px;background:var(--track);border-radius:3px;overflow:hidden}
.strip path{fill:var(--used)}
.l1{fill-opacity:.3}.l2{fill-opacity:.52}.l3{fill-opacity:.76}
.axis{display:flex;justify-content:space-between;font-size:.75rem;color:var(--soft);font-variant-numeric:tabular-nums;
margin-top:2px}
.axisrow{display:grid;grid-template-columns:auto minmax(150px,260px) 6.2em 1fr;column-gap:12px}
.filter{display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center;margin:0 0 12px}
.filter[hidden]{display:none}
input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);border-radius:8px;
padding:6px 10px;width:340px;max-width:100%}
.narrow{display:none}
ul.plain{margin:6px 0;padding-left:18px}
@media (max-width:760px){
.wide{display:none}.narrow{display:block}
.tiles{grid-template-columns:1fr 1fr}.tiles .hero{grid-column:1/-1}.tiles dd{font-size:1.25rem}
.card{padding:14px}
th,td{padding-right:8px}
th:last-child,td:last-child{padding-right:0}
.layers li{grid-template-columns:auto 1fr auto;grid-template-rows:30px 20px}
.lanes{grid-row:1/3}
.layers .map{align-self:start}
.layers .map{grid-column:2/4}
.axisrow{grid-template-columns:auto 1fr}.axisrow span:empty{display:none}
.gain{text-align:left;width:100%}
.findings li{grid-template-columns:1fr}
}
summary{cursor:pointer}
.disk summary{list-style:none}
.disk summary::after{content:"show more";color:var(--soft);font-size:.8rem;text-decoration:underline}
.disk details[open]>summary::after{content:"show less"}
summary:focus-visible{outline:2px solid var(--used);outline-offset:2px}
.disk summary::-webkit-details-marker{display:none}
@media print{
:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--track:#e6e6e6;--used:#2b5cc0;
--merge:#7440c4;--zero:#0b7f75;--leaked:#a86400;--equal:#9b3573;--filesystem:#4c6619;
--good:#14602f;--bad:#a01218;--warn:#7a4700;--badbg:#fff;--warnbg:#fff;--goodbg:#fff;--chip:#fff}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:10pt}
.filter{display:none}
.disk:has(>details:not([open])){display:none}
.disk{break-inside:avoid}
.card,.tiles>div{border-color:#bbb}
.chip{border:1px solid #bbb}
h2,h3{break-after:avoid}
tr,.layers li{break-inside:avoid}
a{text-decoration:none}
.disk summary::after{content:none}
}
"""

SCRIPT = """
"use strict";
(function () {
  var box = document.getElementById("filter"), told = document.getElementById("shown");
  if (!box) { return; }
  var disks = Array.prototype.slice.call(document.querySelectorAll(".disk")), rows = {}, texts = null;
  Array.prototype.forEach.call(document.querySelectorAll("tr[data-disk]"), function (row) {
    rows[row.getAttribute("data-disk")] = row;
  });
  function apply() {
    var words = box.value.toLowerCase().split(/\\s+/).filter(Boolean), shown = 0;
    texts = texts || disks.map(function (disk) { return disk.textContent.toLowerCase(); });
    disks.forEach(function (disk, index) {
      var fits = words.every(function (word) { return texts[index].indexOf(word) >= 0; }), row = rows[disk.id];
      disk.hidden = !fits;
      if (row) { row.hidden = !fits; }
      shown += fits ? 1 : 0;
    });
    told.textContent = words.length ? shown + " of " + disks.length + " disks" : "";
  }
  // A link to a disk unfolds it.
  function unfold() {
    var disk = document.getElementById(location.hash.slice(1)), fold = disk && disk.querySelector("details");
    if (fold) { fold.open = true; disk.scrollIntoView(); }
  }
  window.addEventListener("hashchange", unfold);
  unfold();
  box.addEventListener("input", apply);
  box.parentNode.parentNode.hidden = false;
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
