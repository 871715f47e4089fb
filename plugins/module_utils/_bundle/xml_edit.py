# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Editing an XML document as text: what is not changed keeps its bytes.

Edits are collected as ranges of the text with their replacements and carried out at once. Writing the parsed tree back
instead would lose empty-element spelling, quotes, line breaks and character references, which belong to whoever wrote
the document.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import Dict, List, NamedTuple, Optional, Sequence, Tuple, Union

from .._core.errors import Damaged, Unsupported
from .xml_input import Document, etree, local_elements, spans

_BLANK = " \t\r\n"
# All but the production Char of XML 1.0. To name what it allows takes the compiler of patterns 4 ms at each start.
_FORBIDDEN = "[\0-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]"
_COMMENT = r"<!--.*?-->|<\?.*?\?>"


class Node(NamedTuple):
    """A new element: its text, or the elements in it. None makes an empty-element tag."""

    tag: str
    content: Union[None, str, Sequence[Node]]


def escape(text: str, *, path: str) -> str:
    """``text`` as element content. Raises Unsupported for characters that XML cannot carry."""
    bad = re.search(_FORBIDDEN, text)
    if bad is not None:
        raise Unsupported(
            "A name holds a character that XML cannot carry",
            path=path,
            found=ascii(bad.group()),
            hint="Choose a name without it.",
        )
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;").replace("\r", "&#13;")


def render(node: Node, *, lead: str, unit: str, path: str) -> str:
    """``node`` as text, without the white space before it.

    ``lead`` is the line break and indentation of its line, empty for one long line.
    """
    if node.content is None:
        return f"<{node.tag}/>"
    if isinstance(node.content, str):
        return f"<{node.tag}>{escape(node.content, path=path)}</{node.tag}>"
    inner = lead + unit if lead else ""
    content = "".join(inner + render(child, lead=inner, unit=unit, path=path) for child in node.content)
    return f"<{node.tag}>{content}{lead}</{node.tag}>"


