# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Editing XML as text."""

from __future__ import annotations

from typing import Callable, List

import pytest

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.xml_edit import Editor, Node, escape
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.xml_input import etree, parse_xml
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import Unsupported

PATH = "/disk.hdd/DiskDescriptor.xml"
ORDER = ("b", "c", "d")


def edited(text: str, edit: Callable[[Editor, etree._Element], None], encoding: str = "utf-8") -> str:
    document = parse_xml(text.encode(encoding), path=PATH)
    editor = Editor(document, path=PATH)
    edit(editor, document.root)
    return editor.to_bytes().decode(encoding)


def test_without_edits_the_text_is_the_same() -> None:
    text = "\ufeff<?xml version='1.0'?>\r\n<a  x='1'\t>\r\n<b></b><c/>&#65;<![CDATA[<]]></a >\r\n\r\n"
    assert edited(text, lambda editor, root: None) == text


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a><b>1</b></a>", "<a><b>2&lt;</b></a>"),
        ("<a><b></b></a>", "<a><b>2&lt;</b></a>"),
        ("<a><b x='1' /></a>", "<a><b x='1'>2&lt;</b></a>"),
        ("<a><b>1<!-- why --></b></a>", "<a><b>2&lt;<!-- why --></b></a>"),
        ("<a><b>1<!-- why\n    not --></b></a>", "<a><b>2&lt;<!-- why\n    not --></b></a>"),
        ("<a><b><?of\n mine?>1</b></a>", "<a><b>2&lt;<?of\n mine?></b></a>"),
        ("<a><b>&#49;</b><c>&#49;</c></a>", "<a><b>2&lt;</b><c>&#49;</c></a>"),
    ],
)
def test_text_is_replaced_and_nothing_else(text: str, expected: str) -> None:
    assert edited(text, lambda editor, root: editor.set_text(root[0], "2<")) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<a>\n  <b/>\n  <d/>\n</a>", "<a>\n  <b/>\n  <c>1</c>\n  <d/>\n</a>"),
        ("<a>\r\n\t<d/>\r\n</a>", "<a>\r\n\t<c>1</c>\r\n\t<d/>\r\n</a>"),
        ("<a><b/><d/></a>", "<a><b/><c>1</c><d/></a>"),
        ("<a>\n  <b/>\n\n  <!-- d -->\n  <d/>\n</a>", "<a>\n  <b/>\n  <c>1</c>\n\n  <!-- d -->\n  <d/>\n</a>"),
        ("<a/>", "<a><c>1</c></a>"),
        ("<a></a>", "<a><c>1</c></a>"),
    ],
)
def test_a_new_child_is_laid_out_like_its_siblings_and_in_order(text: str, expected: str) -> None:
    assert edited(text, lambda editor, root: editor.set_child(root, "c", "1", order=ORDER)) == expected


@pytest.mark.parametrize("inner", ["<b/>", "<b></b>", "<b>\n  </b>"])
def test_the_first_children_of_an_element_are_indented_below_it(inner: str) -> None:
    new = Node("c", (Node("d", "1"), Node("e", None)))

    def edit(editor: Editor, root: etree._Element) -> None:
        editor.insert(root[0], new)
        editor.set_child(root[0], "d", "2", order=ORDER)

    expected = "<a>\n  <b>\n    <c>\n      <d>1</d>\n      <e/>\n    </c>\n    <d>2</d>\n  </b>\n</a>"
    assert edited(f"<a>\n  {inner}\n</a>", edit) == expected


def test_a_removed_child_takes_its_line_along() -> None:
    assert (
        edited(
            "<a>\n  <b/>\n  <c>1</c>\n  <d/>\n</a>", lambda editor, root: editor.set_child(root, "c", None, order=ORDER)
        )
        == "<a>\n  <b/>\n  <d/>\n</a>"
    )
    assert edited("<a>x<c>1</c>y</a>", lambda editor, root: editor.remove(root[0])) == "<a>xy</a>"


def arranged(text: str, wanted: List[object]) -> str:
    """Turn the children ``b`` of the root into ``wanted``: numbers stand for existing ones, text for a new one."""

    def edit(editor: Editor, root: etree._Element) -> None:
        existing = root.findall("b")
        for element in existing:
            editor.set_text(element, (element.text or "") + "!")
        items = [existing[item] if isinstance(item, int) else Node("b", item) for item in wanted]
        editor.arrange(root, existing, items, after=None)

    return edited(text, edit)


@pytest.mark.parametrize("gap", ["", "\n  "])
@pytest.mark.parametrize(
    "wanted",
    [[0, 1, 2], ["n", 0, 1, 2], [0, "n", "m", 1, 2], [0, 1, 2, "n"], [2, 1, 0], [1, 2, 0], ["n", 2, "m", 0, "o", 1]],
)
def test_children_are_arranged_as_wanted_with_the_edits_made_in_them(wanted: List[object], gap: str) -> None:
    result = arranged(f"<a>{gap}<x/>{gap}<!-- c -->{gap}<b>0</b>{gap}<b>1</b>{gap}<b>2</b>{gap}<y/></a>", wanted)
    root = parse_xml(result.encode(), path=PATH).root
    assert [element.text for element in root.findall("b")] == [
        f"{item}!" if isinstance(item, int) else item for item in wanted
    ]
    assert result.startswith(f"<a>{gap}<x/>{gap}<!-- c -->{gap}<b>")
    assert result.endswith(f"</b>{gap}<y/></a>")


@pytest.mark.parametrize("wanted", [["n"], ["n", "m"]])
def test_children_can_all_be_replaced(wanted: List[object]) -> None:
    def edit(editor: Editor, root: etree._Element) -> None:
        editor.arrange(root, root.findall("b"), [Node("b", str(item)) for item in wanted], after=None)

    expected = "".join(f"\n  <b>{item}</b>" for item in wanted)
    assert (
        edited("<a>\n  <x/>\n  <b>0</b>\n  <!-- c -->\n  <b>1</b>\n</a>", edit)
        == f"<a>\n  <x/>{expected}\n  <!-- c -->\n</a>"
    )


def test_text_that_the_encoding_lacks_becomes_a_reference() -> None:
    text = "<?xml version='1.0' encoding='iso-8859-1'?><a><b>é</b></a>"
    result = edited(text, lambda editor, root: editor.set_text(root[0], "é世"), "iso-8859-1")
    assert result == text.replace("é", "é&#19990;")


def test_only_what_xml_can_carry_is_written() -> None:
    assert escape("a<b>&\r\n\"'", path=PATH) == "a&lt;b&gt;&amp;&#13;\n\"'"
    for bad in ("\0", "\x08", "\x0b", "\x0c", "\x0e", "\x1b", "\x1f", "\ud800", "\udfff", "\ufffe", "\uffff"):
        with pytest.raises(Unsupported):
            escape(f"a{bad}", path=PATH)
    good = "\t\n \x7f\x85\ud7ff\ue000\ufffd\U00010000\U0010ffff"
    assert escape(good, path=PATH) == good
