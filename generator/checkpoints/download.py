"""Fetches one large file over a bad line: resumed, retried, checked, and only then given its name."""

from __future__ import annotations

import errno
import hashlib
import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import httpx

from characters.brief import Brief
from lasting import make_folder, put_in_place

Progress = Callable[[str, int, int | None], None]  # file name, bytes so far, bytes in all (None: not told)
Say = Callable[[str], None]
ATTEMPTS = 5  # in a row without one new byte, per source
TIMEOUT = httpx.Timeout(60.0, connect=20.0)


class DownloadFailed(Brief, RuntimeError):
    """No source delivered the file; the message says why for each of them."""


class FolderProblem(Brief, RuntimeError):
    """A folder that cannot be written to, or a disk that is full; one sentence says which and what to do."""


class _WrongFile(RuntimeError):
    """What a source delivered is not the file that was asked for."""


class _SourceGone(RuntimeError):
    """A source that refuses the file: retrying it is of no use."""


def fetch(
    urls: Sequence[str],
    path: Path,
    *,
    check: Callable[[Path, str], None],
    size: int | None = None,
    about: int | None = None,
    progress: Progress | None = None,
    say: Say = lambda line: None,
    pause: float = 1.0,
) -> str:
    """Downloads `path` from the first of `urls` that delivers it whole and returns its sha256.

    Half a file is kept as `<name>.part` and gone on with, also from another source and in a later call.
    check: called with the finished .part and its sha256; raises ValueError when that is not the file.
    size: exact bytes where known; about: rough bytes, to refuse what is plainly something else.
    pause: s before the first retry, doubled each time. Raises DownloadFailed, FolderProblem.
    """
    part = path.with_name(path.name + ".part")
    with _disk_errors(part):
        make_folder(path.parent)
    reasons = []
    with _only_one(part), httpx.Client(follow_redirects=True, timeout=TIMEOUT) as client:
        for url in urls:
            source = httpx.URL(url).host
            # A .part from an earlier call may be damaged, so a wrong file earns one more try from its first byte.
            for _ in range(2):
                try:
                    _fill(client, url, part, size, about, progress, pause)
                    digest = sha256_of(part)
                    if size is not None and part.stat().st_size != size:
                        raise _WrongFile(f"{part.stat().st_size} bytes instead of {size}")
                    try:
                        check(part, digest)
                    except ValueError as error:
                        raise _WrongFile(str(error)) from None
                    with _disk_errors(part):
                        put_in_place(part, path)
                    return digest
                except _WrongFile as error:
                    part.unlink(missing_ok=True)
                    reason = f"{source} delivered a wrong or damaged file: {error}"
                    say(f"{path.name}: {reason}. Starting again from its first byte.")
                except _SourceGone as error:
                    reason = f"{source}: {error}"
                    say(f"{path.name}: {reason}.")
                    break
            reasons.append(reason)
    kept = (
        f" {part.stat().st_size / 1e6:.0f} MB are kept; the same command goes on from there." if part.exists() else ""
    )
    raise DownloadFailed(f"{path.name} could not be downloaded: {'; '.join(reasons)}.{kept}")


def _fill(
    client: httpx.Client,
    url: str,
    part: Path,
    size: int | None,
    about: int | None,
    progress: Progress | None,
    pause: float,
) -> None:
    """Appends to `part` until the source says that all is there; survives dropped connections."""
    failures, wait = 0, pause
    while True:
        start = part.stat().st_size if part.exists() else 0
        if size is not None and start > size:
            raise _WrongFile(f"more than the {size} bytes it should have")
        if size is not None and start == size:
            return
        try:
            if _stream(client, url, part, start, about, progress):
                return
            reason = "the connection ended early"
        except httpx.TransportError as error:
            reason = f"{type(error).__name__} ({error})" if str(error) else type(error).__name__
        except (httpx.InvalidURL, httpx.TooManyRedirects) as error:
            raise _SourceGone(str(error)) from None
        if part.exists() and part.stat().st_size > start:
            failures, wait = 0, pause
        failures += 1
        if failures >= ATTEMPTS:
            raise _SourceGone(f"{reason}, {failures} times in a row")
        time.sleep(wait)
        wait = min(wait * 2, 30.0)


def _stream(
    client: httpx.Client, url: str, part: Path, start: int, about: int | None, progress: Progress | None
) -> bool:
    """One request; True when `part` is complete, False when it ended early."""
    # Without identity a server may compress, and the length would then be that of something else.
    headers = {"Accept-Encoding": "identity"} | ({"Range": f"bytes={start}-"} if start else {})
    with client.stream("GET", url, headers=headers) as response:
        if _already_whole(response, start):
            return True
        start = start if response.status_code == 206 else 0
        total_bytes = _announced(response, start, about)
        _check_space(part, (total_bytes or about or 0) - start)
        done = _received(response, part, start, about, total_bytes, progress)
    return total_bytes is None or done == total_bytes


def _already_whole(response: httpx.Response, start: int) -> bool:
    """Whether the server says that nothing is left to send. Raises for an answer that is no file."""
    status = response.status_code
    if status == 416:
        total = response.headers.get("Content-Range", "").rpartition("/")[2]
        if total.isdigit() and int(total) == start:
            return True
        raise _WrongFile(f"the {start} bytes already here are no start of it")
    if status >= 500 or status == 429:
        raise httpx.RemoteProtocolError(f"answered {status} {response.reason_phrase}")
    if status >= 400:
        raise _SourceGone(f"answered {status} {response.reason_phrase}")
    return False


def _announced(response: httpx.Response, start: int, about: int | None) -> int | None:
    """Bytes of the whole file as the server says; None where it does not."""
    length = response.headers.get("Content-Length")
    total_bytes = start + int(length) if length and length.isdigit() else None
    if about and total_bytes and total_bytes > 2 * about:
        raise _SourceGone(f"offers {total_bytes / 1e6:.0f} MB, but the file has about {about / 1e6:.0f} MB")
    return total_bytes


def _received(
    response: httpx.Response,
    part: Path,
    start: int,
    about: int | None,
    total_bytes: int | None,
    progress: Progress | None,
) -> int:
    """Bytes there are once the answer has ended, those before it included."""
    done = start
    with _disk_errors(part), part.open("ab" if start else "wb") as file:
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            if about and done > 2 * about:
                raise _WrongFile(f"more than {done / 1e6:.0f} MB")
            if progress:
                progress(part.name.removesuffix(".part"), done, total_bytes)
    return done


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _check_space(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path.parent).free
    if free < needed:
        raise FolderProblem(
            f"Not enough disk space in {path.parent}: {needed / 1e6:.0f} MB are needed, {free / 1e6:.0f} MB are free. "
            "Free some, or choose another folder with --checkpoints-dir."
        )


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            raise FolderProblem(
                f"The disk of {path.parent} is full. What has arrived is kept; free some space and run the same "
                "command again, or choose another folder with --checkpoints-dir."
            ) from None
        raise FolderProblem(f"Cannot write to {path.parent}: {error.strerror}.") from None


@contextmanager
def _only_one(part: Path) -> Iterator[None]:
    """Keeps two processes from writing the same .part: the second is told so at once."""
    lock = part.with_name(part.name + ".lock")
    with _disk_errors(part), lock.open("w") as file:
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:  # Windows: two downloads at once then end in a failed check, not in a wrong file
            pass
        except BlockingIOError:
            raise FolderProblem(f"{part.name} is already being downloaded by another process.") from None
        try:
            yield
        finally:
            lock.unlink(missing_ok=True)
