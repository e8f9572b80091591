"""Files that are still there after the power failed: their bytes are on the disk before their name is, and the name
before anything refers to it.

Beside settings.py at the root: db and generator both keep such files, and neither may import the other. Where a disk
reports an error the caller gets it as OSError; what was there before is untouched then.
"""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

# A file system that cannot sync a folder says one of these; it keeps names in order by itself, or not at all.
_NO_FOLDERS = (errno.EINVAL, errno.ENOTSUP, errno.EBADF, errno.ENOSYS)


def sync(handle: int) -> None:
    """Returns when the bytes of an open file are on the disk, and not in a cache that a power cut empties."""
    if sys.platform == "darwin":  # fsync leaves them in the drive's own cache there
        import fcntl

        try:
            fcntl.fcntl(handle, fcntl.F_FULLFSYNC)
            return
        except OSError as error:
            if error.errno not in _NO_FOLDERS:
                raise
    os.fsync(handle)


def sync_file(path: Path) -> None:
    """As `sync`, of a file that somebody else has written and closed."""
    handle = os.open(path, os.O_RDWR)
    try:
        sync(handle)
    finally:
        os.close(handle)


def sync_folder(folder: Path) -> None:
    """Returns when the names in a folder (what was made, renamed or removed there) are on the disk."""
    if os.name == "nt":  # a folder cannot be opened there
        return
    handle = os.open(folder, os.O_RDONLY | getattr(os, "O_DIRECTORY", 0))
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in _NO_FOLDERS:
            raise
    finally:
        os.close(handle)


def make_folder(folder: Path) -> None:
    """The folder and those above it, as far as they are not there, each by a name that lasts."""
    missing = []
    while not folder.is_dir():
        missing.append(folder)
        if folder == folder.parent:
            break
        folder = folder.parent
    for one in reversed(missing):
        one.mkdir(exist_ok=True)
        sync_folder(one.parent)


def put_in_place(part: Path, path: Path) -> None:
    """Give a file that is written and closed its name: the new bytes or the old ones are there after a power cut."""
    sync_file(part)
    os.replace(part, path)
    sync_folder(path.parent)
