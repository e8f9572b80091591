"""The table of contents of a zip archive of weights, held to one reading.

Readers of zip files disagree on which of two directories counts, on bytes before, between and after the entries, and on
whether an entry's own header or the directory is right. Here all of them must say the same, or the file is refused:
the entries fill it from its first byte to the directory, and the directory's end is the end of the file
(PKWARE's APPNOTE 6.3.10, sections 4.3 and 4.4).
"""

from __future__ import annotations

import mmap
import stat
import struct
import zlib
from dataclasses import dataclass, replace

from generator.checkpoints.errors import shown

STORED, DEFLATED = 0, 8
MAX_ENTRIES = 100_000
_LOCAL, _CENTRAL, _END = struct.Struct("<4s5H3L2H"), struct.Struct("<4s6H3L5H2L"), struct.Struct("<4s4H2LH")
_LOCATOR, _END64 = struct.Struct("<4sLQL"), struct.Struct("<4sQ2H2L4Q")
_DESCRIPTOR, _DESCRIPTOR64 = struct.Struct("<4s3L"), struct.Struct("<4sL2Q")
_HAS_DESCRIPTOR = 0x8
_ALLOWED_FLAGS = 0x80E  # a descriptor, UTF-8 names, and how deflate was asked to work
_FULL16, _FULL32 = 0xFFFF, 0xFFFFFFFF


class BadArchive(ValueError):
    """A zip archive that can be read in more than one way, or not at all; the message says why."""


@dataclass(frozen=True)
class Entry:
    """start: of its bytes in the file; packed, size: bytes before and after unpacking; method: STORED or DEFLATED.

    crc: None in an archive that was written without checksums.
    """

    start: int
    packed: int
    size: int
    crc: int | None
    method: int


@dataclass(frozen=True)
class _Listed:
    """An entry as the directory lists it."""

    name: bytes
    flags: int
    method: int
    crc: int
    packed: int
    size: int
    offset: int


def entries(data: mmap.mmap) -> dict[str, Entry]:
    """The entries of an archive by their path below its one top folder. Raises BadArchive."""
    first, count, end = _directory(data)
    found: dict[str, Entry] = {}
    folded: set[str] = set()
    root, at, offset = "", first, 0
    for _ in range(count):
        listed, at = _listed(data, at, end)
        if listed.offset != offset:
            raise BadArchive("there are bytes between its entries, or two entries share bytes")
        entry, offset = _entry(data, listed, first)
        top, name = _path(listed.name, folder=not listed.packed and not listed.size)
        root = root or top
        if top != root or name.casefold() in folded:
            raise BadArchive(f"it has {shown(name)} twice, or below another folder than {shown(root)}")
        if name:
            folded.add(name.casefold())
            found[name] = entry
    if at != end or offset != first:
        raise BadArchive("there are bytes that no entry of its directory owns")
    if not any(entry.crc for entry in found.values()):  # torch.serialization.set_crc32_options(False)
        return {name: replace(entry, crc=None) for name, entry in found.items()}
    return found


def check_crc(data: mmap.mmap, name: str, entry: Entry) -> None:
    """Unpacks an entry piece by piece, keeping none, and compares its CRC-32. Raises BadArchive."""
    crc = size = 0
    unpack = zlib.decompressobj(-15)
    for at in range(entry.start, entry.start + entry.packed, 1 << 20):
        piece, more = data[at : min(at + (1 << 20), entry.start + entry.packed)], True
        while more:
            plain, more = piece, False
            if entry.method == DEFLATED:
                try:
                    plain = unpack.decompress(piece, 1 << 20)
                except zlib.error as error:
                    raise BadArchive(f"its part {shown(name)} cannot be unpacked ({error})") from None
                piece, more = unpack.unconsumed_tail, len(plain) == 1 << 20
            crc, size = zlib.crc32(plain, crc), size + len(plain)
            if size > entry.size:
                raise BadArchive(f"its part {shown(name)} unpacks to more than it says")
        if unpack.unused_data:
            raise BadArchive(f"its part {shown(name)} is followed by bytes that do not belong to it")
    if entry.method == DEFLATED and not unpack.eof:
        raise BadArchive(f"its part {shown(name)} is cut short")
    if size != entry.size or (entry.crc is not None and crc != entry.crc):
        raise BadArchive(f"its part {shown(name)} has a wrong checksum")


def _directory(data: mmap.mmap) -> tuple[int, int, int]:
    """Where the directory begins, how many entries it lists, and where it ends."""
    at = len(data) - _END.size
    if at < 0 or data[at : at + 4] != b"PK\x05\x06":
        raise BadArchive("its end is not that of a zip archive; it may be cut short, or bytes follow it")
    _, disk, other, here, count, size, first, comment = _END.unpack_from(data, at)
    end = at
    before = at - _LOCATOR.size
    if before >= _END64.size and data[before : before + 4] == b"PK\x06\x07":
        _, other64, end, disks = _LOCATOR.unpack_from(data, before)
        if other64 or disks != 1 or end != before - _END64.size or data[end : end + 4] != b"PK\x06\x06":
            raise BadArchive("its two ends do not agree")
        short = (here, count, size, first)
        _, length, _, _, disk64, otherdisk64, here, count, size, first = _END64.unpack_from(data, end)
        full = (_FULL16, _FULL16, _FULL32, _FULL32)
        agree = all(a in (b, c) for a, b, c in zip(short, (here, count, size, first), full, strict=True))
        if length != _END64.size - 12 or disk64 or otherdisk64 or not agree:
            raise BadArchive("its two ends do not agree")
    if disk or other or comment or here != count or first + size != end:
        raise BadArchive("its directory is not where its end says")
    if not 0 < count <= MAX_ENTRIES:
        raise BadArchive(f"it has {count} entries; 1 to {MAX_ENTRIES} are read")
    return first, count, end


