# Copyright (c) 2026, The vdisk.parallels authors
# GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Images that somebody has tampered with, tried in a process that may have little memory and little time, and
watched for what it opens.
"""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import resource
import shutil
import signal
import struct
import traceback
from collections import Counter
from typing import Any, Callable, Dict, Iterator, List, NamedTuple, Optional, Sequence, Set, Tuple

from ansible_collections.vdisk.parallels.plugins.module_utils._change.executor import execute
from ansible_collections.vdisk.parallels.plugins.module_utils._core.errors import DiskError
from ansible_collections.vdisk.parallels.plugins.module_utils._formats.vhdx.checksum import crc32c
from ansible_collections.vdisk.parallels.plugins.module_utils._guest.source import find_source
from ansible_collections.vdisk.parallels.plugins.module_utils._io.port import File
from ansible_collections.vdisk.parallels.plugins.module_utils._io.real import OsPort
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.plan import plan_convert
from ansible_collections.vdisk.parallels.plugins.module_utils._ops.convert.request import ConvertRequest

SECTOR = 512
MEMORY = 512 << 20
"""How much address space a trial may add to what the process has."""
SECONDS = 20
"""How much processor time a trial may take; three times as much on the clock, for a machine that has other things to
do.
"""
_LARGEST_FILE = 256 << 20
_LOOKAHEAD = 1 << 16
_CONTEXT: Any = multiprocessing.get_context("fork")

BYTES = "bytes"
"""The outcome of a trial that gave a disk; else it is the code of one of our errors, or begins with BAD."""
BAD = "!"


class Mutant(NamedTuple):
    """What is changed in one file of an image: bytes at offsets, and the length where it is cut."""

    name: str
    patches: Tuple[Tuple[int, bytes], ...] = ()
    cut: Optional[int] = None


class Victim(NamedTuple):
    """An image in a folder of its own: what to open, and which of its files the mutants change."""

    folder: str
    entry: str
    format: str
    changed: str


class WatchfulPort(OsPort):
    """Opens nothing outside of some folders, whatever way the name takes."""

    def __init__(self, folders: Sequence[str]) -> None:
        super().__init__()
        self._folders = [os.path.realpath(folder) + os.sep for folder in folders]

    def _watch(self, path: str) -> None:
        real = os.path.realpath(path)
        assert any(real.startswith(folder) for folder in self._folders), f"opened {path}"

    def open_read(self, path: str) -> File:
        self._watch(path)
        return super().open_read(path)

    def open_write(self, path: str) -> File:
        self._watch(path)
        return super().open_write(path)

    def create(self, path: str, mode: int = 0o666) -> File:
        self._watch(path)
        return super().create(path, mode)


def attempt(victim: Victim, number: int, out: str) -> str:
    """Read the image through to its end as a conversion does.

    Every fourth time its format is found by its marks, every third its layers are kept.
    """
    os.makedirs(out)
    port = WatchfulPort([victim.folder, out])
    path = os.path.join(victim.folder, victim.entry)
    format = "auto" if number % 4 == 3 else victim.format
    before = len(os.listdir("/proc/self/fd"))
    try:
        source = find_source(port, path, format=format, backing=True)
        if number % 3 == 2:
            wanted = ConvertRequest("hdd", f"{out}/out.hdd", verify=False, keeps_layers=True, cluster_bytes=64 << 10)
        else:
            wanted = ConvertRequest("raw", f"{out}/out.raw", verify=False)
        execute(port, plan_convert(port, source, wanted, token="trial", predict=number % 5 == 4))
        outcome = BYTES
    except DiskError as error:
        assert str(error)
        outcome = error.code
    except BaseException:
        outcome = BAD + traceback.format_exc()
    finally:
        shutil.rmtree(out)
    port.names.close()
    left = len(os.listdir("/proc/self/fd"))
    # Fewer than before: something else was closed meanwhile, such as a file of an earlier trial that the collector
    # found.
    return outcome if left <= before else f"{BAD}{left - before} files are still open after {outcome}"


def _limit() -> None:
    with open("/proc/self/statm", encoding="ascii") as stream:
        size = int(stream.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (size + MEMORY, size + MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (_LARGEST_FILE, _LARGEST_FILE))
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    for kind in (signal.SIGPROF, signal.SIGALRM):
        signal.signal(kind, signal.SIG_DFL)


def _work(victim: Victim, mutants: Sequence[Mutant], first: int, record: str) -> None:
    _limit()
    path = os.path.join(victim.folder, victim.changed)
    with open(path, "rb") as stream:
        content = stream.read()
    with open(record, "w", encoding="utf-8") as told, open(path, "r+b", buffering=0) as stream:
        for number in range(first, len(mutants)):
            print(json.dumps([number, None]), file=told, flush=True)
            _change(stream.fileno(), content, mutants[number])
            signal.setitimer(signal.ITIMER_PROF, SECONDS)
            signal.setitimer(signal.ITIMER_REAL, 3 * SECONDS)
            outcome = attempt(victim, number, os.path.join(os.path.dirname(record), "out"))
            signal.setitimer(signal.ITIMER_PROF, 0)
            signal.setitimer(signal.ITIMER_REAL, 0)
            _mend(stream.fileno(), content, mutants[number])
            print(json.dumps([number, outcome]), file=told, flush=True)
    os._exit(0)


def _change(descriptor: int, content: bytes, mutant: Mutant) -> None:
    for offset, patch in mutant.patches:
        os.pwrite(descriptor, patch, offset)
    if mutant.cut is not None:
        os.ftruncate(descriptor, mutant.cut)


def _mend(descriptor: int, content: bytes, mutant: Mutant) -> None:
    if mutant.cut is not None:
        os.ftruncate(descriptor, len(content))
        for start in range(mutant.cut, len(content), _LOOKAHEAD):
            part = content[start : start + _LOOKAHEAD]
            if part.strip(b"\0"):
                os.pwrite(descriptor, part, start)
    for offset, patch in mutant.patches:
        os.pwrite(descriptor, content[offset : offset + len(patch)], offset)
    os.ftruncate(descriptor, len(content))


def outcomes(victim: Victim, mutants: Sequence[Mutant], scratch: str) -> List[Tuple[str, str]]:
    """What became of each mutant, tried one after the other; a process that dies of one is replaced for the others."""
    found: List[Tuple[str, str]] = []
    path = os.path.join(victim.folder, victim.changed)
    with open(path, "rb") as stream:
        content = stream.read()
    while len(found) < len(mutants):
        record = os.path.join(scratch, f"record-{len(found)}")
        process = _CONTEXT.Process(target=_work, args=(victim, mutants, len(found), record))
        process.start()
        process.join()
        with open(record, encoding="utf-8") as stream:
            lines = [json.loads(line) for line in stream]
        found += [(mutants[number].name, outcome) for number, outcome in lines if outcome is not None]
        if len(found) < len(mutants):
            found.append((mutants[len(found)].name, f"{BAD}the process ended with {process.exitcode}"))
            shutil.rmtree(os.path.join(scratch, "out"), ignore_errors=True)
            with open(path, "wb") as writing:
                writing.write(content)
    return found


def assert_all_named(found: Sequence[Tuple[str, str]]) -> Dict[str, int]:
    """Each trial has ended in bytes or in an error of ours; how often in which."""
    bad = [(name, outcome) for name, outcome in found if outcome.startswith(BAD)]
    assert not bad, f"{len(bad)} of {len(found)} end badly, among them:\n" + "\n".join(
        f"{name}: {outcome}" for name, outcome in bad[:5]
    )
    return dict(Counter(outcome for _name, outcome in found))


# Making mutants.

_NUMBERS = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 1 << 62, (1 << 63) - 1, 1 << 63, (1 << 64) - 1)
Seal = Callable[[bytes, Tuple[Tuple[int, bytes], ...]], Tuple[Tuple[int, bytes], ...]]


def interesting(content: bytes, guest: bytes) -> List[int]:
    """The sectors of an image that hold something else than nothing and what any layer has as guest data; ``guest``
    is all of that in a row.
    """
    known: Set[bytes] = {guest[start : start + SECTOR] for start in range(0, len(guest), SECTOR)}
    known.add(bytes(SECTOR))
    return [start for start in range(0, len(content), SECTOR) if content[start : start + SECTOR] not in known]


def mutants_of(content: bytes, guest: bytes, *, seed: object, count: int, seal: Optional[Seal] = None) -> List[Mutant]:
    """``count`` ways to change bytes outside of the guest data; with ``seal`` two thirds of them have the right
    checksums all the same.
    """
    chance = random.Random(f"hostile {seed}")
    sectors = interesting(content, guest)
    weighty = [
        start + index
        for start in sectors
        for index in range(SECTOR)
        if start + index < len(content) and content[start + index]
    ]
    found = []
    for number in range(count):
        patches = tuple(_patch(chance, content, sectors, weighty) for _index in range(chance.choice((1, 1, 1, 2))))
        name = f"{number}: " + ", ".join(f"{patch.hex()} at {offset}" for offset, patch in patches)
        if seal is not None and number % 3:
            patches = seal(content, patches)
        found.append(Mutant(name, patches))
    return found


def _patch(chance: random.Random, content: bytes, sectors: Sequence[int], weighty: Sequence[int]) -> Tuple[int, bytes]:
    offset = chance.choice(weighty) if chance.random() < 0.6 else chance.choice(sectors) + chance.randrange(SECTOR)
    kind = chance.randrange(7)
    offset = min(offset, len(content) - 1)
    if kind < 3:
        return offset, bytes([(0, 0xFF, (content[offset] + 1) & 0xFF)[kind]])
    length = chance.choice((4, 8))
    offset = max(0, min(offset - offset % length, len(content) - length))
    if kind == 3:
        return offset, chance.getrandbits(8 * length).to_bytes(length, "little")
    if kind == 4:
        return offset, (chance.choice(_NUMBERS) & ((1 << 8 * length) - 1)).to_bytes(
            length, chance.choice(("little", "big"))
        )
    if kind == 5:
        # What stands there, a bit more or less.
        order = chance.choice(("little", "big"))
        value = int.from_bytes(content[offset : offset + length], order) + chance.choice(
            (-512, -1, 1, 2, 512, 4096, 65536)
        )
        return offset, (value & ((1 << 8 * length) - 1)).to_bytes(length, order)
    # What stands elsewhere, so that two entries lead to one place.
    other = max(0, min(chance.choice(weighty) // length * length, len(content) - length))
    return offset, content[other : other + length]


def absurd_fields(
    content: bytes, areas: Sequence[Tuple[int, int]], *, seal: Optional[Seal] = None, all_numbers: bool = False
) -> List[Mutant]:
    """Each aligned field of 4 and of 8 bytes in ``areas`` (start, end) with an impossible number in either order of
    bytes, one in turns or all of them.
    """
    found: List[Mutant] = []
    for length in (4, 8):
        for place in (place for start, end in areas for place in range(start, min(end, len(content)) - length + 1, 4)):
            numbers = [(number, order) for number in _NUMBERS for order in ("little", "big")]
            for number, order in numbers if all_numbers else [numbers[(place // 4 * 5 + length) % len(numbers)]]:
                patch = (number & ((1 << 8 * length) - 1)).to_bytes(length, order)  # type: ignore[arg-type]
                patches: Tuple[Tuple[int, bytes], ...] = ((place, patch),)
                found.append(
                    Mutant(f"{patch.hex()} at {place}", seal(content, patches) if seal is not None else patches)
                )
    return found


def cuts_of(content: bytes, *, seed: object, most: int) -> List[Mutant]:
    """The image cut at every sector, or at ``most`` of them."""
    places = list(range(0, len(content), SECTOR))
    if len(places) > most:
        places = sorted(random.Random(f"cuts {seed}").sample(places, most))
    return [Mutant(f"cut at {place}", cut=place) for place in places]


def _patched(content: bytes, patches: Tuple[Tuple[int, bytes], ...]) -> bytearray:
    raw = bytearray(content)
    for offset, patch in patches:
        raw[offset : offset + len(patch)] = patch
    return raw


def seal_vhd(content: bytes, patches: Tuple[Tuple[int, bytes], ...]) -> Tuple[Tuple[int, bytes], ...]:
    """With the checksums of both footers and of the header of a dynamic disk."""
    raw = _patched(content, patches)
    sealed = list(patches)
    areas = [(len(raw) - 512, 512, 64)]
    if content[:8] == b"conectix":
        areas += [(0, 512, 64), (struct.unpack_from(">Q", content, 16)[0], 1024, 36)]
    for start, length, field in areas:
        area = raw[start : start + length]
        area[field : field + 4] = bytes(4)
        sealed.append((start + field, struct.pack(">I", ~sum(area) & 0xFFFFFFFF)))
    return tuple(sealed)


def seal_vhdx(content: bytes, patches: Tuple[Tuple[int, bytes], ...]) -> Tuple[Tuple[int, bytes], ...]:
    """With the checksums of headers, region tables and entries of the log, as far as the changes lie in them."""
    raw = _patched(content, patches)
    areas = [(64 << 10, 4096), (128 << 10, 4096), (192 << 10, 64 << 10), (256 << 10, 64 << 10)] + list(
        _log_entries(content)
    )
    touched = [area for area in areas if any(area[0] <= offset < sum(area) for offset, _patch in patches)]
    sealed = list(patches)
    for start, length in touched:
        area = raw[start : start + length]
        area[4:8] = bytes(4)
        sealed.append((start + 4, struct.pack("<I", crc32c(bytes(area)))))
    return tuple(sealed)


def _log_entries(content: bytes) -> Iterator[Tuple[int, int]]:
    for header in (64 << 10, 128 << 10):
        length, offset = struct.unpack_from("<IQ", content, header + 68)
        for start in range(offset, min(offset + length, len(content)), 4096):
            if content[start : start + 4] == b"loge":
                yield start, min(struct.unpack_from("<I", content, start + 8)[0], len(content) - start)
