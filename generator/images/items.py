"""What is kept in the boxes of AVIF and HEIC: pictures, and plans that put them together (ISO/IEC 23008-12)."""

from __future__ import annotations

from collections.abc import Iterator

from generator.images.boxes import TooManyParts, boxes, find, number, whole

MAX_ITEMS = 2048  # of a file, and parts of an item
BEGINNING = 1 << 16  # bytes of a track that are looked at
MAX_COPIED = 1 << 20  # bytes of all items together, beside twice the file's
GRID, OVERLAY = b"grid", b"iovl"


def items(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """(kind, bytes) of each item, as far as they are whole. Raises TooManyParts."""
    for kind, body in whole(boxes(data)):
        if kind == b"meta":
            yield from whole(_in_meta(data, body[4:]))


def tracks(data: bytes) -> Iterator[bytes]:
    """What is at the beginning of each track."""
    for table in whole(find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"stco")):
        if number(table, 4, 4):
            yield data[(at := number(table, 8, 4)) : at + BEGINNING]
    for table in whole(find(data, b"moov", b"trak", b"mdia", b"minf", b"stbl", b"co64")):
        if number(table, 4, 4):
            yield data[(at := number(table, 8, 8)) : at + BEGINNING]


def put_together(kind: bytes, plan: bytes) -> Iterator[tuple[int, int]]:
    """(width, height) in px of what a grid or an overlay makes of other items; nothing for any other kind."""
    if kind in (GRID, OVERLAY):
        wide = 4 if plan[1] & 1 else 2
        at = 4 if kind == GRID else 10
        yield number(plan, at, wide), number(plan, at + wide, wide)


def _in_meta(data: bytes, meta: bytes) -> Iterator[tuple[bytes, bytes]]:
    parts = dict(boxes(meta))
    kinds = dict(_kinds(parts[b"iinf"]))
    iloc, version = parts[b"iloc"], parts[b"iloc"][0]
    offset_size, length_size = iloc[4] >> 4, iloc[4] & 15
    base_size, index_size = iloc[5] >> 4, iloc[5] & 15 if version else 0
    wide = 4 if version == 2 else 2
    count, at = number(iloc, 6, wide), 6 + wide
    left = MAX_COPIED + 2 * len(data)
    for place in range(count):
        if place == MAX_ITEMS:
            raise TooManyParts(f"The picture's file has {count} items; at most {MAX_ITEMS} are read.")
        item, at = number(iloc, at, wide), at + wide
        inside = version and number(iloc, at, 2) & 15 == 1  # in idat, not in the file
        at += (2 if version else 0) + 2
        base, at = number(iloc, at, base_size), at + base_size
        extents, at = number(iloc, at, 2), at + 2
        coded, source = b"", parts.get(b"idat", b"") if inside else data
        for part in range(extents):
            if part == MAX_ITEMS:
                raise TooManyParts(
                    f"An item of the picture's file is in {extents} parts; at most {MAX_ITEMS} are read."
                )
            at += index_size
            start = base + number(iloc, at, offset_size)
            length = number(iloc, at + offset_size, length_size)
            at += offset_size + length_size
            coded += source[start : start + length] if length else source[start:]
            left -= len(coded)
            if left < 0:
                raise TooManyParts("The items of the picture's file share its bytes many times over.")
        if item in kinds:
            yield kinds[item], coded


def _kinds(iinf: bytes) -> Iterator[tuple[int, bytes]]:
    """The number of each item and its kind."""
    for kind, body in boxes(iinf[8 if iinf[0] else 6 :]):
        wide = 4 if kind == b"infe" and body[0] > 2 else 2
        if kind == b"infe" and body[0] > 1:
            yield number(body, 4, wide), body[6 + wide : 10 + wide]
