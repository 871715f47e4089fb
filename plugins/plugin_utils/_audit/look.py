# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The look of the page: light, dark, on paper, and on a telephone."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

STYLE = """
:root{color-scheme:light dark;--page:#f4f5f8;--card:#fff;--ink:#1b2230;--soft:#566074;--line:#dde1e9;--track:#e9ecf2;
--used:#3b6fd4;--merge:#8a56d8;
--zero:#0f9488;--leaked:#c77700;--equal:#b8468b;--filesystem:#5f7f1f;--good:#186e3b;--bad:#b3202a;--warn:#8a5100;
--badbg:#fdeceb;--warnbg:#fdf3e1;--goodbg:#e6f5ec;--chip:#edf0f5}
@media (prefers-color-scheme:dark){:root{--page:#12151b;--card:#1b2029;--ink:#e6e9ef;--soft:#9aa5b8;--line:#2e3643;
--track:#2a313d;--used:#6c9bf5;
--merge:#b48cf2;--zero:#3cc4b5;--leaked:#eaa23b;--equal:#e585bd;--filesystem:#a9c75f;--good:#63cf8f;--bad:#ff8a85;
--warn:#f0b350;--badbg:#3a2022;--warnbg:#372b17;--goodbg:#183226;--chip:#2a313d}}
*{box-sizing:border-box}
html{-webkit-text-size-adjust:100%;scroll-padding-top:1rem}
body{margin:0;background:var(--page);color:var(--ink);
font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Helvetica Neue",Arial,sans-serif}
main,header,nav,footer{max-width:1240px;margin:0 auto;padding:0 16px}
header{padding-top:24px}
footer{padding-bottom:40px;color:var(--soft);font-size:.87rem}
h1{font-size:1.65rem;line-height:1.2;margin:0 0 4px;letter-spacing:-.01em;overflow-wrap:anywhere}
h2{font-size:1.15rem;margin:28px 0 10px}
h3{display:inline;font-size:1.05rem;margin:0;overflow-wrap:anywhere}
h4{font-size:.8rem;font-weight:600;margin:18px 0 6px;color:var(--soft)}
p{margin:6px 0;overflow-wrap:anywhere}
a{color:inherit;text-decoration-color:var(--soft);text-underline-offset:2px}
a:focus-visible,input:focus-visible,button:focus-visible,summary:focus-visible,.scroll:focus-visible{
outline:2px solid var(--used);outline-offset:2px}
code,.path{font-family:ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;font-size:.85em;
overflow-wrap:anywhere}
nav ul{list-style:none;display:flex;flex-wrap:wrap;gap:4px 18px;margin:0;padding:0;font-size:.87rem}
nav a{display:inline-block;padding:3px 0}
.soft,.disk .path,tbody th .path{color:var(--soft)}
.small{font-size:.87rem}
.card{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:16px 18px}
.tiles{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:10px;margin:14px 0 10px}
.tiles>div{background:var(--card);border:1px solid var(--line);border-radius:12px;padding:10px 14px;display:flex;
flex-direction:column}
.tiles dt{color:var(--soft);font-size:.82rem}
.tiles dd{margin:0;font-size:1.5rem;font-weight:650;letter-spacing:-.02em;line-height:1.25}
.tiles dd+dd{font-size:.82rem;font-weight:400;color:var(--soft);letter-spacing:0;line-height:1.4}
.tiles .hero{border-color:var(--merge)}
.hero dd:first-of-type{color:var(--merge)}
figure{margin:0}
svg{display:block;overflow:hidden}
.bar rect{height:100%}
.bar{width:100%;height:14px;border-radius:7px;background:var(--track)}
td .bar{height:8px;border-radius:4px;min-width:60px;margin-top:8px}
.part-used{fill:var(--used)}.part-merge{fill:var(--merge)}.part-zero{fill:var(--zero)}.part-leaked{fill:var(--leaked)}
.part-equal{fill:var(--equal)}.part-filesystem{fill:var(--filesystem)}.part-other{fill:var(--soft)}
.legend{list-style:none;display:flex;flex-wrap:wrap;gap:4px 22px;margin:10px 0 0;padding:0;font-size:.87rem}
.legend svg{display:inline-block;vertical-align:-1px;margin-right:7px;border-radius:3px}
.legend b,td,.stats dd{font-variant-numeric:tabular-nums}
.scroll{overflow-x:auto;padding:4px 18px}
table{border-collapse:collapse;width:100%;font-size:.9rem}
thead>tr>*{text-align:left;font-weight:600;color:var(--soft);font-size:.8rem}
th,td{padding:8px 12px 8px 0;border-bottom:1px solid var(--line);vertical-align:top;text-align:left}
tbody tr:last-child>*{border-bottom:0}
tbody th{color:var(--ink);font-weight:600;overflow-wrap:anywhere}
tbody th .path{display:block;font-weight:400}
.all-disks tbody th{width:36%}
.all-disks td:nth-child(2){width:17%;overflow-wrap:anywhere}
.all-disks tr>:is(:nth-child(3),:nth-child(4),:nth-child(5)),.all-hosts tr>:not(:first-child){
text-align:right;white-space:nowrap}
button{font:inherit;font-weight:600;color:inherit;background:none;border:0;padding:0;cursor:pointer}
button::after{content:"\\2195";opacity:.55;padding-left:4px}
[aria-sort] button{color:var(--ink)}
[aria-sort=ascending] button::after{content:"\\2191";opacity:1}
[aria-sort=descending] button::after{content:"\\2193";opacity:1}
.findings{list-style:none;margin:0;padding:0}
.findings.card{padding:2px 18px}
.findings>li{padding:7px 0;border-bottom:1px solid var(--line);display:grid;grid-template-columns:5.5em 1fr;
gap:2px 12px;align-items:start}
.findings>li:last-child{border-bottom:0}
.findings>li>:last-child{min-width:0}
.findings .chip{justify-self:start}
.chip,em{display:inline-block;background:var(--chip);border-radius:999px;padding:1px 10px;font-size:.8rem;
font-style:normal;white-space:nowrap;font-weight:500;max-width:100%;overflow:hidden;text-overflow:ellipsis;
vertical-align:bottom}
.error{background:var(--badbg);color:var(--bad)}.warning{background:var(--warnbg);color:var(--warn)}
.good{background:var(--goodbg);color:var(--good)}
summary{cursor:pointer}
.disk{margin:0 0 10px}
.disk>summary .path{display:block}
.gain{float:right;margin-left:16px}
.gain b{color:var(--merge);font-weight:650}
.stats{display:flex;flex-wrap:wrap;gap:8px 30px;margin:14px 0 0}
.stats dt{color:var(--soft);font-size:.8rem}
.stats dd{margin:0;font-weight:600}
.layers{list-style:none;margin:0;padding:0}
.layers li,.axis{display:grid;grid-template-columns:auto minmax(0,1fr) 5.5em auto;grid-template-rows:30px;
column-gap:10px;align-items:center}
.layers p{margin:0;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.layers bdi{font-weight:550}
.layers small{color:var(--soft)}
.layers li>span{text-align:right;font-size:.87rem;white-space:nowrap;font-variant-numeric:tabular-nums}
.layers li>svg:last-child{width:600px;height:16px;background:var(--track);border-radius:3px}
.layers li>svg:last-child path{fill:var(--used);transform:scale(5,2)}
.lanes{height:100%;grid-row:1/-1}
.lanes path{fill:none;stroke:var(--soft);stroke-width:1.5}
circle{fill:var(--card);stroke:var(--soft);stroke-width:2}
circle.now{fill:var(--used);stroke:var(--used)}
.chain li{position:relative;padding-left:28px;grid-template-columns:minmax(0,1fr) 5.5em auto}
.chain li::before{content:"";position:absolute;left:8px;top:0;bottom:0;border-left:1.5px solid var(--soft)}
.chain li:first-child::before{top:15px}
.chain li:last-child::before{bottom:auto;height:15px}
.chain li::after{content:"";position:absolute;left:3px;top:9px;width:12px;height:12px;border-radius:50%;
background:var(--card);border:2px solid var(--soft)}
.chain li:last-child::after{background:var(--used);border-color:var(--used)}
.axis{grid-template-rows:auto}
.axis .lanes{height:1px}
.axis div{grid-column:4;width:600px;display:flex;justify-content:space-between;font-size:.75rem;color:var(--soft)}
.filter{display:flex;flex-wrap:wrap;gap:6px 14px;align-items:center;margin:0 0 10px}
[hidden]{display:none!important}
input{font:inherit;color:inherit;background:var(--card);border:1px solid var(--soft);border-radius:8px;
padding:6px 10px;width:340px;max-width:100%}
::placeholder{color:var(--soft);opacity:1}
ul.plain{margin:6px 0;padding-left:18px}
.plain li{overflow-wrap:anywhere}
@media (max-width:1100px){
.layers li>svg:last-child,.axis div{width:360px}.layers li>svg:last-child path{transform:scale(3,2)}
}
@media (max-width:760px){
.all-disks tr>:is(:nth-child(2),:nth-child(3),:nth-child(4),:nth-child(6),:nth-child(7)),
.all-hosts tr>:nth-child(3){display:none}
.all-disks tbody th{width:auto}
.tiles{grid-template-columns:1fr 1fr;gap:6px}.tiles .hero{grid-column:1/-1}.tiles dd{font-size:1.2rem}
.tiles>div{padding:6px 12px}
.card{padding:12px 14px}
.scroll,.findings.card{padding:2px 14px}
th,td{padding-right:8px}
th:last-child,td:last-child{padding-right:0}
.layers li,.chain li{grid-template-columns:minmax(0,1fr) auto;grid-template-rows:30px 20px}
.layers:not(.chain) li{grid-template-columns:auto minmax(0,1fr) auto}
.layers li>svg:last-child{grid-column:1/-1;width:240px;align-self:start}
.layers:not(.chain) li>svg:last-child{grid-column:2/-1}
.layers li>svg:last-child path{transform:scale(2)}
.axis{display:none}
.gain{float:none;margin:0;display:block}
.findings>li{grid-template-columns:1fr}
}
@media print{
:root{color-scheme:light;--page:#fff;--card:#fff;--ink:#000;--soft:#444;--line:#bbb;--track:#e6e6e6;--used:#2b5cc0;
--merge:#7440c4;--zero:#0b7f75;--leaked:#a86400;--equal:#9b3573;--filesystem:#4c6619;
--good:#14602f;--bad:#a01218;--warn:#7a4700;--badbg:#fff;--warnbg:#fff;--goodbg:#fff;--chip:#fff}
*{-webkit-print-color-adjust:exact;print-color-adjust:exact}
body{font-size:9.5pt}
.filter,nav,section:has(>.disk):not(:has(>[open])),.disk:not([open]),button::after{display:none}
.scroll{overflow:visible}
table{font-size:8pt;line-height:1.3}
th,td{padding:3px 8px 3px 0}
.all-disks tr>:nth-child(6){display:none}
.disk,tr,.layers li,.findings>li{break-inside:avoid}
.disk[open]{break-inside:auto}
.tiles{grid-template-columns:repeat(4,1fr)}.tiles dd{font-size:1.1rem}
.layers li>svg:last-child,.axis div{width:240px}.layers li>svg:last-child path{transform:scale(2)}
.card,.tiles>div{border-color:#bbb}
.chip,em{border:1px solid #bbb}
h2,h3{break-after:avoid}
a{text-decoration:none}
}
"""
