"""Files that jobs have made and visitors have uploaded: bytes under a key, and a row that describes them.

The database holds keys, sizes and hashes, never paths; a key is made from ids, never from a prompt.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import fsspec
import sqlalchemy as sa

from db.engine import clock, reading, writing
from db.errors import BadValue, StoreFull, StoreUnavailable, UnknownArtefact
from db.jobs import new_id
from db.schema import artefacts
from db.transitions import check_held

KINDS = ("picture", "preview", "thumbnail", "gif", "mp4", "webp", "json", "result", "state", "upload", "sheet")

_KEY = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*")


@dataclass(frozen=True)
class Artefact:
    """One row of `artefacts`: size in bytes, width and height in px where it is an image or a film."""

    id: str
    job_id: str | None
    kind: str
    key: str
    media_type: str
    size: int
    sha256: str
    width: int | None
    height: int | None
    created_at: float


def key_for(job_id: str, kind: str, ext: str) -> str:
    """The key of a job's file, e.g. jobs/<id>/picture.png."""
    _check_kind(kind)
    return _checked(f"jobs/{job_id}/{kind}.{ext}")


def upload_key(artefact_id: str, ext: str = "png") -> str:
    """The key of an uploaded image, e.g. uploads/<id>.png."""
    return _checked(f"uploads/{artefact_id}.{ext}")


class Store:
    """Bytes under keys, in the folder or at the address that `url` names (anything fsspec knows).

    Every call raises BadValue for a bad key, StoreFull or StoreUnavailable where the store cannot serve.
    """

    def __init__(self, url: str) -> None:
        self.address = url
        try:
            fs, root = fsspec.core.url_to_fs(url)
        except (ValueError, ImportError) as error:
            raise StoreUnavailable(f"{url!r} is no store address: {error}") from None
        self._fs: Any = fs
        self._root: str = root.rstrip("/")
        protocols = (fs.protocol,) if isinstance(fs.protocol, str) else fs.protocol
        self._folder = Path(self._root) if "file" in protocols else None

    def put(self, key: str, data: bytes) -> None:
        """Store the bytes whole: a reader sees the old ones or the new ones, never a part."""
        path = self._path(key)
        with self._named_errors():
            if self._folder is None:
                self._fs.pipe_file(path, data)
            else:
                _write_whole(Path(path), data)

    def get(self, key: str) -> bytes:
        """The bytes under this key. Raises UnknownArtefact."""
        path = self._path(key)
        with self._named_errors(key):
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
            return bool(self._fs.exists(path))

    def delete(self, key: str) -> None:
        """Remove the bytes under this key, and the folders left empty; nothing happens where there are none."""
        path = self._path(key)
        with self._named_errors(), suppress(FileNotFoundError):
            self._fs.rm_file(path)
        if self._folder is not None:
            with suppress(OSError):  # the first one that is not empty
                for folder in list(Path(path).parents)[: key.count("/")]:
                    folder.rmdir()

    def url(self, key: str) -> str:
        """The full address of the bytes under this key, e.g. s3://bucket/jobs/<id>/picture.png."""
        return str(self._fs.unstrip_protocol(self._path(key)))

    def local_path(self, key: str) -> Path | None:
        """Where the file is on this machine; None if the store is elsewhere."""
        path = self._path(key)
        return None if self._folder is None else Path(path)

    def _path(self, key: str) -> str:
        return f"{self._root}/{_checked(key)}"

    @contextmanager
    def _named_errors(self, key: str | None = None) -> Iterator[None]:
        try:
            yield
        except FileNotFoundError as error:
            if key is not None:
                raise UnknownArtefact(f"There is no file under the key {key!r}.") from None
            raise StoreUnavailable(f"The artefact store {self.address} cannot be found: {error.strerror}.") from error
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(
                    f"The artefact store {self.address} has no space left; free some disk space."
                ) from error
            if error.errno in (errno.EROFS, errno.EACCES, errno.EPERM):
                raise StoreUnavailable(
                    f"The artefact store {self.address} is read-only for the studio; allow it to write there."
                ) from error
            reason = error.strerror or str(error)
            raise StoreUnavailable(f"The artefact store {self.address} cannot be used: {reason}.") from error
        except Exception as error:
            if self._folder is not None:
                raise
            # A client of a store elsewhere has errors of its own, e.g. botocore's where nobody answers.
            reason = str(error).rstrip(".") or type(error).__name__
            raise StoreUnavailable(f"The artefact store {self.address} cannot be used: {reason}.") from error