def _listed(data: mmap.mmap, at: int, end: int) -> tuple[_Listed, int]:
    """The directory's entry at that byte, and where the next one begins."""
    if at + _CENTRAL.size > end or data[at : at + 4] != b"PK\x01\x02":
        raise BadArchive("its directory is damaged")
    _, _, _, flags, method, _, _, crc, packed, size, named, extra, comment, disk, _, mode, offset = (
        _CENTRAL.unpack_from(data, at)
    )
    after = at + _CENTRAL.size + named + extra + comment
    if after > end or disk not in (0, _FULL16):
        raise BadArchive("its directory is damaged")
    if stat.S_ISLNK(mode >> 16):
        raise BadArchive("it holds a link")
    if flags & ~_ALLOWED_FLAGS or method not in (STORED, DEFLATED):
        raise BadArchive("it is encrypted, or packed in a way that weights are not")
    fields = at + _CENTRAL.size + named
    wide = iter(_wide(data[fields : fields + extra]))
    size, packed, offset = (next(wide, -1) if value == _FULL32 else value for value in (size, packed, offset))
    if min(size, packed, offset) < 0:
        raise BadArchive("its directory is damaged")
    name = data[at + _CENTRAL.size : fields]
    return _Listed(name, flags, method, crc, packed, size, offset), after


def _entry(data: mmap.mmap, listed: _Listed, first: int) -> tuple[Entry, int]:
    """The entry itself, whose own header must say what the directory does, and where the next one begins."""
    at = listed.offset
    if at + _LOCAL.size > first or data[at : at + 4] != b"PK\x03\x04":
        raise BadArchive("an entry is not where its directory says")
    _, _, flags, method, _, _, crc, packed, size, named, extra = _LOCAL.unpack_from(data, at)
    fields = at + _LOCAL.size + named
    start = fields + extra
    if (flags, method, data[at + _LOCAL.size : fields]) != (listed.flags, listed.method, listed.name):
        raise BadArchive("an entry and the directory do not agree")
    after = start + listed.packed
    if after > first or (method == STORED and listed.packed != listed.size):
        raise BadArchive("an entry is longer than the file has room for")
    said = (listed.crc, listed.packed, listed.size)
    if flags & _HAS_DESCRIPTOR:
        if (crc, packed, size) not in ((0, 0, 0), said, (0, _FULL32, _FULL32)):
            raise BadArchive("an entry and the directory do not agree")
        after = _after_descriptor(data, after, said, first)
    else:
        wide = iter(_wide(data[fields:start]))
        size, packed = (next(wide, -1) if value == _FULL32 else value for value in (size, packed))
        if (crc, packed, size) != said:
            raise BadArchive("an entry and the directory do not agree")
    return Entry(start, listed.packed, listed.size, listed.crc, method), after


def _after_descriptor(data: mmap.mmap, at: int, said: tuple[int, int, int], first: int) -> int:
    """Past the sizes that follow an entry's bytes, in 32 or in 64 bits."""
    for descriptor in (_DESCRIPTOR, _DESCRIPTOR64):
        after = at + descriptor.size
        if (
            after <= first
            and descriptor.unpack_from(data, at) == (b"PK\x07\x08", *said)
            and (after == first or data[after : after + 4] == b"PK\x03\x04")
        ):
            return after
    raise BadArchive("an entry and what follows it do not agree")


def _wide(extra: bytes) -> list[int]:
    """The 64-bit numbers of a header's zip64 field, of which there is one at most."""
    found: list[int] | None = None
    at = 0
    while at + 4 <= len(extra):
        kind, length = struct.unpack_from("<2H", extra, at)
        if kind == 1:
            if found is not None or at + 4 + length > len(extra):
                raise BadArchive("its directory is damaged")
            found = list(struct.unpack_from(f"<{length // 8}Q", extra, at + 4))
        at += 4 + length
    return found or []


def _path(name: bytes, *, folder: bool) -> tuple[str, str]:
    """The top folder of an entry, which is called as the file once was, and its path below.

    folder: whether it has no bytes, so that its name may end as a folder's; its path is then "".
    """
    try:
        top, *parts = name.decode("utf-8").split("/")
    except UnicodeDecodeError:
        raise BadArchive("it names an entry in an unknown alphabet") from None
    ends_as_folder = folder and bool(top and parts) and not parts[-1]
    below = parts[:-1] if ends_as_folder else parts
    bad = any(p in ("", ".", "..") or not p.isprintable() or "\\" in p or ":" in p for p in below)
    if bad or not top or not parts:
        raise BadArchive(f"its entry {shown('/'.join((top, *parts)))} is no path below one folder")
    return top, "" if ends_as_folder else "/".join(parts)
