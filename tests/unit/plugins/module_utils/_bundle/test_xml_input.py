# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""XML from strangers."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.vdisk.parallels.plugins.module_utils._bundle import xml_input
from ansible_collections.vdisk.parallels.plugins.module_utils._bundle.xml_input import (
    MAX_ATTRIBUTES,
    MAX_DOCUMENT_BYTES,
    MAX_MARKUP,
    leaf_text,
    parse_xml,
    spans,
)
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import (
    Damaged,
    DiskError,
    MissingLibrary,
    Unsupported,
)

PATH = "/disk.hdd/DiskDescriptor.xml"
LAUGHS = (
    '<!DOCTYPE a [<!ENTITY x0 "ha">'
    + "".join(f'<!ENTITY x{i + 1} "&x{i};&x{i};&x{i};&x{i};">' for i in range(30))
    + "]><a>&x30;</a>"
)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
@pytest.mark.parametrize(
    "text",
    [
        LAUGHS,
        "<!DOCTYPE a><a/>",
        '<!DOCTYPE a SYSTEM "file:///etc/passwd"><a/>',
        '<!DOCTYPE a [<!ENTITY e SYSTEM "file:///etc/passwd">]><a>&e;</a>',
        '<!DOCTYPE a [<!ENTITY % p SYSTEM "http://127.0.0.1:9/x"> %p;]><a/>',
        "<!-- <a> --><?x <a> ?>\n<!DOCTYPE a><a/>",
    ],
    ids=["billion laughs", "bare", "external subset", "external entity", "parameter entity", "behind a comment"],
)
def test_a_document_type_is_refused_in_every_encoding(
    text: str, encoding: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(socket, "socket", None)
    started = time.process_time()
    with pytest.raises(Damaged) as caught:
        parse_xml(text.encode(encoding), path=PATH)
    assert "document type" in caught.value.message
    assert time.process_time() - started < 1


def test_a_declared_encoding_cannot_hide_a_document_type() -> None:
    with pytest.raises(Damaged):
        parse_xml("<?xml version='1.0' encoding='iso-8859-1'?><!DOCTYPE a><a/>".encode("utf-16"), path=PATH)
    with pytest.raises(Unsupported):
        parse_xml(b"<?xml version='1.0' encoding='UTF-7'?>+ADw-!DOCTYPE a+AD4-<a/>", path=PATH)


@pytest.mark.parametrize("encoding", ["utf-32", "utf-32-le", "utf-32-be"])
def test_utf_32_is_not_supported(encoding: str) -> None:
    with pytest.raises(Unsupported):
        parse_xml("<a/>".encode(encoding), path=PATH)


def test_the_words_of_a_document_type_in_a_comment_or_text_are_harmless() -> None:
    assert (
        parse_xml(b"<!-- <!DOCTYPE a> --><a><![CDATA[<!DOCTYPE a>]]><!-- <!ENTITY --></a>", path=PATH).root.text
        == "<!DOCTYPE a>"
    )


def test_an_undefined_entity_is_no_well_formed_document() -> None:
    with pytest.raises(Damaged):
        parse_xml(b"<a>&e;</a>", path=PATH)


@pytest.mark.parametrize(
    ("data", "line"),
    [(b"<?xml version='1.0'?>\n\n<a>\n<b></a>", 4), (b"<?xml version='1.0'\n\n?>\n<a>\n<b></a>", 5)],
    ids=["declaration on one line", "declaration on three lines"],
)
def test_broken_xml_is_damaged_and_says_in_which_line(data: bytes, line: int) -> None:
    with pytest.raises(Damaged) as caught:
        parse_xml(data, path=PATH)
    assert caught.value.path == PATH
    assert f"line {line}" in str(caught.value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b" ",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"<",
        b"<a",
        b"<!--",
        b"<?x",
        b"no xml",
        b"<a/><b/>",
        b"<a>\x01</a>",
        b"<a>\xff</a>",
        b"<?xml nonsense?><a/>",
    ],
)
def test_what_is_no_xml_is_damaged(data: bytes) -> None:
    with pytest.raises(Damaged):
        parse_xml(data, path=PATH)


@given(st.binary(max_size=200) | st.text("<>/!-[]?='\"& a\n", max_size=60).map(str.encode))
def test_any_bytes_give_a_document_or_one_of_our_errors(data: bytes) -> None:
    try:
        document = parse_xml(data, path=PATH)
    except DiskError as error:
        assert error.path == PATH
    else:
        assert document.text.encode(document.encoding) == data
        assert len(spans(document.text)) == len(list(xml_input.local_elements(document.root)))