def _write_whole(path: Path, data: bytes) -> None:
    try:
        handle, part = _begin_part(path)
    except FileNotFoundError:
        handle, part = _begin_part(path)  # the folder was left empty, and removed, just then
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        # mkstemp makes files that only their owner reads; a web server may be somebody else.
        os.chmod(part, 0o644)
        os.replace(part, path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _begin_part(path: Path) -> tuple[int, str]:
    path.parent.mkdir(parents=True, exist_ok=True)
    return tempfile.mkstemp(prefix=".", suffix=".part", dir=path.parent)


def save(
    db: sa.Engine,
    store: Store,
    *,
    job_id: str | None,
    kind: str,
    data: bytes,
    media_type: str,
    ext: str,
    width: int | None = None,
    height: int | None = None,
    held_by: str | None = None,
) -> Artefact:
    """Put the bytes under the key made from the ids, then record them. The usual way to keep a file.

    held_by: the executor that keeps a file of a job it holds. Raises LeaseLost where it does not hold it any more:
    nothing is recorded then, and nothing is put unless the job was lost during this very call.
    """
    _check_kind(kind)
    artefact_id = new_id()
    key = upload_key(artefact_id, ext) if job_id is None else key_for(job_id, kind, ext)
    if job_id is not None and held_by is not None:
        with reading(db) as conn:
            check_held(conn, job_id, held_by)
    store.put(key, data)
    return record(
        db,
        job_id=job_id,
        kind=kind,
        key=key,
        media_type=media_type,
        data=data,
        width=width,
        height=height,
        artefact_id=artefact_id,
        held_by=held_by,
    )


def record(
    db: sa.Engine,
    *,
    job_id: str | None,
    kind: str,
    key: str,
    media_type: str,
    data: bytes | None = None,
    size: int | None = None,
    sha256: str | None = None,
    width: int | None = None,
    height: int | None = None,
    artefact_id: str | None = None,
    held_by: str | None = None,
) -> Artefact:
    """Note a stored file; give its bytes, or its size and sha256. A job has one of each kind: the newest.

    held_by: as in `save`; raises LeaseLost.
    """
    _check_kind(kind)
    _checked(key)
    if data is not None:
        size, sha256 = len(data), hashlib.sha256(data).hexdigest()
    if size is None or sha256 is None:
        raise BadValue(f"The artefact {key!r} needs its bytes, or its size and sha256.")
    values = {
        "key": key,
        "media_type": media_type,
        "size": size,
        "sha256": sha256,
        "width": width,
        "height": height,
    }
    with writing(db) as conn:
        if job_id is not None and held_by is not None:
            # In the same transaction: an executor may be paused between putting the bytes and this.
            check_held(conn, job_id, held_by, keep=True)
        values["created_at"] = clock(conn)
        row = None
        if job_id is not None:
            row = conn.execute(
                sa.update(artefacts)
                .where(artefacts.c.job_id == job_id, artefacts.c.kind == kind)
                .values(**values)
                .returning(*artefacts.c)
            ).one_or_none()
        if row is None:
            new = {"id": artefact_id or new_id(), "job_id": job_id, "kind": kind, **values}
            row = conn.execute(sa.insert(artefacts).values(**new).returning(*artefacts.c)).one()
    return Artefact(**row._mapping)


def get(db: sa.Engine, artefact_id: str) -> Artefact:
    """The record with this id. Raises UnknownArtefact."""
    with reading(db) as conn:
        row = conn.execute(sa.select(*artefacts.c).where(artefacts.c.id == artefact_id)).one_or_none()
    if row is None:
        raise UnknownArtefact(f"There is no artefact with the id {artefact_id!r}.")
    return Artefact(**row._mapping)


def of_job(db: sa.Engine, job_id: str) -> dict[str, Artefact]:
    """A job's files by kind; empty where it has none yet."""
    return of_jobs(db, [job_id])[job_id]


def of_jobs(db: sa.Engine, job_ids: list[str]) -> dict[str, dict[str, Artefact]]:
    """The files of each of a page of jobs, by job and kind, in one query."""
    found: dict[str, dict[str, Artefact]] = {job_id: {} for job_id in job_ids}
    with reading(db) as conn:
        for row in conn.execute(sa.select(*artefacts.c).where(artefacts.c.job_id.in_(job_ids))):
            found[row.job_id][row.kind] = Artefact(**row._mapping)
    return found


def discard(db: sa.Engine, store: Store, *, job_id: str, kind: str) -> None:
    """Forget a job's file and delete it, e.g. the saved state of a job that has ended."""
    with writing(db) as conn:
        key = conn.scalar(
            sa.delete(artefacts)
            .where(artefacts.c.job_id == job_id, artefacts.c.kind == kind)
            .returning(artefacts.c.key)
        )
    if key is not None:
        store.delete(key)


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        raise BadValue(f"{kind!r} is no kind of artefact; permitted: {', '.join(KINDS)}.")


def _checked(key: str) -> str:
    if len(key) > 255 or not _KEY.fullmatch(key):
        raise BadValue(
            f"{key!r} is no artefact key: letters, digits, '.', '_' and '-' in parts separated by '/', "
            "no part starting with '.', at most 255 characters."
        )
    return key
