"""Files that only look like weights: archives, safetensors and other formats, each a trap for a careless reader.

Every payload, where there is one, writes the file `mark`.
"""

from __future__ import annotations

import gzip
import io
import json
import pickle
import struct
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from tests.hostile_limits import hostile_limits
from tests.hostile_pickles import NAMES, archive, hostile_pickles, named, tensor
from tests.real_formats import Scripted, save_jit


def hostile_files(mark: Path) -> Iterator[tuple[str, bytes]]:
    """Names and contents. The name's first part says what kind of trap it is."""
    yield from hostile_pickles(mark)
    yield from hostile_limits()
    yield from _archives(mark)
    yield from _safetensors()
    yield from _other_formats(mark)


class _Writes(torch.nn.Module):
    """A TorchScript program that writes a file as soon as it is loaded."""

    def __init__(self, mark: str) -> None:
        super().__init__()
        self.mark = mark
        self.w = torch.nn.Parameter(torch.ones(4))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.w

    @torch.jit.export
    def __getstate__(self) -> tuple[str, bool]:
        return self.mark, self.training

    @torch.jit.export
    def __setstate__(self, state: tuple[str, bool]) -> None:
        self.mark = state[0]
        self.training = state[1]
        self.w = torch.ones(4)  # type: ignore[assignment]
        torch.save(self.w, self.mark)


def writing_program(mark: Path) -> bytes:
    """The TorchScript archive of a program that writes `mark` when torch.jit.load reads it."""
    held = io.BytesIO()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.script(_Writes(str(mark))), held)
    return held.getvalue()


def _saved(value: Any) -> bytes:
    held = io.BytesIO()
    torch.save(value, held)
    return held.getvalue()


def _patched(data: bytes, at: int, new: bytes) -> bytes:
    return data[:at] + new + data[at + len(new) :]


def _moved(data: bytes, by: int) -> bytes:
    """The directory of an archive whose entries lie that many bytes further on."""
    made = bytearray(data)
    end = data.rindex(b"PK\x05\x06")
    count, _, first = struct.unpack_from("<HLL", data, end + 10)
    at = first
    for _ in range(count):
        named, extra, comment = struct.unpack_from("<3H", data, at + 28)
        struct.pack_into("<L", made, at + 42, struct.unpack_from("<L", data, at + 42)[0] + by)
        at += 46 + named + extra + comment
    struct.pack_into("<L", made, end + 16, first + by)
    return bytes(made)


