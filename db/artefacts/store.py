"""Bytes under a key: a folder, or any store that fsspec knows."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from stat import S_ISDIR
from typing import IO, Any

import fsspec

from db.errors import BadValue, StoreFull, StoreUnavailable, UnknownArtefact
from lasting import make_folder, sync, sync_folder
from masking import masked_address, without

MAX_KEY = 255  # characters
PIECE = 4 << 20  # bytes of a large file that are in memory at a time
_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


class Store:
    """Bytes under keys, in the folder or at the address that `url` names (anything fsspec knows).

    Every call raises BadValue for a bad key, StoreFull or StoreUnavailable where the store cannot serve.
    """

    def __init__(self, url: str) -> None:
        self.address = url
        self._shown = masked_address(url)
        try:
            fs, root = fsspec.core.url_to_fs(url)
        except Exception as error:  # each kind of store has its own
            said = without(str(error).strip() or type(error).__name__, url, url.partition(":")[0])
            raise StoreUnavailable(f"{self._shown!r} is no store address: {said}") from None
        self._fs: Any = fs
        self._root: str = root.rstrip("/")
        protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
        self._folder = Path(self._root) if "file" in protocols else None
        self._disk: int | None = None  # the device the folder is on, once it was seen
        if self._folder is not None:
            with suppress(OSError):
                self._check_there(self._folder)

    def put(self, key: str, data: bytes) -> None:
        """Store the bytes whole: a reader sees the old ones or the new ones, never a part.

        In a folder, they are there after a power cut as well once this returns.
        """
        self._put(key, data, lasting=True)

    def put_passing(self, key: str, data: bytes) -> None:
        """The same of what is replaced within seconds, such as a preview: without a wait for the disk, so that a power
        cut may tear it."""
        self._put(key, data, lasting=False)

    def _put(self, key: str, data: bytes, lasting: bool) -> None:
        path = self._path(key)
        with self._named_errors():
            if self._folder is None:
                self._fs.pipe_file(path, data)
            else:
                self._check_there(self._folder)
                _write_whole(Path(path), [data], lasting)

    def put_file(self, key: str, source: Path) -> None:
        """As `put`, of a file that may be too large to hold. Raises OSError where that cannot be read."""
        path = self._path(key)
        with open(source, "rb") as file, self._named_errors():
            if self._folder is None:
                self._fs.put_file(str(source), path)
            else:
                self._check_there(self._folder)
                _write_whole(Path(path), iter(lambda: file.read(PIECE), b""), True)

    def get(self, key: str) -> bytes:
        """The bytes under this key. Raises UnknownArtefact."""
        path = self._path(key)
        with self._named_errors(key):
            if self._folder is not None:
                self._check_there(self._folder)
            return bytes(self._fs.cat_file(path))

    @contextmanager
    def open(self, key: str) -> Iterator[IO[bytes]]:
        """The bytes under this key as a file to read from, for those too many to hold. Raises UnknownArtefact."""
        path = self._path(key)
        with self._named_errors(key):
            file = self._fs.open(path, "rb")
        with file:
            yield file

    def exists(self, key: str) -> bool:
        """Whether there are bytes under this key."""
        path = self._path(key)
        with self._named_errors():
            if self._folder is not None:
                self._check_there(self._folder)
            return bool(self._fs.exists(path))

    def under(self, folder: str) -> list[str]:
        """The keys that begin with the parts of this one, e.g. those of jobs/<id>."""
        return [name for name in self.names(folder) if _KEY.fullmatch(name)]

    def check(self) -> None:
        """Raises StoreUnavailable where nothing could be kept now. A folder that is not there is made when needed."""
        folder = self._folder
        while folder is not None and not folder.exists() and folder != folder.parent:
            folder = folder.parent
        if folder is None:
            self.exists("readiness")
        elif not folder.is_dir():
            raise StoreUnavailable(f"The artefact store {self._shown} cannot be used: {folder} is no folder.")
        elif not os.access(folder, os.W_OK | os.X_OK):
            raise StoreUnavailable(
                f"The artefact store {self._shown} is read-only for the studio; allow it to write there."
            )

    def delete(self, key: str) -> None:
        """Remove the bytes under this key, and the folders left empty; nothing happens where there are none."""
        path = self._path(key)
        with self._named_errors(), suppress(FileNotFoundError):
            self._fs.rm_file(path)
        if self._folder is not None:
            self._remove_empty(key)

    def _remove_empty(self, name: str) -> None:
        """The folders above a file that is gone."""
        with suppress(OSError):  # the first one that is not empty
            for folder in list(Path(self._root, name).parents)[: name.count("/")]:
                folder.rmdir()

    def names(self, prefix: str) -> list[str]:
        """What lies under the folder `prefix`, named from the store's root: parts of files that were never finished as
        well, which are under no key."""
        root = self._path(prefix)
        with self._named_errors():
            if self._folder is None:
                self._fs.invalidate_cache()
                found = [str(path) for path in self._fs.find(root)]
                return sorted(path[path.index(f"{self._root}/") + len(self._root) + 1 :] for path in found)
            walked = os.walk(root, onerror=_raise_unless_gone)
            paths = (Path(folder, name) for folder, _, names in walked for name in names)
            return sorted(path.relative_to(self._folder).as_posix() for path in paths)

    def folders(self, prefix: str | None = None) -> list[str]:
        """The names of what lies directly under the folder `prefix`; None: at the store's root."""
        path = self._root if prefix is None else self._path(prefix)
        with self._named_errors():
            if self._folder is not None:
                return sorted(os.listdir(path)) if Path(path).is_dir() else []
            self._fs.invalidate_cache()
            with suppress(FileNotFoundError):
                return sorted(str(name).rstrip("/").rpartition("/")[2] for name in self._fs.ls(path, detail=False))
            return []

    def remove(self, names: Sequence[str]) -> None:
        """Remove what `names` has found, whether or not it is under a key, and the folders left empty."""
        for name in names:
            with self._named_errors(), suppress(FileNotFoundError):
                self._fs.rm_file(f"{self._root}/{name}")
            if self._folder is not None:
                self._remove_empty(name)

    def listed(self, folder: str) -> Iterator[tuple[str, float]]:
        """(key, UTC s when it was written) of all files under this part of a key; parts of unfinished files as well.

        What a store elsewhere tells no time of is left out.
        """
        path = self._path(folder)
        with self._named_errors():
            found = self._fs.find(path, detail=True) if self._fs.exists(path) else {}
        for name, about in found.items():
            changed = about.get("mtime", about.get("LastModified", about.get("created")))
            changed = changed.timestamp() if hasattr(changed, "timestamp") else changed
            if isinstance(changed, int | float):
                yield str(name)[len(self._root) :].lstrip("/"), float(changed)

    def url(self, key: str) -> str:
        """The full address of the bytes under this key, e.g. s3://bucket/jobs/<id>/picture.png."""
        return str(self._fs.unstrip_protocol(self._path(key)))

    def local_path(self, key: str) -> Path | None:
        """Where the file is on this machine; None if the store is elsewhere."""
        path = self._path(key)
        return None if self._folder is None else Path(path)

    def _check_there(self, folder: Path) -> None:
        """Raises StoreUnavailable where the folder was there and is not any more, or lies on another disk now: nothing
        is written to where a disk was, and no picture is said to be deleted that is only away."""
        try:
            found = folder.stat()
            disk = found.st_dev if S_ISDIR(found.st_mode) else None
        except FileNotFoundError:
            disk = None
        if self._disk is None:
            self._disk = disk  # None: it is not made yet
        elif disk != self._disk:
            raise StoreUnavailable(
                f"The artefact store {self._shown} is gone: its folder was removed, or its disk is not there. Put it "
                "back; or make the folder, where it is to be empty from now on."
            )

    def _path(self, key: str) -> str:
        return f"{self._root}/{checked(key)}"

    @contextmanager
    def _named_errors(self, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if key is not None:
                raise UnknownArtefact(f"There is no file under the key {key!r}.") from None
            raise StoreUnavailable(f"The artefact store {self._shown} cannot be found: {error.strerror}.") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(f"The artefact store {self._shown} has no space left; free some disk space.") from error
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise StoreUnavailable(
                    f"The artefact store {self._shown} is read-only for the studio; allow it to write there."
                ) from error
            reason = without(error.strerror or str(error), self.address, self._shown)
            raise StoreUnavailable(f"The artefact store {self._shown} cannot be used: {reason}.") from error
        except Exception as error:
            if self._folder is not None:
                raise
            # A client of a store elsewhere has errors of its own, e.g. botocore's where nobody answers.
            reason = without(str(error).rstrip(".") or type(error).__name__, self.address, self._shown)
            raise StoreUnavailable(f"The artefact store {self._shown} cannot be used: {reason}.") from error


def _raise_unless_gone(error: OSError) -> None:
    if not isinstance(error, FileNotFoundError):
        raise error


def _write_whole(path: Path, data: Iterable[bytes], lasting: bool) -> None:
    try:
        handle, part = _begin_part(path)
    except FileNotFoundError:
        handle, part = _begin_part(path)  # the folder was left empty, and removed, just then
    try:
        with os.fdopen(handle, "wb") as file:
            for piece in data:
                file.write(piece)
            # mkstemp makes files that only their owner reads; a web server may be somebody else.
            os.chmod(part, 0o644)
            file.flush()
            if lasting:
                sync(file.fileno())
        os.replace(part, path)
        if lasting:
            sync_folder(path.parent)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _begin_part(path: Path) -> tuple[int, str]:
    make_folder(path.parent)
    return tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)


def hash_of(path: Path) -> str:
    """sha256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def checked(key: str) -> str:
    """The key, if it is one. Raises BadValue."""
    if len(key) > MAX_KEY or not _KEY.fullmatch(key):
        shown = repr(key) if len(key) <= MAX_KEY else f"{key[:40]!r}... ({len(key)} characters)"
        raise BadValue(
            f"{shown} is no artefact key: letters, digits, '.', '_' and '-' in parts separated by '/', "
            f"no part starting with '.', at most {MAX_KEY} characters."
        )
    return key
