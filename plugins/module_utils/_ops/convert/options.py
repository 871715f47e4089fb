# Copyright (c) 2026, The vdisk.parallels authors
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which options of hdd_convert go with which format: what a format does not know is an error, never ignored."""

# PRIVATE: only vdisk.parallels itself imports this file.

from __future__ import annotations

from typing import Any, List, Mapping, Optional

from ..._core.errors import BadRequest
from ..._core.units import MIB, SECTOR
from ..._formats.catalog import FORMATS, HDD, RAW, Format, format_of_name

# What options are when they are left out, where that is not None.
_LEFT_OUT = {"format_version": "auto", "compression": "none", "azure": False}


def output_format(path: str, chosen: Optional[str]) -> str:
    """The format to write: the chosen one, or what the name stands for. Raises BadRequest."""
    format = chosen or format_of_name(path)
    if format is None:
        raise BadRequest(
            "dest_format: the name of the destination does not say the format",
            path=path,
            hint="Set dest_format, for example to hdd or qcow2.",
        )
    return format


def refuse_options(options: Mapping[str, Any], format: str, path: str) -> None:
    """Raise BadRequest for the first of the ``options``, by name, that does not fit the format or the others."""
    row = FORMATS[format]
    wrong = [option for option in _given(options) if option not in row.options]
    if wrong:
        raise BadRequest(
            f"{', '.join(wrong)}: no option for {format}",
            path=path,
            hint=f"Leave it out; {format} knows {', '.join(row.options) or 'none of them'}.",
        )
    _refuse_level(options["compression_level"])
    if format == RAW and options["chain"] == "preserve":
        raise BadRequest(
            "chain: a raw image holds no layers", path=path, hint="Choose chain: flatten, or another dest_format."
        )
    _refuse_kind(row, options["subformat"])
    _refuse_version(row, options["format_version"])
    _refuse_combination(options)


def _refuse_combination(options: Mapping[str, Any]) -> None:
    if not options["sparse"] and (options["chain"] == "preserve" or options["subformat"] == "streamOptimized"):
        raise BadRequest(
            "sparse: layers and streams leave zeros out in any case", found=False, hint="Leave sparse out."
        )
    if options["swap"] == "drop" and options["free_space"] != "drop":
        raise BadRequest("swap: pages of swap are found with free_space: drop only", hint="Set free_space: drop.")
    if options["azure"] and options["subformat"] not in (None, "fixed"):
        raise BadRequest(
            "subformat: Azure takes only fixed disks", found=options["subformat"], hint="Leave subformat out."
        )


def _given(options: Mapping[str, Any]) -> List[str]:
    """The options that are set, of those that only some formats know, in a fixed order."""
    known = "subformat cluster_size split_size name adapter_type compression_level format_version compression azure"
    return [option for option in known.split() if options[option] != _LEFT_OUT.get(option)]


def _refuse_level(level: Optional[int]) -> None:
    if level is not None and level < 1:
        raise BadRequest(
            "compression_level: levels begin at 1", found=level, hint="Leave it out, or leave compression out."
        )


def _refuse_kind(row: Format, kind: Optional[str]) -> None:
    # Kinds of images of other products are judged together with the rest of their shape.
    if row.name == HDD and kind is not None and kind not in row.kinds:
        raise BadRequest(f"subformat: a bundle is {' or '.join(row.kinds)}", found=kind, hint="Choose one of them.")


def _refuse_version(row: Format, version: str) -> None:
    if row.versions and version not in ("auto", *map(str, row.versions)):
        raise BadRequest(f"format_version: {row.name} has no version {version}", found=version, hint="Leave it out.")


def alignment(asked: Optional[int], *, is_azure: bool) -> int:
    """What the size of the guest disk is rounded up to, in bytes. Raises BadRequest."""
    align = asked if asked is not None else MIB if is_azure else SECTOR
    if align % SECTOR or not align:
        raise BadRequest("align: must be a multiple of 512 bytes", found=align, hint="Write for example 1M.")
    if is_azure and align % MIB:
        raise BadRequest(
            "align: Azure takes only whole mebibytes", found=align, hint="Leave align out; azure: true sets it to 1M."
        )
    return align