def _archives(mark: Path) -> Iterator[tuple[str, bytes]]:
    plain, program = archive(named(tensor())), writing_program(mark)
    torchs = _saved({"w": torch.ones(4)})
    yield "program/alone", program
    yield "program/behind-weights", plain + program
    yield "program/behind-torchs-weights", torchs + program
    yield "program/before-weights", program + plain
    yield "program/before-weights-with-a-directory-of-all", program + _moved(plain, len(program))
    end = plain.rindex(b"PK\x05\x06")
    if len(program) < 65_536:
        yield "program/as-the-comment-of-weights", plain[: end + 20] + struct.pack("<H", len(program)) + program
    with_program = io.BytesIO(program)
    with zipfile.ZipFile(with_program, "a") as made, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        made.writestr("other/data.pkl", named(tensor()))
    yield "program/below-another-folder", with_program.getvalue()
    hidden = _read_and_write(program, lambda name: name.replace("constants.pkl", "constants.bak"))
    yield "program/without-its-constants", hidden
    yield (
        "program/in-other-letters",
        _read_and_write(program, lambda name: name.replace("constants.pkl", "CONSTANTS.PKL")),
    )
    directory = struct.unpack_from("<L", plain, end + 16)[0]
    yield "zip/two-ends", plain + plain[end:]
    yield "zip/two-directories", plain[:end] + plain[directory:]
    yield "zip/bytes-before", b"PK\x03\x04" + bytes(60) + plain
    yield "zip/bytes-before-and-told", b"PK\x03\x04" + bytes(60) + _moved(plain, 64)
    yield "zip/bytes-after", plain + b"\0" * 64
    apart = plain[:directory] + bytes(32) + plain[directory:]
    yield "zip/bytes-between", _patched(apart, end + 48, struct.pack("<L", directory + 32))
    yield "zip/cut-short", torchs[:-200]
    yield "zip/cut-to-its-head", torchs[:40]
    yield "zip/names-differ", _patched(plain, plain.index(b"data.pkl"), b"evil.pkl")
    yield "zip/sizes-differ", _patched(plain, 22, struct.pack("<L", 3))
    yield "zip/checksum-differs", _patched(plain, plain.index(b"}X"), b"]")
    yield "zip/one-more-than-there-are", _patched(plain, end + 8, struct.pack("<HH", 4, 4))
    yield "zip/one-fewer-than-there-are", _patched(plain, end + 8, struct.pack("<HH", 2, 2))
    yield "zip/no-entries", b"PK\x03\x04" + b"PK\x05\x06" + bytes(18)
    yield "zip/a-directory-elsewhere", _patched(plain, end + 16, struct.pack("<L", 0))
    yield "zip/entries-share-bytes", _patched(plain, directory + 42, struct.pack("<L", 40))
    yield "zip/encrypted", _patched(_patched(plain, 6, b"\x01"), directory + 8, b"\x01")
    yield "zip/a-method-of-its-own", _patched(_patched(plain, 8, b"\x0e"), directory + 10, b"\x0e")
    yield "zip/on-another-disk", _patched(plain, end + 4, b"\x01\0\x01\0")
    locator = torchs.rindex(b"PK\x06\x07")
    yield "zip/a-second-end-that-lies", _patched(torchs, locator + 8, struct.pack("<Q", 0))
    yield "zip/two-ends-that-differ", _patched(torchs, torchs.rindex(b"PK\x06\x06") + 24, struct.pack("<QQ", 1, 1))
    for what, names in {
        "absolute": ["/etc/passwd"],
        "upwards": ["archive/../../outside"],
        "backslashes": ["archive/..\\..\\outside"],
        "a-drive": ["C:/outside", "archive/C:/outside"],
        "no-folder": ["data.pkl"],
        "two-folders": ["archive/data.pkl", "other/data.pkl"],
        "an-empty-part": ["archive//data.pkl"],
        "a-control-sign": ["archive/data\x07.pkl"],
        "twice": ["archive/data.pkl", "archive/data.pkl"],
        "twice-in-other-letters": ["archive/data.pkl", "archive/DATA.PKL"],
        "a-folder": ["archive/data.pkl", "archive/data/"],
        "of-many-letters": ["w" * 60_000 + "/data.pkl", "archive/data.pkl"],
        "a-command": ["archive/data.pkl", "\x1b[2Jw/data.pkl"],
        "a-command-below": ["archive/data.pkl", "archive/\x1b[2Jw"],
    }.items():
        yield f"zip/names-{what}", _zip_of(names)
    yield "zip/a-link", _zip_of(["archive/data.pkl"], mode=0o120777)
    yield "zip/a-bomb-for-a-pickle", _bomb("archive/data.pkl", 1 << 27)
    yield "zip/a-bomb-beside-it", _bomb("archive/code.py", 1 << 27)
    small = zlib.compressobj(9, zlib.DEFLATED, -15)
    packed = small.compress(bytes(1 << 26)) + small.flush()
    lying = _bomb("archive/code.py", 1 << 26)
    yield (
        "zip/a-bomb-that-says-it-is-small",
        lying.replace(struct.pack("<LL", len(packed), 1 << 26), struct.pack("<LL", len(packed), 9)),
    )
    arrays = io.BytesIO()
    np.savez(arrays, w=np.ones(4))
    yield "zip/arrays-of-numpy", arrays.getvalue()


def _zip_of(names: list[str], mode: int = 0o600) -> bytes:
    held = io.BytesIO()
    with warnings.catch_warnings(), zipfile.ZipFile(held, "w") as made:
        warnings.simplefilter("ignore")
        for name in names:
            entry = zipfile.ZipInfo("x")
            entry.filename, entry.external_attr = name, mode << 16
            made.writestr(entry, named(tensor()))
    return held.getvalue()


def _bomb(name: str, size: int) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as made:
        if name != "archive/data.pkl":
            made.writestr("archive/data.pkl", named(tensor(key="9")), zipfile.ZIP_STORED)
        with made.open(name, "w") as file:
            for _ in range(size >> 24):
                file.write(bytes(1 << 24))
    return held.getvalue()


def _read_and_write(data: bytes, renamed: Any) -> bytes:
    held = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as read, zipfile.ZipFile(held, "w") as made:
        for name in read.namelist():
            made.writestr(renamed(name), read.read(name))
    return held.getvalue()