@pytest.mark.parametrize(
    "data",
    [
        b"<a>" + b" " * MAX_DOCUMENT_BYTES + b"</a>",
        b"<a>" + b"<b/>" * MAX_MARKUP + b"</a>",
        b"<a " + b" ".join(b'b%d=""' % i for i in range(MAX_ATTRIBUTES + 1)) + b"/>",
    ],
    ids=["bytes", "elements", "attributes"],
)
def test_amounts_are_bounded(data: bytes) -> None:
    started = time.process_time()
    with pytest.raises(Unsupported):
        parse_xml(data, path=PATH)
    assert time.process_time() - started < 2


@pytest.mark.parametrize("depth", [10_000, 100_000])
def test_deep_nesting_is_refused(depth: int) -> None:
    with pytest.raises(Damaged):
        parse_xml(b"<a>" * depth + b"</a>" * depth, path=PATH)


def test_the_largest_accepted_amounts_are_parsed_in_a_moment() -> None:
    started = time.process_time()
    attributes = b" ".join(b'b%d=""' % i for i in range(MAX_ATTRIBUTES))
    parse_xml(b"<a " + attributes + b">" + b"<b/>" * (MAX_MARKUP - 2) + b"</a>", path=PATH)
    assert time.process_time() - started < 10


@pytest.mark.parametrize(
    ("data", "encoding"),
    [
        ("<a>é</a>".encode(), "utf-8"),
        ("\ufeff<a>é</a>".encode(), "utf-8"),
        ("\ufeff<?xml version='1.0' encoding='UTF-8'?><a>é</a>".encode(), "utf-8"),
        ('<?xml version="1.0" encoding="ISO-8859-1" standalone="yes"?><a>é</a>'.encode("iso-8859-1"), "iso-8859-1"),
        ("<?xml version='1.0' encoding='windows-1252'?><a>é</a>".encode("cp1252"), "cp1252"),
        ("\ufeff<?xml version='1.0' encoding='UTF-16'?><a>é</a>".encode("utf-16-le"), "utf-16-le"),
        ("\ufeff<a>é</a>".encode("utf-16-be"), "utf-16-be"),
    ],
)
def test_usual_encodings_are_read_and_give_their_bytes_back(data: bytes, encoding: str) -> None:
    document = parse_xml(data, path=PATH)
    assert document.root.text == "é"
    assert document.encoding == encoding
    assert document.text.encode(encoding) == data


def test_the_text_of_a_leaf_is_whole_in_spite_of_comments_and_cdata() -> None:
    leaf = parse_xml(b"<a> x<!-- no -->y<![CDATA[<z>]]><?no?> </a>", path=PATH).root
    assert leaf_text(leaf, path=PATH) == " xy<z> "
    with pytest.raises(Damaged):
        leaf_text(parse_xml(b"<a>1<b/>2</a>", path=PATH).root, path=PATH)


def test_spans_find_every_element_in_document_order() -> None:
    head = "<?xml version='1.0'?><!-- <x> -->"
    text = head + """<a b='>' c="/>"><![CDATA[<y>]]><b/><p:c xmlns:p="u" /><d\n>t</d ></a><!-- <z/> -->"""
    parse_xml(text.encode(), path=PATH)
    found = spans(text)
    assert [span.name for span in found] == ["a", "b", "p:c", "d"]
    assert [text[span.start : span.end] for span in found[1:]] == ["<b/>", '<p:c xmlns:p="u" />', "<d\n>t</d >"]
    assert text[found[3].inner : found[3].close] == "t"
    assert found[1].inner == found[1].close == found[1].end


def test_a_missing_lxml_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("lxml", "lxml.etree"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(MissingLibrary) as caught:
        parse_xml(b"<a/>", path=PATH)
    assert "lxml" in str(caught.value)


def test_nothing_is_read_from_files_that_a_document_names(tmp_path: Path, monkeypatch: Any) -> None:
    (tmp_path / "secret").write_text("secret")
    monkeypatch.chdir(tmp_path)
    document = parse_xml(
        b'<a xmlns:xi="http://www.w3.org/2001/XInclude"><xi:include href="secret" parse="text"/></a>', path=PATH
    )
    assert "secret" not in "".join(document.root.itertext())
