"""What a power cut would have left of a folder, rebuilt from the journal of tests/disk/faults.c.

The disk is as forgetful as POSIX permits: bytes that were not synced may be there, or not, or some sectors of them;
names that were made, changed or removed may be so or as before, until their folder was synced, whether or not the file
was. It never forgets what was synced.
"""

from __future__ import annotations

import random
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath

SECTOR = 512  # bytes, of which a write is made up
HEAD = struct.Struct("=cQQIII")


@dataclass(frozen=True)
class Change:
    """One line of the journal: O open anew, W write, T truncate, S sync a file, F sync a folder, R rename, U unlink,
    M and D make and remove a folder, K what was promised by then."""

    op: str
    inode: int
    number: int  # offset of a write, or size
    one: str
    two: str
    data: bytes


def read(journal: Path) -> list[Change]:
    """All changes in order; a last one that is torn is left out."""
    raw, at, found = journal.read_bytes(), 0, []
    while at + HEAD.size <= len(raw):
        op, inode, number, a, b, size = HEAD.unpack_from(raw, at)
        at += HEAD.size
        if at + a + b + size > len(raw):
            break
        one, two = raw[at : at + a].decode(), raw[at + a : at + a + b].decode()
        found.append(Change(op.decode(), inode, number, one, two, raw[at + a + b : at + a + b + size]))
        at += a + b + size
    return found


@dataclass
class Disk:
    """The folder as processes see it, and what of it is on the disk. promises: what was told by now."""

    root: str
    promises: list[str] = field(default_factory=list)
    _files: dict[int, _File] = field(default_factory=dict)  # by inode, as long as processes may write to it
    _names: dict[str, _File | None] = field(default_factory=dict)  # None: a folder
    _kept: dict[str, _File | None] = field(default_factory=dict)
    _changed: dict[str, list[tuple[str, _File | None, bool]]] = field(default_factory=dict)  # by folder: name, there

    def apply(self, change: Change) -> None:
        """The change as a process made it."""
        op, one, two = change.op, change.one, change.two
        if op == "K":
            self.promises.append(one)
        elif op == "O":
            file = self._files[change.inode] = _File()
            self._name(one, file)
        elif op in "WTS" and change.inode in self._files:
            self._files[change.inode].apply(change)
        elif op == "F":
            self._sync_names(one)
        elif op == "M":
            self._name(one, None)
        elif op in "UD" and one in self._names:
            self._unname(one)
        elif op == "R" and one in self._names:
            file_there = self._names[one]
            self._changed.setdefault(_folder(two), []).append((f"{one}\0{two}", file_there, True))
            _carry_out(self._names, f"{one}\0{two}", file_there, True)

    def after_power_cut(self, how: str, chance: random.Random) -> Iterator[tuple[str, bytes | None]]:
        """Paths below the root and their bytes, None for folders.

        how: "nothing" of what was not synced is there, "names" without their bytes, "bytes" of files whose names were,
        "some" of both.
        """
        names = dict(self._kept)
        for changes in self._changed.values():
            many = len(changes) if how == "names" else chance.randint(0, len(changes)) if how == "some" else 0
            for name, file, there in changes[:many]:
                _carry_out(names, name, file, there)
        for path in sorted(names):
            if path != self.root and all(names.get(folder, 0) is None for folder in _above(path, self.root)):
                found = names[path]
                inside = None if found is None else found.after_power_cut(how, chance)
                yield str(PurePosixPath(path).relative_to(self.root)), inside

    def _name(self, path: str, file: _File | None) -> None:
        self._names[path] = file
        self._changed.setdefault(_folder(path), []).append((path, file, True))

    def _unname(self, path: str) -> None:
        self._changed.setdefault(_folder(path), []).append((path, self._names.pop(path), False))

    def _sync_names(self, folder: str) -> None:
        for name, file, there in self._changed.pop(folder, []):
            _carry_out(self._kept, name, file, there)


@dataclass
class _File:
    kept: bytearray = field(default_factory=bytearray)
    pending: list[Change] = field(default_factory=list)

    def apply(self, change: Change) -> None:
        if change.op != "S":
            self.pending.append(change)
            return
        for one in self.pending:
            _write(self.kept, one)
        self.pending.clear()

    def after_power_cut(self, how: str, chance: random.Random) -> bytes:
        content = bytearray(self.kept)
        for one in self.pending if how in ("bytes", "some") else ():
            if how == "bytes" or one.op == "T":
                if how == "bytes" or chance.random() < 0.5:
                    _write(content, one)
                continue
            for start in range(0, len(one.data), SECTOR):
                if chance.random() < 0.5:
                    piece = one.data[start : start + SECTOR]
                    _write(content, Change("W", 0, one.number + start, "", "", piece))
        return bytes(content)


def _write(content: bytearray, change: Change) -> None:
    if change.op == "T":
        del content[change.number :]
    end = change.number + len(change.data)
    if len(content) < end:
        content.extend(bytes(end - len(content)))
    content[change.number : end] = change.data


def _carry_out(names: dict[str, _File | None], name: str, file: _File | None, there: bool) -> None:
    old, _, new = name.partition("\0")
    if not there:
        names.pop(name, None)
    elif new:
        names.pop(old, None)
        names[new] = file
        for path in [path for path in names if path.startswith(f"{old}/")]:  # what a folder holds goes along
            names[new + path.removeprefix(old)] = names.pop(path)
    else:
        names[name] = file


def _folder(path: str) -> str:
    return str(PurePosixPath(path).parent)


def _above(path: str, root: str) -> list[str]:
    folders = []
    while (path := _folder(path)) != root and len(path) > len(root):
        folders.append(path)
    return folders