def safetensors_file(header: Any, data: bytes = b"", length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + data


def _safetensors() -> Iterator[tuple[str, bytes]]:
    def one(dtype: str = "F32", shape: Any = (4,), offsets: Any = (0, 16)) -> dict[str, Any]:
        return {"w": {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}}

    data = bytes(16)
    yield "safetensors/a-header-of-exabytes", safetensors_file(one(), data, (1 << 63) - 1)
    yield "safetensors/a-header-of-5-mb", safetensors_file(json.dumps(one()).encode() + b" " * 5_000_000, data)
    yield "safetensors/a-header-longer-than-the-file", safetensors_file(one(), data, 10_000)
    yield "safetensors/a-header-of-20-mb", safetensors_file(b"{" + b" " * 20_000_000 + b"}")
    yield "safetensors/no-json", safetensors_file(b"{w: 1}", data)
    yield "safetensors/a-list", safetensors_file(b'{"w": []}', data)
    yield "safetensors/nested-without-end", safetensors_file(b'{"w":' + b"[" * 200_000 + b"]" * 200_000 + b"}", data)
    yield "safetensors/nothing", safetensors_file({})
    yield "safetensors/offsets-behind-the-end", safetensors_file(one(offsets=(0, 1 << 40), shape=(1 << 38,)), data)
    yield "safetensors/offsets-backwards", safetensors_file(one(offsets=(16, 0)), data)
    yield "safetensors/negative-offsets", safetensors_file(one(offsets=(-16, 0)), data)
    yield "safetensors/a-shape-that-overflows", safetensors_file(one(shape=(1 << 62, 1 << 62)), data)
    yield "safetensors/a-shape-of-another-size", safetensors_file(one(shape=(5,)), data)
    yield "safetensors/a-negative-shape", safetensors_file(one(shape=(-4,)), data)
    yield "safetensors/a-shape-that-repeats-a-list", safetensors_file(one(shape=([0], 10**9)), data)
    yield "safetensors/a-shape-of-many-sides", safetensors_file(one(shape=[1] * 100_000, offsets=(0, 4)), data[:4])
    yield "safetensors/a-shape-of-nothing-and-too-much", safetensors_file(one(shape=(0, 1 << 63), offsets=(0, 0)))
    yield "safetensors/a-shape-of-nothing-and-far-too-much", safetensors_file(one(shape=(0, 10**400), offsets=(0, 0)))
    for what, name in NAMES.items():
        yield f"safetensors/named-{what}", safetensors_file({name: one()["w"]}, data)
    yield "safetensors/an-unknown-dtype", safetensors_file(one(dtype="PICKLE"), data)
    yield "safetensors/a-hole", safetensors_file({**one(), "x": one(offsets=(32, 48))["w"]}, bytes(48))
    yield "safetensors/tensors-that-overlap", safetensors_file({**one(), "x": one(offsets=(0, 16))["w"]}, data)
    yield "safetensors/bytes-after", safetensors_file(one(), data + b"PK\x05\x06" + bytes(18))
    twice = json.dumps(one()).encode()
    yield "safetensors/a-name-twice", safetensors_file(twice[:-1] + b"," + twice[1:], data)


def _other_formats(mark: Path) -> Iterator[tuple[str, bytes]]:
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as made:
        member = tarfile.TarInfo("../../outside")
        member.size = 4
        made.addfile(member, io.BytesIO(b"evil"))
    array = io.BytesIO()
    np.save(array, np.array([{"x": str(mark)}], dtype=object), allow_pickle=True)
    script = io.BytesIO()
    path = mark.with_name("plain-program.pt")
    save_jit(path, Scripted())
    script.write(path.read_bytes())
    path.unlink()
    yield "other/nothing", b""
    yield "other/one-byte", b"\x80"
    yield "other/a-web-page", b"<!doctype html><title>404</title>"
    yield "other/a-tar-file-of-before-0.1", tar.getvalue()
    yield "other/an-array-of-objects", array.getvalue()
    yield "other/a-packed-pickle", gzip.compress(pickle.dumps({"w": 1}))
    yield "other/keras", b"\x89HDF\r\n\x1a\n" + bytes(99)
    yield "other/onnx", b"\x08\x07\x12\x07pytorch" + bytes(99)
    yield "other/a-library", b"\x7fELF" + bytes(99)
    yield "other/a-shell-script", f"#!/bin/sh\ntouch {mark}\n".encode()
    yield "other/python", f"open({str(mark)!r}, 'w')\n".encode()
    yield "other/a-program-of-torch", script.getvalue()
    yield "other/a-pickle-of-protocol-5", pickle.dumps({"w": bytearray(9)}, 5)