class Editor:
    """Collects the edits of one document; ``to_bytes`` carries them out. Elements are those of the parsed tree."""

    def __init__(self, document: Document, *, path: str) -> None:
        self._text = document.text
        self._encoding = document.encoding
        self.path = path
        elements = list(local_elements(document.root))
        places = spans(document.text)
        if len(elements) != len(places) or any(
            etree.QName(e).localname != p.name.rpartition(":")[2] for e, p in zip(elements, places)
        ):
            raise Damaged("The document cannot be edited: its elements were not found again in its text", path=path)
        self._spans = dict(zip(elements, places))
        self._edits: List[Tuple[int, int, str]] = []
        self._fillings: Dict[etree._Element, List[str]] = {}
        self._unit = self._find_unit(document.root)

    def _find_unit(self, root: etree._Element) -> str:
        for child in root.iterchildren(tag=etree.Element):
            return self._lead(child).strip("\r\n")
        return ""

    def _gap(self, position: int) -> int:
        """Where the white space before ``position`` begins."""
        while position and self._text[position - 1] in _BLANK:
            position -= 1
        return position

    def _lead(self, element: etree._Element) -> str:
        """Line break and indentation before ``element``; empty when it does not begin a line."""
        start = self._spans[element].start
        gap = self._text[self._gap(start) : start]
        newline = gap.rfind("\n")
        if newline < 0:
            return ""
        return gap[newline - 1 if gap[newline - 1 : newline] == "\r" else newline :]

    def _inner_lead(self, parent: etree._Element) -> str:
        for child in parent.iterchildren(tag=etree.Element):
            return self._lead(child)
        lead = self._lead(parent)
        return lead + self._unit if lead else ""

    def set_text(self, element: etree._Element, value: str) -> None:
        """Give a leaf another text. Comments in it stay."""
        span = self._spans[element]
        value = escape(value, path=self.path)
        if span.inner == span.end:
            tag = self._text[span.start : span.end - 2].rstrip(_BLANK)
            self._edits.append((span.start, span.end, f"{tag}>{value}</{span.name}>"))
            return
        kept = "".join(re.findall(_COMMENT, self._text[span.inner : span.close], re.DOTALL))
        self._edits.append((span.inner, span.close, value + kept))

    def remove(self, element: etree._Element) -> None:
        """Remove an element and the white space before it."""
        span = self._spans[element]
        self._edits.append((self._gap(span.start), span.end, ""))

    def insert(self, parent: etree._Element, new: Node, *, after: Optional[etree._Element] = None) -> None:
        """Put a new element into ``parent``, after its child ``after``, else before all that was there."""
        text = self._rendered(new, self._inner_lead(parent))
        if after is not None:
            self._insert_at(self._spans[after].end, text)
        elif next(parent.iterchildren(tag=etree.Element), None) is None:
            self._fillings.setdefault(parent, []).append(text)
        else:
            self._insert_at(self._spans[parent].inner, text)

    def _rendered(self, new: Node, lead: str) -> str:
        return lead + render(new, lead=lead, unit=self._unit, path=self.path)

    def _insert_at(self, position: int, text: str) -> None:
        self._edits.append((position, position, text))

    def set_child(self, parent: etree._Element, tag: str, value: Optional[str], *, order: Sequence[str]) -> None:
        """Give the child ``tag`` this text; None removes it. A new one goes where ``order`` puts it."""
        child = parent.find(tag)
        if child is None and value is not None:
            self.insert(parent, Node(tag, value), after=last_before(parent, tag, order))
        elif child is not None and value is None:
            self.remove(child)
        elif child is not None and value is not None:
            self.set_text(child, value)

    def arrange(
        self,
        parent: etree._Element,
        existing: Sequence[etree._Element],
        wanted: Sequence[Union[etree._Element, Node]],
        *,
        after: Optional[etree._Element],
    ) -> None:
        """Turn the children ``existing`` into ``wanted``, in that order. What can stay where it is in one pass stays.

        Edits within an element come first. Without existing ones, the new ones go after the child ``after``.
        """
        kept = {item for item in wanted if not isinstance(item, Node)}
        for element in existing:
            if element not in kept:
                self.remove(element)
        if not existing:
            for item in wanted:
                if isinstance(item, Node):
                    self.insert(parent, item, after=after)
            return
        self._place(existing, wanted)

    def _place(self, existing: Sequence[etree._Element], wanted: Sequence[Union[etree._Element, Node]]) -> None:
        rank = {element: number for number, element in enumerate(existing)}
        lead = self._lead(existing[0])
        # Insertions at one place keep the order of the calls, so ``position`` moves only past what stays.
        position, last = self._gap(self._spans[existing[0]].start), -1
        for item in wanted:
            if isinstance(item, Node):
                self._insert_at(position, self._rendered(item, lead))
            elif rank[item] > last:
                position, last = self._spans[item].end, rank[item]
            else:
                self._insert_at(position, lead + self._take(item))

    def _take(self, element: etree._Element) -> str:
        """Remove ``element`` and give its text with the edits made within it."""
        span = self._spans[element]
        inside = [edit for edit in self._edits if span.start < edit[0] and edit[1] < span.end]
        self._edits = [edit for edit in self._edits if not (span.start < edit[0] and edit[1] < span.end)]
        self.remove(element)
        return _carried_out(self._text, inside, span.start, span.end)

    def to_bytes(self) -> bytes:
        """The document with all edits, in its own encoding."""
        edits = self._edits + [self._filled(parent, texts) for parent, texts in self._fillings.items()]
        return _carried_out(self._text, edits, 0, len(self._text)).encode(self._encoding, "xmlcharrefreplace")

    def _filled(self, parent: etree._Element, texts: List[str]) -> Tuple[int, int, str]:
        """The edit that gives ``parent``, which has no child elements, its first ones."""
        span = self._spans[parent]
        content = "".join(texts) + self._lead(parent)
        if span.inner == span.end:
            tag = self._text[span.start : span.end - 2].rstrip(_BLANK)
            return span.start, span.end, f"{tag}>{content}</{span.name}>"
        blank = not self._text[span.inner : span.close].strip(_BLANK)
        return span.inner, span.close if blank else span.inner, content


def last_before(parent: etree._Element, tag: str, order: Sequence[str]) -> Optional[etree._Element]:
    """The last child of ``parent`` that belongs before ``tag``."""
    earlier = order[: order.index(tag)]
    found = [child for child in parent.iterchildren(tag=etree.Element) if child.tag in earlier]
    return found[-1] if found else None


def _carried_out(text: str, edits: Sequence[Tuple[int, int, str]], start: int, end: int) -> str:
    """``text[start:end]`` with ``edits``, which do not overlap. Insertions at one place keep their order."""
    parts = []
    position = start
    for first, last, replacement in sorted(edits, key=lambda edit: (edit[0], edit[1])):
        parts += [text[position:first], replacement]
        position = last
    parts.append(text[position:end])
    return "".join(parts)
