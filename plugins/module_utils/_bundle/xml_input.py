# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""XML from strangers: read without entities, without network and within limits.

The bytes are decoded here, by the few encodings that Parallels software and XML editors write, and the parser gets
UTF-8 without a declaration. So what is checked, parsed and edited is one and the same text.
"""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Iterator, List, NamedTuple, NoReturn, Optional, Tuple

from .._core.errors import Damaged, MissingLibrary, Unsupported

if TYPE_CHECKING:
    from lxml import etree
else:

    class _Etree:
        """``lxml.etree``, loaded when something of it is wanted: it takes as long as half of a short run."""

        def __getattr__(self, name: str) -> Any:
            from lxml import etree as loaded

            return getattr(loaded, name)

    etree = _Etree()

MAX_DOCUMENT_BYTES = 16 << 20
"""Far above what is written: a descriptor of 128 layers has some 50 KB."""

MAX_MARKUP = 1 << 18
"""Tags, comments and the like. An element costs the parser 250 bytes, so this bounds its memory at some 64 MB."""

MAX_ATTRIBUTES = 1 << 14
"""Equals signs. Old parsers compare each attribute of an element with all others; known documents have one per shot."""

_ENCODINGS = {
    "utf-8": "utf-8",
    "utf8": "utf-8",
    "us-ascii": "ascii",
    "ascii": "ascii",
    "iso-8859-1": "iso-8859-1",
    "latin1": "iso-8859-1",
    "windows-1252": "cp1252",
}
# Patterns are compiled when they are first used: a run needs one or two of them, if any.
_DECLARED = rb"""<\?xml\s[^>]{0,200}?encoding\s*=\s*["']([A-Za-z0-9._-]{1,40})["']"""
_DECLARATION = (
    r"""<\?xml\s+version\s*=\s*["']1\.\d["']"""
    r"""(?:\s+encoding\s*=\s*["'][A-Za-z0-9._-]{1,40}["'])?"""
    r"""(?:\s+standalone\s*=\s*["'](?:yes|no)["'])?\s*\?>"""
)
_INVENTED_FILE = r" \(<string>, line \d+\)$"
_START_TAG = r"""<([^\s/>"'<=]+)(?:[^>"']|"[^"]*"|'[^']*')*>"""


class Document(NamedTuple):
    """A document: its ``text`` with byte order mark and declaration, its codec, and its root element."""

    text: str
    encoding: str
    root: etree._Element


class Span(NamedTuple):
    """Where one element is in the text: its start tag is ``[start, inner)``, its end tag ``[close, end)``.

    ``name`` is written as in the document. An empty-element tag has ``inner == close == end``.
    """

    name: str
    start: int
    inner: int
    close: int
    end: int


def parse_xml(data: bytes, *, path: str) -> Document:
    """The document in ``data``.

    Raises Damaged for what is no well-formed XML or declares a document type, Unsupported beyond the limits,
    MissingLibrary without lxml.
    """
    try:
        import lxml.etree  # noqa: F401  # pylint: disable=unused-import
    except ImportError as error:
        hint = "Install lxml 4.6 or later for the Python that runs the module."
        raise MissingLibrary(
            "The Python library lxml cannot be loaded", path=path, found=str(error), hint=hint
        ) from error
    if len(data) > MAX_DOCUMENT_BYTES:
        most = f"at most {MAX_DOCUMENT_BYTES} bytes"
        raise Unsupported("The document is too large", path=path, expected=most, found=len(data))
    text, encoding = _decode(data, path)
    _check_amount(text, path)
    bare = _without_declaration(text, path)
    _refuse_document_type(bare, path)
    root = _root_of(bare, path)
    info = root.getroottree().docinfo
    if info.doctype or info.internalDTD is not None:
        _refuse_dtd(path)
    return Document(text, encoding, root)


def _root_of(text: str, path: str) -> etree._Element:
    parser = etree.XMLParser(
        resolve_entities=False,
        no_network=True,
        load_dtd=False,
        dtd_validation=False,
        huge_tree=False,
        recover=False,
        encoding="utf-8",
    )
    try:
        return etree.fromstring(text.encode("utf-8"), parser)
    except (etree.XMLSyntaxError, ValueError) as exc:
        what = f"The document is no well-formed XML: {re.sub(_INVENTED_FILE, '', str(exc))}"[:300]
        raise Damaged(what, path=path) from exc


def _decode(data: bytes, path: str) -> Tuple[str, str]:
    encoding = _encoding_of(data, path)
    try:
        return data.decode(encoding), encoding
    except UnicodeDecodeError as exc:
        raise Damaged(f"The document is no valid {encoding} text", path=path, offset=exc.start) from exc


def _encoding_of(data: bytes, path: str) -> str:
    if data[:4] in (b"\xff\xfe\0\0", b"\0\0\xfe\xff", b"<\0\0\0", b"\0\0\0<"):
        raise Unsupported("The document is written in UTF-32", path=path, offset=0, expected="UTF-8")
    if data[:2] == b"\xff\xfe" or data[:2] == b"<\0":
        return "utf-16-le"
    if data[:2] == b"\xfe\xff" or data[:2] == b"\0<":
        return "utf-16-be"
    declared = re.match(_DECLARED, data)
    if declared is None or data[:3] == b"\xef\xbb\xbf":
        return "utf-8"
    name = declared.group(1).decode("ascii").lower()
    if name not in _ENCODINGS:
        text, hint = f"The document is written in {name}", "Save it as UTF-8."
        raise Unsupported(text, path=path, offset=0, expected="UTF-8", hint=hint)
    return _ENCODINGS[name]


def _check_amount(text: str, path: str) -> None:
    for sign, limit, what in (("<", MAX_MARKUP, "elements"), ("=", MAX_ATTRIBUTES, "attributes")):
        found = text.count(sign)
        if found > limit:
            most = f"at most {limit} signs {sign}"
            raise Unsupported(f"The document has too many {what}", path=path, expected=most, found=found)


def _without_declaration(text: str, path: str) -> str:
    """``text`` without mark and declaration, but with the latter's line breaks, so that line numbers stay true."""
    text = text[1:] if text[:1] == "\ufeff" else text
    if not text.startswith("<?xml") or text[5:6] not in " \t\r\n":
        return text
    match = re.match(_DECLARATION, text)
    if match is None:
        raise Damaged("The XML declaration is malformed", path=path, offset=0, found=text[:60])
    return "\n" * match.group().count("\n") + text[match.end() :]


def _refuse_document_type(bare: str, path: str) -> None:
    """A document type can only stand before the root element, after comments and processing instructions."""
    position = 0
    while True:
        position = bare.find("<", position)
        if position < 0:
            return
        if bare.startswith("<!--", position):
            position = bare.find("-->", position + 4)
        elif bare.startswith("<?", position):
            position = bare.find("?>", position + 2)
        elif bare.startswith("<!", position):
            _refuse_dtd(path, line=bare.count("\n", 0, position) + 1)
        else:
            return
        if position < 0:
            return


def _refuse_dtd(path: str, line: Optional[int] = None) -> NoReturn:
    where = f" in line {line}" if line is not None else ""
    text = f"The document declares a document type{where}, which no Parallels software does"
    raise Damaged(text, path=path)


def local_elements(root: etree._Element) -> Iterator[etree._Element]:
    """All elements below and including ``root`` in document order, without comments and processing instructions."""
    return root.iter(tag=etree.Element)


def leaf_text(element: etree._Element, *, path: str) -> str:
    """The text of an element without child elements, exactly as written. Raises Damaged when there are some."""
    parts = [element.text or ""]
    for child in element:
        if isinstance(child.tag, str):
            text = f"{element.tag} holds elements instead of text{at_line(element)}"
            raise Damaged(text, path=path, found=child.tag[:60])
        parts.append(child.tail or "")
    return "".join(parts)


def at_line(element: etree._Element) -> str:
    """Where ``element`` stands, for messages."""
    return f" (line {element.sourceline})" if element.sourceline else ""


def spans(text: str) -> List[Span]:
    """Where each element of a well-formed ``text`` is, in document order. Linear time, no recursion."""
    found: List[Optional[Span]] = []
    opened: List[Tuple[int, str, int, int]] = []
    start_tag = re.compile(_START_TAG)
    position = text.find("<")
    while position >= 0:
        skip = _end_of_no_element(text, position)
        if skip:
            position = text.find("<", skip)
            continue
        if text.startswith("</", position):
            end = text.index(">", position) + 1
            number, name, start, inner = opened.pop()
            found[number] = Span(name, start, inner, position, end)
        else:
            match = start_tag.match(text, position)
            if match is None:
                raise ValueError("not well-formed")
            end = match.end()
            if text[end - 2] == "/":
                found.append(Span(match.group(1), position, end, end, end))
            else:
                opened.append((len(found), match.group(1), position, end))
                found.append(None)
        position = text.find("<", end)
    return [span for span in found if span is not None]


def _end_of_no_element(text: str, position: int) -> int:
    """Where the comment, CDATA section or processing instruction at ``position`` ends; 0 when it is none."""
    for opening, closing in (("<!--", "-->"), ("<![CDATA[", "]]>"), ("<?", "?>")):
        if text.startswith(opening, position):
            return text.index(closing, position + len(opening)) + len(closing)
    return 0
